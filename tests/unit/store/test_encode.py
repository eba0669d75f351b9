import dataclasses
import json
import threading

import pydantic
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from chainops.store.encode import encode, plain


class Model(pydantic.BaseModel):
    a: int
    key: pydantic.SecretStr


@dataclasses.dataclass
class Point:
    x: int
    y: object


def test_messages_models_dataclasses_and_sets_have_a_json_form():
    message = AIMessage("hi", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}])
    value = [message, Model(a=1, key="hush"), Point(1, {2}), b"xyz", ValueError("no")]
    first, model, point, raw, error = json.loads(encode(value))
    assert (first["type"], first["content"], first["tool_calls"][0]["name"]) == ("ai", "hi", "f")
    assert model == {"a": 1, "key": "SecretStr('**********')"}
    assert point == {"x": 1, "y": [2]}
    assert (raw, error) == ("<3 bytes>", "ValueError: no")


def test_keys_that_are_no_text_become_text():
    found = json.loads(encode({1: "a", None: "b", False: "c", (1, 2): "d"}))
    assert found == {"1": "a", "null": "b", "false": "c", "(1, 2)": "d"}


def test_an_object_that_fights_back_costs_only_itself():
    class Nasty:
        def __repr__(self):
            raise RuntimeError("no")

    assert json.loads(encode({"a": Nasty(), "b": 1})) == {"a": "<Nasty>", "b": 1}


def test_cycles_and_depth_end():
    cycle = [1]
    cycle.append(cycle)
    assert json.loads(encode(cycle)) == [1, "<cycle>"]
    deep = here = []
    for _ in range(5000):
        here.append([])
        here = here[0]
    assert b"too deep" in encode(deep)


def test_a_dict_that_changes_while_it_is_encoded_does_no_harm():
    stop = threading.Event()
    shared = {"a": {}}

    def change():
        i = 0
        while not stop.is_set():
            shared["a"][i % 50] = i
            shared["a"].pop((i + 7) % 50, None)
            i += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            assert json.loads(encode(shared)).keys() == {"a"}
    finally:
        stop.set()
        thread.join()


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.frozensets(st.integers())
        | st.dictionaries(st.none() | st.integers() | st.text(st.characters()), inner)
    ),
    max_leaves=20,
)


@given(anything)
@settings(deadline=None, max_examples=150)
def test_everything_encodes_to_valid_json(value):
    assert json.dumps(json.loads(encode(value)))
    assert json.dumps(json.loads(encode(plain(value))))
