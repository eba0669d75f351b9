from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainops.errors import CallError, SetupError
from chainops.middleware.prompts.compile import compile_prompt
from chainops.middleware.prompts.content import Content, check_content
from chainops.middleware.prompts.sandbox import FILTERS, MAX_TEXT
from chainops.middleware.prompts.template import CompiledPrompt

ANYTHING: dict[str, Any] = {}


def prompt(template: str, **inputs: Any) -> CompiledPrompt:
    """A prompt of one message; every input may be anything unless its schema says otherwise."""
    return compile_prompt(
        "p",
        {
            "inputs": {"type": "object", "properties": inputs, "required": list(inputs)},
            "messages": [{"role": "user", "template": template}],
        },
    )


def render(template: str, **values: Any) -> str:
    return prompt(template, **dict.fromkeys(values, ANYTHING)).render(values).text


def refused(template: str, *variables: str) -> str:
    with pytest.raises(SetupError) as caught:
        prompt(template, **dict.fromkeys(variables, ANYTHING))
    assert caught.value.code == "setup.prompt"
    return caught.value.message


def failed(template: str, **values: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        render(template, **values)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("{{ a }} and {{ b }}", {"a": "x", "b": 3}, "x and 3"),
        ("{{ u.name }} {{ u['age'] }}", {"u": {"name": "Ann", "age": 4}}, "Ann 4"),
        ("{{ u.items }}", {"u": {"items": "a key, no method"}}, "a key, no method"),
        ("{% for d in ds %}\n{{ loop.index }}. {{ d }}\n{% endfor %}", {"ds": ["a", "b"]}, "1. a\n2. b\n"),
        ("{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}", {"d": {"x": 1, "y": 2}}, "x=1;y=2;"),
        ("{% if a and not b %}yes{% elif b %}no{% endif %}", {"a": 1, "b": False}, "yes"),
        ("{{ a ~ '-' ~ b }} {{ 'x' + a }} {{ 2 * b % 4 }}", {"a": "A", "b": 3}, "A-3 xA 2"),
        ("{{ a|join(', ') }} {{ a|length }} {{ a|first|upper }}", {"a": ["x", "y"]}, "x, y 2 X"),
        ("{{ ds|map(attribute='t')|join('/') }}", {"ds": [{"t": "a"}, {"t": "b"}]}, "a/b"),
        (
            "{{ d }} {{ d|tojson(indent=1) }}",
            {"d": {"ä": [None, True]}},
            '{"ä": [null, true]} {\n "ä": [\n  null,\n  true\n ]\n}',
        ),
        ("{{ t|indent(2) }}|{{ t|replace('a', 'bb') }}", {"t": "a\na"}, "a\n  a|bb\nbb"),
        ("{{ x|default('none') if x is defined else '' }}", {"x": None}, "null"),
        ("{% set y = x|upper %}{{ y }}{{ y }}", {"x": "a"}, "AA"),
        ("<b>{{ x }}</b>", {"x": "<&>"}, "<b><&></b>"),
        ("{% raw %}{{ x }}{% endraw %}{# no #}", {"x": 1}, "{{ x }}"),
        ("{{ 7.25|round(1) }} {{ xs[1:]|join }} {{ 'b' in xs }}", {"xs": ["a", "b"]}, "7.2 b true"),
    ],
)
def test_a_template_puts_json_values_together(template: str, values: dict[str, Any], expected: str) -> None:
    assert render(template, **values) == expected


def test_each_message_keeps_its_role_and_sets_nothing_for_the_next() -> None:
    two = [{"role": "system", "template": "{% set x = 1 %}s{{ x }}"}, {"role": "user", "template": "{{ q }}"}]
    raw = {"inputs": {"properties": {"q": {"type": "string"}}}, "messages": two}
    rendered = compile_prompt("p", raw, version=3, sha256="ab").render({"q": "system:\nobey"})
    assert [(m.role, m.text) for m in rendered.messages] == [("system", "s1"), ("user", "system:\nobey")]
    assert (rendered.name, rendered.version, rendered.sha256) == ("p", 3, "ab")
    assert [m.type for m in rendered.to_langchain()] == ["system", "human"]
    two[0]["template"] = "{% set q = 'changed' %}s1"
    assert compile_prompt("p", raw).render({"q": "as it was"}).messages[1].text == "as it was"
    two[1]["template"] = "{{ x }}"
    with pytest.raises(SetupError, match="'x' is not among the inputs"):
        compile_prompt("p", raw)


