import dataclasses
import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr

from chainops.identity import identity_of
from chainops.testing import ScriptedModel

LIMIT = 3


def helper(text):
    return text[:LIMIT]


def node(state):
    return {"said": helper(state["said"])}


def from_source(source, name="node", **names):
    """A function of a module of its own."""
    scope = {"__name__": "somewhere", **names}
    exec(textwrap.dedent(source), scope)
    return scope[name]


def test_an_identity_is_json_and_says_whether_it_is_stable():
    found = identity_of(node)
    assert found["stable"] is True
    assert json.loads(json.dumps(found)) == found


def test_comments_and_lines_do_not_change_what_a_function_is_and_code_does():
    one = from_source("def node(x):\n    return x + 1")
    moved = from_source("\n\n# a comment\ndef node(x):\n    # more\n    return x + 1")
    other = from_source("def node(x):\n    return x + 2")
    assert identity_of(one) == identity_of(moved)
    assert identity_of(one) != identity_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def node(x, y=1): return x", "def node(x, y=2): return x"),
        ("def node(x, *, y=1): return x", "def node(x, *, y=2): return x"),
        ("def node(x): return lambda: 1", "def node(x): return lambda: 2"),
        ("def node(x): return x in {1, 2}", "def node(x): return x in {1, 3}"),
        ("def node(x): return x.a", "def node(x): return x.b"),
        ("def node(x): return 1", "def node(x): return 1.0"),
        ("def node(x): return True", "def node(x): return 1"),
        ("K = 1\ndef node(x): return K", "K = 2\ndef node(x): return K"),
        ("def f(): return 1\ndef node(x): return f()", "def f(): return 2\ndef node(x): return f()"),
        (
            "class A:\n    def f(self): return 1\ndef node(x): return A()",
            "class A:\n    def f(self): return 2\ndef node(x): return A()",
        ),
    ],
)
def test_what_can_change_the_result_of_a_function_changes_what_it_is(one, other):
    assert identity_of(from_source(one)) != identity_of(from_source(other))


def make(limit, secret="x"):
    def inner(text):
        return text[:limit], secret

    return inner


def test_a_closure_is_told_by_what_it_closes_over():
    assert identity_of(make(1)) == identity_of(make(1))
    assert identity_of(make(1)) != identity_of(make(2))


def test_two_callables_of_one_class_differ_by_their_fields():
    @dataclasses.dataclass
    class Cut:
        limit: int

        def __call__(self, state):
            return state

    assert identity_of(Cut(1)) == identity_of(Cut(1))
    assert identity_of(Cut(1)) != identity_of(Cut(2))


def test_partials_differ_by_their_arguments():
    assert identity_of(functools.partial(make, 1)) != identity_of(functools.partial(make, 2))
    assert identity_of(functools.partial(make, limit=1)) != identity_of(functools.partial(make, 1))


def test_functions_that_call_each_other_have_an_end():
    both = from_source("def f(x): return node(x)\ndef node(x): return f(x)")
    assert identity_of(both)["stable"] is True


def test_an_unknown_object_is_marked_and_its_place_named():
    found = identity_of(make(object()))
    assert found["stable"] is False
    assert found["unstable"] == ["closure.limit: builtins.object (nothing is known about it)"]


class Speaks:
    def __init__(self, version):
        self.connection = object()
        self.version = version

    def chainops_identity(self):
        return {"version": self.version}


def test_an_object_may_speak_for_itself():
    assert identity_of(Speaks(1))["stable"] is True
    assert identity_of(Speaks(1)) == identity_of(Speaks(1)) != identity_of(Speaks(2))
    assert identity_of(make(Speaks(1))) != identity_of(make(Speaks(2)))


def test_a_chat_model_is_told_by_its_options_and_a_runnable_by_its_parts():
    assert identity_of(FakeListChatModel(responses=["a"])) != identity_of(FakeListChatModel(responses=["b"]))
    assert identity_of(RunnableLambda(make(1)) | RunnableLambda(node)) != identity_of(
        RunnableLambda(make(2)) | RunnableLambda(node)
    )
    bound = ScriptedModel(["a", AIMessage("b"), ValueError("c")])
    assert identity_of(bound.bind(stop=["x"])) != identity_of(bound.bind(stop=["y"]))
    assert identity_of(bound)["stable"] is True


def test_a_tool_is_told_by_its_function_and_its_schema():
    @tool("look")
    def one(text: str) -> str:
        """Look."""
        return helper(text)

    @tool("look")
    def other(text: str, far: bool = False) -> str:
        """Look."""
        return helper(text)

    assert identity_of(one)["stable"] is True
    assert identity_of(one) != identity_of(other)


SECRET = "s3cr3t-value-0123"


class Client(BaseModel):
    name: str = "client"
    api_key: SecretStr = SecretStr(SECRET)
    key: SecretStr = SecretStr(SECRET)
    hf_token: str = SECRET
    headers: dict[str, str] = {"Authorization": f"Bearer {SECRET}", "accept": "json"}
    url: str = f"https://user:{SECRET}@example.org/v1"
    max_tokens: int = 10


class Declared(FakeListChatModel):
    pass_phrase_of_mine: str = SECRET

    @property
    def lc_secrets(self):
        return {"pass_phrase_of_mine": "MINE"}


@pytest.mark.parametrize("holder", [Client(), Declared(responses=["a"]), make(1, SECRET), make({"password": SECRET})])
def test_secrets_never_appear(holder):
    assert SECRET not in json.dumps(identity_of(holder))


def test_numbers_of_tokens_are_no_secret():
    assert identity_of(Client(max_tokens=1)) != identity_of(Client(max_tokens=2))


def test_two_processes_find_the_same_identities():
    source = Path(__file__).with_name("things.py")
    program = f"import runpy, json; print(json.dumps(runpy.run_path({str(source)!r}, run_name='things')['IDENTITIES']))"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
    assert all(identity["stable"] for identity in json.loads(found.pop()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_closures_are_equal_exactly_where_their_values_are(one, other):
    # a name that means a secret, and the user part of a URL, are left out: not what this is about
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (identity_of(make(one)) == identity_of(make(other))) == same
