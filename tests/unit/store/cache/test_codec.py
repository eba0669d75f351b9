import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation

from chainops.store.cache import Unfaithful, copy_value, decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=4)
KEYS = TEXT | st.integers() | st.sampled_from(["$", "v"])
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(TEXT | st.integers(), max_size=3)
        | st.frozensets(TEXT, max_size=3)
        | st.builds(Document, page_content=TEXT)
        | st.builds(AIMessage, content=TEXT)
    ),
    max_leaves=10,
)


def through(value):
    return decode(orjson.loads(orjson.dumps(encode(value))))


@given(VALUES)
def test_what_is_read_back_is_what_was_written(value):
    back = through(value)
    assert encode(back) == encode(value)
    assert type(back) is type(value)


@given(VALUES, VALUES)
def test_two_values_never_have_the_same_text(one, other):
    texts = [orjson.dumps(encode(value), option=orjson.OPT_SORT_KEYS) for value in (one, other)]
    if texts[0] == texts[1]:
        assert encode(through(one)) == encode(other)
        assert type(one) is type(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), ((1,), [1]), ({"a": 1}, [["a", 1]]), ({1: "a"}, {"1": "a"}), (None, "null"), (b"a", "a")],
)
def test_values_that_look_alike_stay_apart(one, other):
    assert orjson.dumps(encode(one)) != orjson.dumps(encode(other))


MESSAGES = [
    HumanMessage("hi", name="ada", id="1"),
    AIMessage(
        "",
        tool_calls=[{"name": "look", "args": {"a": 1}, "id": "c1"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"finish_reason": "stop"},
    ),
    AIMessage([{"type": "text", "text": "hi"}], additional_kwargs={"x": [1]}),
    AIMessageChunk(content="a", tool_call_chunks=[{"name": "x", "args": "{}", "id": "1", "index": 0}]),
    ToolMessage("done", tool_call_id="c1", artifact={"rows": (1, 2)}),
    Document("text", metadata={"source": "a"}, id="d1"),
    Generation(text="a", generation_info={"reason": "x"}),
    ChatGeneration(message=AIMessage("hi")),
]


@pytest.mark.parametrize("value", MESSAGES, ids=lambda value: type(value).__name__)
def test_langchain_objects_come_back_as_they_were(value):
    assert through(value) == value
    assert type(through(value)) is type(value)
    assert copy_value(value).model_dump(exclude={"id"}) == value.model_dump(exclude={"id"})


def test_a_copied_message_has_no_id_a_document_keeps_its_own():
    assert copy_value(AIMessage("a", id="1")).id is None
    assert copy_value([HumanMessage("a", id="1")])[0].id is None
    assert copy_value(Document("a", id="1")).id == "1"


def test_a_copy_shares_nothing_that_can_change():
    value = {"messages": [AIMessage([{"type": "text", "text": "a"}], additional_kwargs={"x": [1]})], "n": [1, {2}]}
    copy = copy_value(value)
    copy["messages"][0].content[0]["text"] = "b"
    copy["messages"][0].additional_kwargs["x"].append(2)
    copy["n"][1].add(3)
    assert value["messages"][0].content[0]["text"] == "a"
    assert value["messages"][0].additional_kwargs["x"] == [1]
    assert value["n"] == [1, {2}]


class Mine(AIMessage):
    pass


@pytest.mark.parametrize("value", [object(), Mine("a"), {"a": [object()]}, ValueError("x"), lambda: 1, int])
def test_what_would_not_come_back_is_refused_by_copy_and_by_text(value):
    with pytest.raises(Unfaithful):
        copy_value(value)
    with pytest.raises(Unfaithful):
        encode(value)


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    for work in (copy_value, encode):
        with pytest.raises(Unfaithful):
            work(value)


@pytest.mark.parametrize(
    "data", [{"$": "os.system", "v": "x"}, {"$": "ai", "v": 3}, {"$": "bytes"}, {"$": [1], "v": 1}]
)
def test_foreign_marks_are_errors_and_nothing_is_looked_up(data):
    with pytest.raises(ValueError, match="no value of a cache"):
        decode(data)