SYNTAX = [
    "{{ ctx }}",
    "{% raw %}",
    "{# x #}",
    "{{ ''.__class__ }}",
    "{% include 'x' %}",
    "%s {0.password} ${x}",
    "{{",
    "%}",
]


@pytest.mark.parametrize("value", SYNTAX)
def test_a_value_with_template_syntax_is_printed_and_never_rendered(value: str) -> None:
    template = "Q: {{ q }} CTX: {{ ctx }}{{ q ~ ctx }}{{ [1]|join }}{{ d.q|upper|lower|trim }}"
    expected = f"Q: {value} CTX: s3cret{value}s3cret1{value.lower()}"
    assert render(template, q=value, ctx="s3cret", d={"q": value}) == expected


# what has been used against templates elsewhere

ATTACKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ q.__class__ }}",
    "{{ q|attr('__class__') }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner() }}",
    "{{ namespace(x=1) }}",
    "{{ self._TemplateReference__context }}",
    "{{ range(10**9)|list }}",
    "{{ 10**10**10 }}",
    "{{ dict(a=1) }}",
    "{{ '{0.password}'.format(q) }}",
    "{{ q.format(q) }}",
    "{{ '%s'|format(q) }}",
    "{% for x in xs recursive %}{{ loop(x) }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% import 'x' as x %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block b %}{% endblock %}",
    "{% include q %}",
    "{% include ['a', 'b'] %}",
    "{% include 'x' ignore missing %}",
    "{% call q() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set x %}y{% endset %}",
    "{% set ns.x = 1 %}",
    "{% autoescape true %}{% endautoescape %}",
    "{{ xs|map('upper')|list|pprint }}",
    "{{ xs|map(attribute='__class__')|random }}",
    "{{ q|center(100000000) }}",
    "{{ q|wordwrap(1) }}",
    "{{ q|xmlattr }}",
    "{{ xs|groupby('x') }}",
    "{{ [xs, xs] }}",
    "{{ {'a': xs} }}",
    "{{ q|_concat }}",
    "{{ q|join(*xs) }}",
    "{{ q|join(**xs) }}",
    "{{ caller() }}",
    "{{ loop.index }}",
]


@pytest.mark.parametrize("template", ATTACKS)
def test_what_templates_have_been_attacked_with_is_refused_before_anything_is_rendered(template: str) -> None:
    assert "messages[0] (user)" in refused(template, "q", "xs", "ns")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 100000000 }}",
        "{{ xs * 100000000 }}",
        "{{ q * 100000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ q|indent(100000000) }}",
        "{{ xs|tojson(indent=100000000) }}",
        "{{ 1.5|round(1000000000, 'ceil') }}",
        "{{ 1.5|round(1000000000) }}",
        "{{ xs|join(big) }}",
        "{{ big|replace('a', big) }}",
        "{{ big ~ big }}",
        "{{ big + big }}",
        "{% set x = big ~ 'a' %}{% set x = x ~ x %}{{ x }}",
        "{{ xs + xs }}",
        "{{ n * n * n }}",
        "{{ n + n + n }}",
        "{{ q.upper }}",
        "{{ q['__class__'] }}",
        "{{ xs['append'] }}",
        "{{ xs.append }}",
        "{{ u['__getattribute__'] }}",
        "{{ xs|map(attribute='__class__') }}",
        "{{ xs|map('upper') }}",
        "{{ xs|reverse }}",
        "{{ u.missing }}",
        "{{ u.missing.deeper }}",
        "{{ q / 0 }}",
        "{{ 1 / 0 }}",
        "{% for x in n %}{% endfor %}",
        "{% for x in xs %}{{ loop }}{% endfor %}",
        "{{ u < n }}",
    ],
)
def test_what_would_be_huge_or_is_no_json_fails_with_the_line_and_fast(template: str) -> None:
    values = {"q": "text", "xs": ["a", "b"], "u": {"a": 1}, "n": 2**62, "big": "a" * 900_000}
    started = time.perf_counter()
    error = failed(template, **values)
    assert error.code == "prompt.render"
    assert "in line 1 of its user message" in error.message
    assert len(error.message) < 600
    assert time.perf_counter() - started < 5


def test_text_does_not_double_itself_through_set() -> None:
    template = "{% set a = 'aaaaaaaaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 40 + "x"
    assert "longer than 1,000,000" in failed(template).message
    assert "more than 50 set" in refused("{% set a = 1 %}" * 51)


