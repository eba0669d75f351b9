"""What rails do at nodes, models, tools and retrievers, on real graphs."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from chainops import Blocked, Pipeline, SetupError, instrument
from chainops.calls import NodeSettings
from chainops.middleware.rails import ALLOW, DenyList, PatternRail, Rail, RailBlocked, Rails, Subject, Verdict
from chainops.testing import ScriptedModel, model_call, node_call, tool_call

BAD = DenyList("words", ["attack at dawn"])


class Says(Rail):
    """Says what it is told, and remembers what it was asked."""

    def __init__(self, name: str, verdict: Any = ALLOW, *, waits: bool = False, **options: Any) -> None:
        super().__init__(name, **options)
        self.verdict, self.waits, self.seen = verdict, waits, []

    async def check(self, subject: Subject) -> Verdict:
        self.seen.append((subject.place, subject.text))
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if callable(self.verdict):
            return await self.verdict(subject)
        return self.verdict


def ask(rails: Rails, model: Any) -> Any:
    return Pipeline([rails]).around_model(model)


def graph_of(model: Any, rails: Any, saver: bool = False) -> Any:
    async def answer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return instrument(builder.compile(checkpointer=InMemorySaver() if saver else None), [rails])


ANSWERS = [(True, True), ("approve", True), ({"approve": True}, True), ("no", False)]


async def test_a_blocked_question_never_reaches_the_model_and_the_error_is_typed() -> None:
    model = ScriptedModel(["fine"])
    with pytest.raises(RailBlocked) as caught:
        await graph_of(model, Rails([BAD])).ainvoke({"messages": ["We attack at  Dawn"]})
    error = caught.value
    assert (error.rail, error.category, error.place, error.code) == ("words", "words", "input", "rails.blocked")
    assert isinstance(error, Blocked) and isinstance(error, RuntimeError) and model.calls == []
    again = pickle.loads(pickle.dumps(error))
    assert (again.rail, again.reason, again.place, str(again)) == (error.rail, error.reason, error.place, str(error))


async def test_a_blocked_answer_never_leaves_as_result_or_stream() -> None:
    for mode in ("values", "messages", "updates"):
        graph, seen = graph_of(ScriptedModel(["we attack at dawn"]), Rails([BAD])), []
        with pytest.raises(RailBlocked, match="output"):
            async for part in graph.astream({"messages": ["when?"]}, stream_mode=mode):
                seen.append(part)
        assert "dawn" not in str(seen)


async def test_with_refuse_the_answer_is_the_refusal_under_the_same_id_and_the_graph_goes_on() -> None:
    rails = Rails([BAD], on_block="refuse", refusal="No.")
    model = ScriptedModel([AIMessage("we attack at dawn", id="a1")])
    state = await graph_of(model, rails).ainvoke({"messages": ["when?"]})
    assert [m.text for m in state["messages"]] == ["when?", "No."]
    assert state["messages"][-1].id == "a1"
    assert state["messages"][-1].response_metadata["finish_reason"] == "content_filter"
    model = ScriptedModel(["never"])
    state = await graph_of(model, rails).ainvoke({"messages": ["attack at dawn"]})
    assert state["messages"][-1].text == "No." and model.calls == []


async def test_every_new_user_turn_and_tool_result_is_judged_not_only_the_last() -> None:
    judge = Says("judge")
    messages = [
        SystemMessage("be kind"),
        HumanMessage("one"),
        HumanMessage([{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]),
        ToolMessage("four", tool_call_id="1"),
    ]
    await ask(Rails([judge]), ScriptedModel(["ok"]))(model_call(messages=messages))
    assert judge.seen == [("input", "one"), ("input", "two\nthree"), ("tool_result", "four"), ("output", "ok")]


async def test_a_bad_text_in_content_blocks_is_found() -> None:
    blocks = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "attack"},
    ]
    blocks += [{"type": "tool_result", "content": [{"type": "text", "text": "at dawn"}]}]
    with pytest.raises(RailBlocked):
        await ask(Rails([BAD]), ScriptedModel(["ok"]))(model_call(messages=[HumanMessage(blocks)]))


async def test_what_was_refused_and_still_stands_in_the_history_is_withheld_from_the_model() -> None:
    model = ScriptedModel(["hello"])
    history = [HumanMessage("attack at dawn", id="h1"), AIMessage("No."), HumanMessage("good day")]
    await ask(Rails([BAD]), model)(model_call(messages=history))
    assert [m.text for m in model.calls[0]] == ["[withheld: words]", "No.", "good day"]


async def test_a_turn_after_a_refused_one_works() -> None:
    graph = graph_of(ScriptedModel(["hello"]), Rails([BAD]), saver=True)
    config: Any = {"configurable": {"thread_id": "1"}}
    with pytest.raises(RailBlocked):
        await graph.ainvoke({"messages": ["attack at dawn"]}, config)
    graph = graph_of(ScriptedModel(["hello"] * 2), Rails([BAD], on_block="refuse"), saver=True)
    first = await graph.ainvoke({"messages": ["attack at dawn"]}, config)
    second = await graph.ainvoke({"messages": ["good day"]}, config)
    assert first["messages"][-1].text == "I cannot help with that." and second["messages"][-1].text == "hello"


async def test_redact_rewrites_what_goes_in_and_what_comes_out_also_in_streams() -> None:
    model = ScriptedModel(["your number is 12345 sir"])
    rails = Rails([PatternRail("digits", {"number": r"\d{4,}"}, policy="redact")])
    graph, streamed = graph_of(model, rails), ""
    async for mode, part in graph.astream({"messages": ["mine is 99999"]}, stream_mode=["messages", "values"]):
        if mode == "messages":
            streamed += part[0].text
        else:
            final = part
    assert model.calls[0][0].text == "mine is [number]"
    assert final["messages"][-1].text == streamed == "your number is [number] sir"


async def test_a_redaction_that_leaves_something_behind_withholds_the_whole_text() -> None:
    rail = PatternRail("loop", ["a+"], replacement="aa", policy="redact")
    model = ScriptedModel(["ok"])
    await ask(Rails([rail]), model)(model_call("banana"))
    assert model.calls[0][0].text == "[withheld: loop]"


async def test_flag_lets_pass_and_says_so_on_the_answer_and_monitor_does_not() -> None:
    for policy, expected in (("flag", [("words", "input")]), ("monitor", [])):
        rails = Rails([DenyList("words", ["dawn"], policy=policy)])
        result = await ask(rails, ScriptedModel(["ok"]))(model_call("dawn"))
        found = result.message.response_metadata.get("rails", [])
        assert [(row["rail"], row["place"]) for row in found] == expected and result.text == "ok"


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("policy", ["monitor", "flag", "block"])
async def test_a_rail_that_errs_blocks_whatever_its_policy(waits: bool, policy: Any) -> None:
    rails = Rails([Says("broken", ValueError("boom"), waits=waits, policy=policy)])
    with pytest.raises(RailBlocked, match="could not judge the input: ValueError: boom") as caught:
        await ask(rails, ScriptedModel(["ok"]))(model_call("hi"))
    assert caught.value.failed


async def test_a_rail_that_takes_too_long_blocks() -> None:
    async def forever(subject: Subject) -> Verdict:
        await asyncio.Event().wait()
        return ALLOW

    with pytest.raises(RailBlocked, match="too long"):
        await ask(Rails([Says("slow", forever, waits=True, timeout_s=0.01)]), ScriptedModel(["ok"]))(model_call("hi"))


async def test_a_rail_that_errs_is_passed_by_only_where_the_operator_says_so() -> None:
    rails = Rails([Says("broken", ValueError("boom"), on_error="flag")])
    result = await ask(rails, ScriptedModel(["ok"]))(model_call("hi"))
    assert result.text == "ok" and result.message.response_metadata["rails"][0]["rail"] == "broken"


async def test_a_pattern_that_backtracks_for_ever_blocks_and_the_loop_goes_on() -> None:
    rail = PatternRail("evil", [r"(\w|\d)*(\w|\d)*(\w|\d)*[!?]$"])
    with pytest.raises(RailBlocked, match="could not judge"):
        await ask(Rails([rail]), ScriptedModel(["ok"]))(model_call("a" * 5000 + "c"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rails([]),
        lambda: Rails([BAD, DenyList("words", ["x"])]),
        lambda: Rails(["words"]),  # type: ignore[list-item]
        lambda: PatternRail("p", {}),
        lambda: PatternRail("p", ["("]),
        lambda: PatternRail("p", ["a*"]),
        lambda: DenyList("d", [" "]),
        lambda: DenyList("d", ["x"], policy="blokc"),
        lambda: DenyList("d", ["x"], places=["inptu"]),
        lambda: DenyList("d", ["x"], places=[]),
        lambda: Rails([BAD], on_block="halt"),  # type: ignore[arg-type]
    ],
)
def test_a_configuration_that_could_not_judge_is_an_error_before_the_first_call(make: Any) -> None:
    with pytest.raises(SetupError):
        make()


async def test_the_first_block_ends_the_other_rails() -> None:
    ended = asyncio.Event()

    async def forever(subject: Subject) -> Verdict:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ALLOW

    rails = Rails([Says("slow", forever, waits=True), Says("no", Verdict("block", "no", "c"), waits=True)])
    with pytest.raises(RailBlocked, match="'no'"):
        await ask(rails, ScriptedModel(["ok"]))(model_call("hi"))
    assert ended.is_set()


async def test_rails_that_rewrite_run_first_and_the_others_judge_what_is_left() -> None:
    judge = Says("judge", places=["input"])
    rails = Rails([judge, PatternRail("digits", {"number": r"\d+"}, policy="redact")])
    await ask(rails, ScriptedModel(["ok"]))(model_call("call 12345"))
    assert judge.seen == [("input", "call [number]")]


async def test_tool_arguments_and_results_are_judged() -> None:
    tools = Pipeline([Rails([BAD])])

    async def run(call: Any) -> Any:
        return ToolMessage("attack at dawn", tool_call_id="1")

    with pytest.raises(RailBlocked, match="tool call"):
        await tools.run(tool_call({"q": {"deep": ["attack at dawn"]}}, engine=run))
    with pytest.raises(RailBlocked, match="tool result"):
        await tools.run(tool_call({"q": "fine"}, engine=run))
    tools = Pipeline([Rails([BAD], on_block="refuse", refusal="No.")])
    refused = await tools.run(tool_call({"q": "attack at dawn"}, engine=run, call_id="1"))
    assert (refused.content, refused.status, refused.tool_call_id) == ("No.", "error", "1")
    assert (await tools.run(tool_call({"q": "fine"}, engine=run, call_id="1"))).content == "No."


async def test_numbers_in_arguments_are_judged_and_rewritten() -> None:
    rails = Rails([PatternRail("digits", {"number": r"\d{5,}"}, policy="redact")])
    assert await Pipeline([rails]).run(tool_call({"card": 123456, "n": 3})) == {"card": "[number]", "n": 3}


async def test_tool_calls_in_an_answer_are_judged_before_they_leave() -> None:
    calls: Any = [{"name": "send", "args": {"text": "attack at dawn"}, "id": "c1"}]
    with pytest.raises(RailBlocked, match="tool call"):
        await ask(Rails([BAD]), ScriptedModel([AIMessage("", tool_calls=calls)]))(model_call("hi"))
    rails = Rails([BAD], on_block="refuse", refusal="No.")
    result = await ask(rails, ScriptedModel([AIMessage("", tool_calls=calls, id="a1")]))(model_call("hi"))
    assert (result.text, result.message.tool_calls, result.message.id) == ("No.", [], "a1")


async def test_refused_documents_are_left_out_and_redacted_ones_rewritten() -> None:
    async def search(call: Any) -> Any:
        return [Document("attack at dawn"), Document("fine 12345", metadata={"k": 1})]

    rails = Rails([BAD, PatternRail("digits", {"number": r"\d{5}"}, policy="redact")], on_block="refuse")
    found = await Pipeline([rails]).run(tool_call("when?", kind="retriever", engine=search))
    assert [(d.page_content, d.metadata) for d in found] == [("fine [number]", {"k": 1})]


async def test_fields_of_a_state_are_judged_going_in_and_coming_out() -> None:
    node = Pipeline([Rails([BAD])])
    with pytest.raises(RailBlocked, match="input"):
        await node.run(node_call({"question": "attack at dawn"}))

    async def engine(call: Any) -> Any:
        return {"answers": ["fine", "attack at dawn"]}

    with pytest.raises(RailBlocked, match="output"):
        await node.run(node_call({"question": "when?"}, engine=engine))
    refusing = Pipeline([Rails([BAD], on_block="refuse", refusal="No.")])
    assert await refusing.run(node_call({"question": "when?"}, engine=engine)) == {"answers": ["fine", "No."]}
    chosen = Pipeline([Rails([BAD], fields="messages")])
    assert await chosen.run(node_call({"question": "when?"}, engine=engine)) == {"answers": ["fine", "attack at dawn"]}


async def test_an_update_inside_a_command_is_judged() -> None:
    async def engine(call: Any) -> Any:
        return Command(update={"answer": "12345"}, goto="next")

    rails = Rails([PatternRail("digits", {"number": r"\d{5}"}, policy="redact")])
    result = await Pipeline([rails]).run(node_call({}, engine=engine))
    assert (result.update, result.goto) == ({"answer": "[number]"}, "next")


async def test_a_node_chooses_its_rails_by_place() -> None:
    judge = Says("judge")
    settings = NodeSettings(metadata={"rails": {"input": False, "output": ["judge"]}})
    await ask(Rails([judge, BAD]), ScriptedModel(["ok"]))(model_call("attack at dawn", settings=settings))
    assert judge.seen == [("output", "ok")]
    for wrong in ({"inptu": True}, {"input": ["jugde"]}, {"input": 3}, "all"):
        settings = NodeSettings(metadata={"rails": wrong})
        with pytest.raises(SetupError, match="rails"):
            await ask(Rails([judge]), ScriptedModel(["ok"]))(model_call("hi", settings=settings))


async def test_a_text_is_judged_once_and_remembered_but_a_failure_is_not() -> None:
    judge = Says("judge", places=["input"])
    rails = Rails([judge])
    graph = graph_of(ScriptedModel(["ok"] * 3), rails)
    for _ in range(3):
        await graph.ainvoke({"messages": ["hi"]})
    assert judge.seen == [("input", "hi")]
    judge.verdict = ValueError("boom")
    for _ in range(2):
        with pytest.raises(RailBlocked):
            await graph.ainvoke({"messages": ["other"]})
    assert len(judge.seen) == 3


@pytest.mark.parametrize(("answer", "passes"), ANSWERS)
async def test_ask_stops_for_a_person_once_and_the_answer_decides(answer: Any, passes: bool) -> None:
    rails = Rails([DenyList("words", ["dawn"], policy="ask", places=["input"])])
    model = ScriptedModel(["ok"] * 3)
    graph, config = graph_of(model, rails, saver=True), {"configurable": {"thread_id": "1"}}
    state = await graph.ainvoke({"messages": ["dawn"]}, config)
    question = state["__interrupt__"][0].value
    assert (question["rail"], question["place"], question["text"]) == ("words", "input", "dawn") and model.calls == []
    if not passes:
        with pytest.raises(RailBlocked):
            await graph.ainvoke(Command(resume=answer), config)
        assert model.calls == []
        return
    state = await graph.ainvoke(Command(resume=answer), config)
    assert state["messages"][-1].text == "ok"
    state = await graph.ainvoke({"messages": ["and now?"]}, config)  # an approved turn stays in the history
    assert [m.text for m in model.calls[-1]] == ["dawn", "ok", "and now?"]


async def test_an_approval_holds_for_the_very_answer_that_was_shown() -> None:
    rails = Rails([DenyList("words", ["dawn"], policy="ask", places=["output"])])
    model = ScriptedModel(["dawn one", "dawn two"])
    graph, config = graph_of(model, rails, saver=True), {"configurable": {"thread_id": "1"}}
    state = await graph.ainvoke({"messages": ["when?"]}, config)
    assert state["__interrupt__"][0].value["text"] == "dawn one"
    state = await graph.ainvoke(Command(resume=True), config)
    assert state["messages"][-1].text == "dawn one" and len(model.calls) == 1


async def test_an_answer_that_nobody_was_shown_is_asked_about_again_after_a_restart() -> None:
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "2"}}

    def restarted(model: Any) -> Any:
        builder = StateGraph(MessagesState)

        async def answer(state: MessagesState) -> Any:
            return {"messages": [await model.ainvoke(state["messages"])]}

        builder.add_node("answer", answer)
        builder.add_edge(START, "answer")
        rails = Rails([DenyList("words", ["dawn"], policy="ask", places=["output"])])
        return instrument(builder.compile(checkpointer=saver), [rails])

    await restarted(ScriptedModel(["dawn one"])).ainvoke({"messages": ["when?"]}, config)
    state = await restarted(ScriptedModel(["dawn two"])).ainvoke(Command(resume=True), config)
    question = state["__interrupt__"][0].value
    assert question["text"] == "dawn two"
    graph = restarted(ScriptedModel(["dawn two"]))
    state = await graph.ainvoke(Command(resume={"approve": True, "digest": question["digest"]}), config)
    assert state["messages"][-1].text == "dawn two"


async def test_where_nobody_can_be_asked_the_text_is_refused() -> None:
    rails = Rails([DenyList("words", ["dawn"], policy="ask")])
    with pytest.raises(RailBlocked):
        await ask(rails, ScriptedModel(["ok"]))(model_call("dawn"))


def test_synchronous_runs_are_guarded_too() -> None:
    def answer(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    model = ScriptedModel(["we attack at dawn"] * 2)
    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    graph = instrument(builder.compile(), [Rails([BAD])])
    with pytest.raises(RailBlocked, match="output"):
        graph.invoke({"messages": ["when?"]})
    with pytest.raises(RailBlocked, match="input"):
        graph.invoke({"messages": ["attack at dawn"]})
