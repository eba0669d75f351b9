"""What every engine must keep true: a LangChain chat model that answers nodes, on its real server or file.

Subclass :class:`EngineConformance` in a test module, or call :func:`check_engine` from a script. It asks the model
about two dozen times, for a few tokens each. What LangChain itself expects of a chat model is tested by
``langchain-tests``.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

__all__ = ["ENGINE_CHECKS", "EngineConformance", "check_engine"]

MakeEngine = Callable[[], BaseChatModel]
PATIENCE = 60.0  # seconds until a check calls something stuck: a model may be slow
QUESTION = "Count from one to ten."


async def it_answers_with_text_and_usage(make: MakeEngine) -> None:
    """An answer has text, the tokens that it took add up, and it says which model answered."""
    answer = await make().ainvoke(QUESTION)
    assert isinstance(answer, AIMessage), f"the answer is a {type(answer).__name__}"
    assert answer.text.strip(), f"the answer has no text: {answer!r}"
    usage = answer.usage_metadata
    assert usage is not None, "no usage_metadata: budgets, costs and limits would count nothing"
    counted = (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])
    assert counted[0] > 0 and counted[1] > 0 and counted[2] == counted[0] + counted[1], (
        f"usage does not add up: {usage}"
    )
    assert answer.response_metadata.get("model_name") or answer.response_metadata.get("model"), "no model_name"


async def a_stream_is_one_message_in_pieces(make: MakeEngine) -> None:
    """Pieces have one id, add up to a text, and report the usage once."""
    pieces = [piece async for piece in make().astream(QUESTION)]
    assert pieces, "the stream is empty"
    assert all(isinstance(piece, AIMessageChunk) for piece in pieces), "a piece is no AIMessageChunk"
    ids = {piece.id for piece in pieces if piece.id}
    assert len(ids) == 1, f"the pieces of one answer have the ids {ids}"
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    assert total.text.strip(), "the pieces add up to no text"
    reported = [
        piece.usage_metadata for piece in pieces if piece.usage_metadata and piece.usage_metadata["input_tokens"]
    ]
    assert len(reported) == 1, f"the usage was reported {len(reported)} times: it is added up, and counted so often"


async def calls_at_once_all_get_an_answer(make: MakeEngine) -> None:
    """Four calls at once each get a text."""
    model = make()
    answers = await asyncio.wait_for(asyncio.gather(*(model.ainvoke(QUESTION) for _ in range(4))), PATIENCE)
    assert all(answer.text.strip() for answer in answers), f"one got no text: {[a.text for a in answers]!r}"


async def a_stream_left_early_does_not_block_the_next(make: MakeEngine) -> None:
    """After a stream that nobody reads to its end, the next call is answered."""
    model = make()
    stream: Any = model.astream(QUESTION)
    async for _ in stream:
        break
    await stream.aclose()
    answer = await asyncio.wait_for(model.ainvoke(QUESTION), PATIENCE)
    assert answer.text.strip()


async def a_cancelled_call_ends_and_does_not_block_the_next(make: MakeEngine) -> None:
    """A cancelled call ends as cancelled, soon; the next is answered."""
    model = make()
    task = asyncio.ensure_future(model.ainvoke(QUESTION))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    assert done, "a cancelled call goes on"
    ended = "cancelled" if task.cancelled() else "answered" if task.exception() is None else repr(task.exception())
    assert ended in ("cancelled", "answered"), f"a cancelled call ended with {ended}"
    answer = await asyncio.wait_for(model.ainvoke(QUESTION), PATIENCE)
    assert answer.text.strip()


async def sync_calls_work_in_a_plain_thread_and_beside_a_loop(make: MakeEngine) -> None:
    """``invoke`` and ``stream`` give text from a thread without an event loop, while another thread runs one."""
    model, got = make(), list[Any]()

    def work() -> None:
        try:
            got.append(model.invoke(QUESTION).text)
            got.append("".join(str(piece.text) for piece in model.stream(QUESTION)))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            got.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive(), "a synchronous call never ended"
    assert len(got) == 2 and all(isinstance(text, str) and text.strip() for text in got), f"synchronous calls: {got!r}"


async def stop_strings_are_kept(make: MakeEngine) -> None:
    """With ``stop=`` the text ends before the string, which is not in it."""
    model = make()
    first = (await model.ainvoke(QUESTION)).text.split()
    if len(first) < 2:
        return  # one word has no second to stop at
    stop = first[1]
    answer = await model.ainvoke(QUESTION, stop=[stop])
    assert stop not in answer.text, f"stop={stop!r} is in {answer.text!r}"


async def it_is_traced_as_a_model_call(make: MakeEngine) -> None:
    """Inside an instrumented graph its calls are spans with a model and tokens, streamed or not."""
    from langgraph.graph import START, MessagesState, StateGraph

    from chainops.adapters.langgraph import instrument
    from chainops.middleware.trace import Trace
    from chainops.testing.trace import RecordedTrace

    model = make()

    async def answer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    with tempfile.TemporaryDirectory(prefix="chainops-engine-") as folder:
        layer = Trace(Path(folder) / "t.db")
        graph: Any = instrument(builder.compile(), [layer])
        try:
            await graph.ainvoke({"messages": [QUESTION]})
            streamed = [
                piece.text async for piece, _ in graph.astream({"messages": [QUESTION]}, stream_mode="messages")
            ]
        finally:
            layer.close()
        calls = RecordedTrace(Path(folder) / "t.db").model_calls
    assert len(calls) == 2, f"two calls of the model are {len(calls)} spans"
    assert all(call.tokens_in and call.tokens_out for call in calls), f"spans without tokens: {list(map(str, calls))}"
    assert all(call.model for call in calls), "spans do not say which model answered"
    assert "".join(streamed).strip(), "nothing was streamed through the graph"


ENGINE_CHECKS: dict[str, Callable[[MakeEngine], Awaitable[None]]] = {
    check.__name__: check
    for check in (
        it_answers_with_text_and_usage,
        a_stream_is_one_message_in_pieces,
        calls_at_once_all_get_an_answer,
        a_stream_left_early_does_not_block_the_next,
        a_cancelled_call_ends_and_does_not_block_the_next,
        sync_calls_work_in_a_plain_thread_and_beside_a_loop,
        stop_strings_are_kept,
        it_is_traced_as_a_model_call,
    )
}


async def check_engine(make: MakeEngine) -> dict[str, str]:
    """Run every check on engines from ``make``; what failed, by the name of the check. Empty: all passed."""
    failed: dict[str, str] = {}
    for name, check in ENGINE_CHECKS.items():
        try:
            await asyncio.wait_for(check(make), 4 * PATIENCE)
        except Exception as error:  # noqa: BLE001 - reported
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


class EngineConformance:
    """Subclass in a test module and return your chat model from :meth:`make`; pytest runs every check.

    Needs pytest-asyncio (``asyncio_mode = "auto"``). A check that does not apply is overridden in the open, with
    ``pytest.mark.xfail(reason=...)``.
    """

    def make(self) -> BaseChatModel:
        """The engine under test; may be the same object each time. It should answer in a few dozen tokens."""
        raise NotImplementedError("return your chat model from make()")

    async def test_it_answers_with_text_and_usage(self) -> None:
        await it_answers_with_text_and_usage(self.make)

    async def test_a_stream_is_one_message_in_pieces(self) -> None:
        await a_stream_is_one_message_in_pieces(self.make)

    async def test_calls_at_once_all_get_an_answer(self) -> None:
        await calls_at_once_all_get_an_answer(self.make)

    async def test_a_stream_left_early_does_not_block_the_next(self) -> None:
        await a_stream_left_early_does_not_block_the_next(self.make)

    async def test_a_cancelled_call_ends_and_does_not_block_the_next(self) -> None:
        await a_cancelled_call_ends_and_does_not_block_the_next(self.make)

    async def test_sync_calls_work_in_a_plain_thread_and_beside_a_loop(self) -> None:
        await sync_calls_work_in_a_plain_thread_and_beside_a_loop(self.make)

    async def test_stop_strings_are_kept(self) -> None:
        await stop_strings_are_kept(self.make)

    async def test_it_is_traced_as_a_model_call(self) -> None:
        await it_is_traced_as_a_model_call(self.make)