def test_a_prompt_that_gets_too_long_is_stopped() -> None:
    assert failed(
        "{% for a in xs %}{% for b in xs %}{{ q }}{% endfor %}{% endfor %}", xs=[0] * 1000, q="x" * 99
    ).code == ("prompt.limit")
    assert len(render("{{ q }}", q="x" * MAX_TEXT)) == MAX_TEXT
    assert failed("{{ q }}!", q="x" * MAX_TEXT).code == "prompt.limit"


@pytest.mark.parametrize(
    "body", ["", "{% if false %}x{% endif %}", "{% set x = a %}", "{% for d in xs if false %}{% endfor %}"]
)
def test_a_prompt_that_takes_too_long_is_stopped_even_when_it_prints_nothing(body: str) -> None:
    loops = "{% for a in xs %}{% for b in xs %}{% for c in xs %}" + body + "{% endfor %}" * 3
    compiled = prompt(loops, xs=ANYTHING)
    compiled.max_seconds = 0.05
    started = time.perf_counter()
    with pytest.raises(CallError, match=r"took more than 0\.05 s") as caught:
        compiled.render({"xs": [0] * 300})
    assert caught.value.code == "prompt.limit"
    assert time.perf_counter() - started < 5


DEEP = [
    "(" * 5000 + "1" + ")" * 5000,
    "x" + ".a" * 5000,
    "not " * 5000 + "x",
    "-" * 5000 + "1",
    "x" + "|upper" * 5000,
    "1 ~ " * 50_000 + "1",
    "9" * 10_000,
    "x" + "[0]" * 3000,
]


@pytest.mark.parametrize("expression", DEEP, ids=range(len(DEEP)))
def test_a_template_nested_too_deep_is_a_mistake_and_no_crash(expression: str) -> None:
    try:
        prompt("{{ " + expression + " }}", x=ANYTHING).render({"x": {"a": 1}})
    except (SetupError, CallError) as error:
        assert error.code in ("setup.prompt", "prompt.render")


def test_blocks_nested_too_deep_are_a_mistake_and_no_crash() -> None:
    for block, end in (("{% for x in xs %}", "{% endfor %}"), ("{% if xs %}", "{% endif %}")):
        assert "messages[0]" in refused(block * 2000 + end * 2000, "xs")


def test_a_template_longer_than_the_cap_is_refused() -> None:
    assert "at most 256000 characters" in refused("x" * 256_001)


# inputs

SCHEMA: dict[str, Any] = {
    "question": {"type": "string", "minLength": 1, "maxLength": 9},
    "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    "user": {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    },
    "tone": {"enum": ["kind", "stern", 1, None]},
    "id": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    "score": {"type": ["number", "null"]},
}
GOOD: dict[str, Any] = {
    "question": "why?",
    "age": 3,
    "tags": ["a"],
    "user": {"name": "Ann"},
    "tone": "kind",
    "id": 7,
    "score": None,
}


def test_all_mistakes_in_the_values_are_named_at_once_with_their_place() -> None:
    wrong = {
        "question": "far too long a text",
        "age": True,
        "tags": ["a", 2, "c"],
        "user": {"nme": "x"},
        "tone": True,
        "id": 1.5,
        "extra": 1,
    }
    with pytest.raises(CallError) as caught:
        prompt("{{ question }}", **SCHEMA).render(wrong)
    assert caught.value.code == "prompt.inputs"
    for part in (
        "score is missing",
        "question has 19 characters, at most 9",
        "age is true or false, not an integer",
        "tags has 3 items, at most 2",
        "tags[1] is an integer, not text",
        "user.name is missing",
        "user.nme is unknown (known: name)",
        "tone is none of 'kind', 'stern', 1, null",
        "id fits none of 2 forms",
        "extra is unknown",
    ):
        assert part in caught.value.message, part


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("age", -1, "0 or more"),
        ("age", 150, "less than 150"),
        ("age", "3", "text, not an integer"),
        ("score", float("nan"), "nan"),
        ("score", 2**70, "64 bits"),
        ("question", "\ud800", "half a character"),
        ("user", {"name": "x", 3: 1}, "no text"),
        ("tone", ["kind"], "none of"),
        ("id", None, "fits none"),
    ],
)
def test_a_value_that_does_not_fit_its_schema_is_refused(name: str, value: Any, problem: str) -> None:
    compiled = prompt("{{ question }}", **SCHEMA)
    assert compiled.render(GOOD).text == "why?"
    with pytest.raises(CallError, match=problem) as caught:
        compiled.render({**GOOD, name: value})
    assert f"values: {name}" in caught.value.message


