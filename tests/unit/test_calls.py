import dataclasses

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from chainops import Middleware, instrument
from chainops.calls import NodeCall
from chainops.testing import model_call, node_call, tool_call


def test_what_a_call_says_about_its_result_holds_for_the_calls_around_it():
    node = node_call({})
    model = model_call(parent=node)
    other = tool_call(parent=node)
    model.tag("a")
    model.replace(name="copy").artifact("prompt", "hello", "3")
    model.mark_private()
    assert node.guard.marks.tags == {"a", "prompt:hello", "prompt:hello@3"}
    assert node.guard.marks.private
    assert other.guard.marks is None


def test_what_a_call_depends_on_is_its_own_affair():
    node = node_call({})
    model = model_call(parent=node)
    model.depends("rails", "v1")
    assert model.guard.marks.depends == {"rails": "v1"}
    assert node.guard.marks is None


def test_what_is_bound_to_a_thread_says_nothing_about_the_calls_around_it():
    node = node_call({})
    model = model_call(parent=node)
    model.mark_bound()
    assert model.guard.marks.bound
    assert node.guard.marks is None


def test_annotations_of_all_layers_can_be_read_by_all():
    call = node_call({})
    call.annotate("cost", micro=3)
    call.replace(name="copy").annotate("cost", currency="USD")
    assert call.guard.marks.notes == {"cost": {"micro": 3, "currency": "USD"}}


class Keep(Middleware):
    suspends = False

    def __init__(self):
        self.calls = []

    async def wrap_node_call(self, call, call_next):
        try:
            return await call_next(call)
        finally:
            self.calls.append(call)


async def test_a_call_knows_what_runs_the_context_of_the_run_and_whether_a_person_was_asked():
    def asks(state):
        return {"said": interrupt("well?")}

    def quiet(state):
        return {"said": state["said"] + "!"}

    keep, builder = Keep(), StateGraph(dict)
    builder.add_node("asks", asks)
    builder.add_node("quiet", quiet)
    builder.add_edge(START, "asks")
    builder.add_edge("asks", "quiet")
    graph = instrument(builder.compile(checkpointer=InMemorySaver()), [keep])
    config = {"configurable": {"thread_id": "1"}}
    await graph.ainvoke({"said": ""}, config, context={"user": "ada"})
    await graph.ainvoke(Command(resume="yes"), config, context={"user": "ada"})
    assert [(c.name, bool(c.guard.marks and c.guard.marks.asked)) for c in keep.calls] == [
        ("asks", True),
        ("asks", True),
        ("quiet", False),
    ]
    assert {c.runnable.func for c in keep.calls} == {asks, quiet}
    assert all(c.context == {"user": "ada"} for c in keep.calls)


@pytest.mark.parametrize("call", [model_call(), node_call({"x": 1}), tool_call({"a": 1})])
def test_replace_copies_every_field_and_changes_the_named_ones(call):
    changed = call.replace(name="other", emit=None, parent=call)
    assert type(changed) is type(call)
    for field in dataclasses.fields(call):
        before, after = getattr(call, field.name), getattr(changed, field.name)
        assert after is {"name": "other", "emit": None, "parent": call}.get(field.name, before)
    with pytest.raises(TypeError):
        call.replace(nmae="typing error")


def test_a_call_of_your_own_class_keeps_its_class_and_fields_when_replaced():
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
    class Mine(NodeCall):
        extra: int = 0

    mine = Mine(**{f.name: getattr(node_call(), f.name) for f in dataclasses.fields(NodeCall)}, extra=5)
    changed = mine.replace(name="other")
    assert type(changed) is Mine and changed.extra == 5 and changed.name == "other"
    assert mine.replace(extra=7).extra == 7
