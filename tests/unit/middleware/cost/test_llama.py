"""What a real model of llama.cpp in this process costs: the time that it worked."""

from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from chainops import Pipeline, wrap
from chainops.pipeline import Middleware

TINY = Path(__file__).parents[4] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


class Notes(Middleware):
    """Keeps what was noted on each call."""

    name = "keep"

    def __init__(self):
        self.found = []

    async def wrap_model_call(self, call, call_next):
        result = await call_next(call)
        self.found.append((call.guard.marks.notes["cost"], result.message))
        return result


@pytest.fixture
def tiny(cost):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    if not TINY.exists():
        pytest.skip("recipes/tiny_model/support-desk-tiny.gguf is not there")
    from chainops.engines.llama import ChatLlama

    model, notes = ChatLlama(model_path=TINY, probe=False), Notes()
    yield wrap(model, Pipeline([notes, cost()])), notes
    model.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_time_that_the_engine_worked_is_paid_for(tiny, price, streamed):
    model, notes = tiny
    price("support-desk-tiny", hour="3600", watts=100, kwh="36")
    messages = [HumanMessage("where is order 17?")]
    if streamed:
        assert [chunk async for chunk in model.astream(messages)]
    else:
        await model.ainvoke(messages)
    ((note, message),) = notes.found
    timings = message.response_metadata["timings"]
    seconds = (timings["prefill_ms"] + timings["decode_ms"]) / 1000
    assert note.get("seconds") == pytest.approx(seconds, abs=1e-6)
    assert note["micro"] == pytest.approx(seconds * (1e6 + 1_000), rel=0.01)  # 1 USD a second, and 3.6 USD an hour
    assert message.usage_metadata["output_tokens"] > 0


async def test_without_a_price_of_its_own_it_is_unknown(tiny):
    model, notes = tiny
    await model.ainvoke([HumanMessage("where is order 17?")])
    ((note, _),) = notes.found
    assert "no price for" in note["unknown"]