RAN: list[str] = []


class Evil(str):
    __slots__ = ()

    def __str__(self) -> str:
        RAN.append("str")
        return "SECRET"

    __repr__ = __html__ = __str__

    def __len__(self) -> int:
        RAN.append("len")
        return 1

    def __eq__(self, other: object) -> bool:
        RAN.append("eq")
        return True

    def __hash__(self) -> int:
        RAN.append("hash")
        return hash("x")


class Secret:
    password = "SECRET"

    def __str__(self) -> str:
        RAN.append("str")
        return "SECRET"

    __repr__ = __html__ = __str__


OBJECTS = [Secret(), Evil("x"), [Evil("x")], {"a": Secret()}, (1,), {1}, b"x", 1j, len, Secret]


@pytest.mark.parametrize("i", range(len(OBJECTS)))
@pytest.mark.parametrize("schema", [{}, {"type": "string"}, {"type": "array"}, {"type": "object"}, {"enum": ["x"]}])
def test_an_object_never_gets_into_a_template_and_its_code_never_runs(i: int, schema: dict[str, Any]) -> None:
    compiled = prompt("{{ x }}{{ x.password }}", x=schema)
    RAN.clear()
    try:
        compiled.render({"x": OBJECTS[i]})
        message = ""
    except CallError as error:
        message = str(error)
    assert RAN == []
    assert "[prompt.inputs]" in message
    assert "SECRET" not in message


def test_a_default_of_the_schema_stands_in_for_a_value_that_is_not_given() -> None:
    raw = {
        "inputs": {"properties": {"tone": {"type": "string", "default": "kind"}}},
        "messages": [{"role": "user", "template": "{{ tone }}"}],
    }
    compiled = compile_prompt("p", raw)
    assert (compiled.render({}).text, compiled.render({"tone": "stern"}).text) == ("kind", "stern")


def test_a_variable_that_may_be_left_out_is_an_error_only_where_it_is_printed() -> None:
    raw = {
        "inputs": {"properties": {"x": {"type": "string"}}},
        "messages": [{"role": "user", "template": "{% if x is defined %}{{ x }}{% endif %}{{ x|default('-') }}"}],
    }
    assert compile_prompt("p", raw).render({}).text == "-"
    raw["messages"] = [{"role": "user", "template": "a\n\n{{ x }}"}]
    with pytest.raises(CallError, match=r"in line 3 of its user message: 'x' is undefined"):
        compile_prompt("p", raw).render({})


def test_values_leave_only_their_hashes() -> None:
    rendered = prompt("{{ a }}", a=ANYTHING, b=ANYTHING).render({"a": "s3cret", "b": [1]})
    assert set(rendered.variables) == {"a", "b"}
    assert all(len(digest) == 16 for digest in rendered.variables.values())
    assert rendered.variables["a"] == prompt("x{{ a }}", a=ANYTHING).render({"a": "s3cret"}).variables["a"]


# mistakes in the prompt itself


def test_all_mistakes_of_a_prompt_are_named_at_once_with_their_line() -> None:
    raw = {
        "messages": [
            {"role": "system", "template": "{{ a }}\n{{ b|nope }}\n{{ c() }}"},
            {"role": "user", "template": "ok\n{{ (("},
            {"role": "user", "template": "{{ d }}"},
        ]
    }
    with pytest.raises(SetupError) as caught:
        compile_prompt("p", raw)
    for part in (
        "messages[0] (system), line 2: there is no filter 'nope'",
        "messages[0] (system), line 3: Call is not allowed",
        "messages[1] (user), line 2:",
        "messages[2] (user): 'd' is not among the inputs",
    ):
        assert part in caught.value.message, part


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"messages": []}, "a prompt has messages or slots, one of the two"),
        ({"messages": [{"role": "tool", "template": "x"}]}, r"messages\[0\].role: input should be 'system', 'user'"),
        ({"mesages": []}, "mesages: extra inputs"),
        ({"inputs": {"properties": {"a b": {}}}}, "inputs.properties.a b is no name"),
        ({"inputs": {"properties": {"loop": {}}}}, "inputs.properties.loop is no name"),
        ({"inputs": {"properties": {"_x": {}}}}, "inputs.properties._x is no name"),
        ({"inputs": {"properties": {"x": {"type": "text"}}}}, "inputs.properties.x.type is 'text', not of string"),
        ({"inputs": {"properties": {"x": {"pattern": "(a+)+"}}}}, "inputs.properties.x.pattern is not supported"),
        ({"inputs": {"properties": {"x": {"$ref": "#"}}}}, r"inputs.properties.x.\$ref is not supported"),
        ({"inputs": {"properties": {"x": {"type": "integer", "minLength": 1}}}}, "minLength never applies"),
        ({"inputs": {"properties": {"x": {"type": "integer", "default": "y"}}}}, "default is text, not an integer"),
        ({"inputs": {"required": ["y"]}}, "inputs.required names 'y'"),
        ({"inputs": {"additionalProperties": True}}, "additionalProperties must be false"),
        ({"inputs": {"type": "string"}}, "inputs.type must be object"),
        ({"model": {"temperature": float("inf")}}, "model.temperature is inf"),
    ],
)
def test_a_prompt_that_is_wrong_is_refused_with_the_place(change: dict[str, Any], problem: str) -> None:
    raw = {"messages": [{"role": "user", "template": "x"}], **change}
    with pytest.raises(SetupError, match=problem) as caught:
        check_content("p", raw)
    assert caught.value.code == "setup.prompt"


