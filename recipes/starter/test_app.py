"""The application without its model: what it asks, and what it does with the answer."""

from typing import Any

import pytest

from chainops.testing import app_module

starter = app_module(__file__)


@pytest.mark.asyncio
async def test_the_question_reaches_the_model_and_its_answer_the_caller(
    chainops_app: Any, trace: Any, scripted_model: Any
) -> None:
    graph = chainops_app.instrument(starter.graph(scripted_model("Four euros ninety.")))
    state = await graph.ainvoke({"messages": [("user", "How much is shipping?")]})
    assert state["messages"][-1].text == "Four euros ninety."
    asked = trace.assert_span("model").input
    assert [message["content"] for message in asked] == ["How much is shipping?"]
    assert trace.path_of_nodes == ["answer"]
