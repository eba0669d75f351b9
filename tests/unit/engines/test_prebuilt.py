"""Without llama-cpp-python, xllamacpp answers: each test runs in a process in which only that is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xllamacpp", reason="xllamacpp (the [llama-prebuilt] extra) is not installed")

HEAD = """
import asyncio, json, sys
sys.modules["llama_cpp"] = None  # as if it were not installed
from chainops.engines.llama import *
from chainops.errors import ChainopsError
path = sys.argv[1]
found = {}
"""


def run(path: Path, code: str) -> dict[str, Any]:
    """What ``code`` puts into ``found``."""
    program = HEAD + textwrap.dedent(code) + "\nprint(json.dumps(found))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="module")
def questions(tiny_path: Path) -> list[dict[str, Any]]:
    lines = tiny_path.with_name("heldout.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][:24]


def test_held_out_questions_asked_at_once_get_the_expected_text(
    tiny_path: Path, questions: list[dict[str, Any]]
) -> None:
    found = run(
        tiny_path,
        f"""
        from chainops.engines.llama.request import Ask
        model = ChatLlama(model_path=path)
        async def text(sample):
            ask = Ask(messages=sample["messages"], tools=sample["tools"])
            return "".join([e async for e in model.session.stream(ask) if isinstance(e, str)])
        async def main():
            return await asyncio.gather(*map(text, {questions!r}))
        found["texts"] = asyncio.run(main())
        found["most"] = model.session.stats.most_running
        found["sha256"] = model.session.sha256
        found["again"] = model.invoke("How much is shipping?").text
        found["cached"] = model.invoke("How much is shipping?").usage_metadata["input_token_details"]["cache_read"]
        found["streamed"] = "".join(chunk.text for chunk in model.stream("How much is shipping?"))
        found["tokens"] = model.get_num_tokens("How much is shipping?")
        model.close()
        """,
    )
    assert found["texts"] == [sample["expected"] for sample in questions]
    assert found["most"] == 8
    assert found["sha256"] == tiny_path.with_name(tiny_path.name + ".sha256").read_text().split()[0]
    assert found["again"] == found["streamed"]
    assert found["cached"] > 0
    assert found["tokens"] > 3


def test_tools_and_schemas_are_enforced(tiny_path: Path) -> None:
    found = run(
        tiny_path,
        """
        from typing import Literal
        from pydantic import BaseModel
        class Topic(BaseModel):
            topic: Literal["shipping", "returns"]
            count: int
        def get_order(order_id: str) -> str:
            "Look an order up."
        model = ChatLlama(model_path=path, probe=False)
        desk = model.bind_tools([get_order], tool_choice="get_order")
        found["forced"] = [call["args"] for call in desk.invoke("Where is my order 67-26?").tool_calls]
        free = model.bind_tools([get_order], parallel_tool_calls=False)
        found["free"] = [call["args"] for call in free.invoke("Where is my order 67-26?").tool_calls]
        found["topic"] = model.with_structured_output(Topic).invoke("How much is shipping?").model_dump()
        found["logprobs"] = model.invoke("Hello", logprobs=True).response_metadata["logprobs"]["content"][0]
        model.close()
        """,
    )
    assert found["forced"] == found["free"] == [{"order_id": "67-26"}]
    assert found["topic"]["topic"] in ("shipping", "returns")
    assert found["logprobs"]["logprob"] <= 0


def test_what_it_cannot_do_and_what_goes_wrong_is_said_by_code(tiny_path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_path.read_bytes()[:200_000])
    found = run(
        tiny_path,
        f"""
        def code(work):
            try:
                work()
            except ChainopsError as error:
                return error.code
        found["broken"] = code(lambda: ChatLlama(model_path={str(broken)!r}).invoke("hi"))
        found["draft"] = code(lambda: ChatLlama(model_path=path, n_draft=4).invoke("hi"))
        model = ChatLlama(model_path=path, probe=False, n_parallel=1, n_ctx=256)
        found["pin"] = code(lambda: model.pin([("system", "x")]))
        found["long"] = code(lambda: model.invoke("word " * 2000))
        found["late"] = code(lambda: model.invoke("hi", timeout=0.000001))
        async def cancelled():
            stream = model.astream("How much is shipping?")
            await anext(stream)
            await stream.aclose()
            tasks = [asyncio.create_task(model.ainvoke(f"Where is order {{n}}?")) for n in range(40)]
            await asyncio.sleep(0.01)
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return (await model.ainvoke("How much is shipping?")).text
        found["after"] = asyncio.run(cancelled())
        model.close()
        found["closed"] = code(lambda: model.invoke("hi"))
        """,
    )
    assert found.pop("after").startswith("Shipping is free")
    assert found == {
        "broken": "setup.model_file",
        "draft": "setup.option",
        "pin": "setup.missing_extra",
        "long": "call.context_overflow",
        "late": "call.timeout",
        "closed": "call.model_closed",
    }


def test_doctor_says_which_engine_it_is(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
        from chainops.app.doctor.models import llama
        found["said"] = [(f.state, f.detail) for f in llama()]
        """,
    )
    [(state, detail)] = found["said"]
    assert state == "ok"
    assert detail.startswith("xllamacpp 20")