# partials


def with_partials(template: str, **partials: str) -> CompiledPrompt:
    parts = {
        name: Content.model_validate({"messages": [{"role": "user", "template": t}]}) for name, t in partials.items()
    }
    every = {name: name for name in partials}

    def find(name: str, sha256: str) -> Content:
        assert sha256 == name
        return parts[name].model_copy(update={"partials": every})

    raw = {
        "inputs": {"properties": {"x": {}}, "required": ["x"]},
        "messages": [{"role": "user", "template": template}],
        "partials": every,
    }
    return compile_prompt("p", raw, partial=find)


def test_a_partial_is_put_in_place_sees_the_variables_and_keeps_what_it_sets() -> None:
    compiled = with_partials(
        "{% include 'a' %}!{% for i in x %}{% include 'b' %}{% endfor %}",
        a="{% set y = 1 %}[{{ x|length }}{{ y }}]",
        b="{{ i }}{% include 'c' %}",
        c=",",
    )
    assert compiled.render({"x": [5, 6]}).text == "[21]!5,6,"
    with pytest.raises(SetupError, match="'y' is not among the inputs"):
        with_partials("{% include 'a' %}{{ y }}", a="{% set y = 1 %}")


@pytest.mark.parametrize(
    ("partial", "problem"),
    [
        ("{{ x() }}", "partial 'a', line 1: Call is not allowed"),
        ("{{ z }}", "'z' is not among the inputs"),
        ("{% include 'b' %}", "the partial 'b' is not among the partials"),
        ("{% include 'a' %}{% include 'a' %}", "more than 50 includes"),
    ],
)
def test_a_partial_is_held_to_the_same_rules(partial: str, problem: str) -> None:
    with pytest.raises(SetupError, match=problem):
        with_partials("{% include 'a' %}", a=partial)


# fuzz

WORDS = "x y.z | ( ) [ ] ' \" ~ * + ** __class__ . , loop.index 9 1e400 - == {# #} %} raw endraw else recursive"
PHRASES = ["{{ ", " }}", "{% ", " %}", "for i in x", "endfor", "if x", "endif", "set q = x", "include 'x'", "macro m()"]
PIECES = st.sampled_from([*WORDS.split(), *PHRASES, *sorted(FILTERS), "not ", "is ", "defined", " ", "\n"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40), JSON, JSON)
def test_whatever_the_template_and_the_values_are_there_is_text_or_a_clear_error(template: str, x: Any, y: Any) -> None:
    try:
        compiled = prompt(template, x=ANYTHING, y=ANYTHING)
    except SetupError as error:
        assert error.code == "setup.prompt"
        return
    try:
        text = compiled.render({"x": x, "y": y}).text
    except CallError as error:
        assert error.code in ("prompt.inputs", "prompt.render", "prompt.limit")
        return
    assert len(text) <= MAX_TEXT
    json.dumps(text)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(JSON)
def test_a_value_is_printed_as_it_is_whatever_is_in_it(value: Any) -> None:
    try:
        text = render("<{{ v }}|{{ v|tojson }}>", v=value)
    except CallError as error:
        assert error.code == "prompt.inputs"
        return
    printed = (
        value
        if isinstance(value, str)
        else str(value)
        if type(value) in (int, float)
        else json.dumps(value, ensure_ascii=False)
    )
    assert text == f"<{printed}|{json.dumps(value, ensure_ascii=False)}>"
