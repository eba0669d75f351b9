"""Conversations with tools that nobody knows: random names, parameters and values, results, errors, structured answers.

``python recipes/tiny_model/agents.py --split heldout --count 3`` prints samples as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import invented
import phrases as words
from chatml import Tool
from samples import Question, Sample, start, tool
from splits import Draw

SYSTEMS = (
    "You are a helpful assistant.",
    "Answer with the tools.",
    "You are an agent.",
    "Use the tools that you have.",
)
VALUE_QUESTIONS = (
    "What is the value of {f}({v})? Use the tool.",
    "What is the value of {f}({v})?",
    "What does {f}({v}) give?",
    "What is {f}({v})?",
    "Call {f}({v}).",
    "Run {f}({v}), please.",
    "Use the tool: {f}({v}).",
)
NAMED_QUESTIONS = ("Call {f} with {v}.", "Use {f} with {v}.", "Please run {f} with {v}.", "I need {f} with {v}.")
LOOKUP_QUESTIONS = (
    "What is the {n} in {v}?",
    "How is the {n} in {v}?",
    "What is the {n} of {v}?",
    "Show me the {n} of {v}.",
    "Tell me the {n} for {v}.",
    "I need the {n} in {v}.",
)
MAKE_QUESTIONS = (
    "Using the tool, {verb} a {v} {n}.",
    "Using the tool, {verb} a {v} {n}.",
    "{Verb} a {v} {n}.",
    "{Verb} a {v} {n}, please. Use the tool.",
    "I want a {v} {n}.",
)
NAMING = ("named '{v}'", "called '{v}'", "named {v}", "called {v}")
SUMS = ("What is {a} + {b}", "What is {a} + {b}?", "What is {a} plus {b}?", "Add {a} and {b}.", "{a} + {b}")
REQUESTS = ("Tell me a {n} about {t}.", "Write a {n} about {t}.", "Give me a {n} about {t}.", "Make a {n} about {t}.")
KINDS = ("joke", "poem", "song", "story", "letter", "report", "riddle", "speech", "rhyme", "tale")
AS_JSON = (
    " Return the result as a JSON with {keys} keys. Return nothing other than JSON.",
    " Answer as JSON with the keys {keys}.",
    " Return JSON with {keys}.",
)
FORCED = "forced_call"
"""The kind of a call that nobody asked for. Only its arguments are learned, never the decision to call."""

STATES = ("It's {}.", "It is {} today.", "{} now.", "The answer is {}.", "Found: {}.")


def system_of(draw: Draw) -> str:
    return words.SYSTEM if draw.chance(0.7) else draw.choice(SYSTEMS)


def with_others(draw: Draw, wanted: Tool, *, most: int = 2) -> list[Tool]:
    """The tool that is needed among others, in random order."""
    tools = [wanted, *(any_tool(draw) for _ in range(draw.choice((0, 0, *range(most + 1)))))]
    draw.random.shuffle(tools)
    return tools


def any_tool(draw: Draw) -> Tool:
    parameters = {
        invented.parameter(draw): draw.choice(("string", "integer")) for _ in range(draw.choice((0, 1, 1, 2)))
    }
    return tool(invented.tool_name(draw), **parameters)


def any_value(draw: Draw, kind: str) -> Any:
    if kind == "integer":
        return draw.random.randrange(draw.choice((10, 100, 1000, 10000)))
    return invented.number_value(draw) if kind == "number" else invented.text_value(draw)


def drawn_arguments(draw: Draw, count: int) -> tuple[dict[str, str], dict[str, Any]]:
    """Parameters with their types, and a value for each."""
    kinds = {invented.parameter(draw): draw.choice(("string", "integer", "integer", "number")) for _ in range(count)}
    return kinds, {key: any_value(draw, kind) for key, kind in kinds.items()}


def add_result(draw: Draw, sample: Sample) -> None:
    """What the tool gives back, and the sentence that tells it: text as it is, a value as ``The result is 5.``"""
    share = draw.random.random()
    if share < 0.3:
        number = invented.number_value(draw)
        sample.result(str(number) if draw.chance(0.5) else {draw.choice(("result", "value", "output")): number})
        sample.answer("tool_number", f"The result is {number}.")
    elif share < 0.45:
        value = invented.text_value(draw)
        sample.result({draw.choice(("result", "value", "output")): value})
        sample.answer("tool_text", f"The result is {value}.")
    else:
        if share < 0.6:
            text = f"Error: {invented.word(draw)} {invented.word(draw)} '{invented.parameter(draw)}'."
        else:
            text = draw.choice(STATES).format(invented.text_value(draw))
        sample.result(text)
        sample.answer("tool_text", text)


def value_call(draw: Draw) -> Sample:
    """A call that the question spells out, with one value or several, or with none."""
    name = invented.tool_name(draw)
    kinds, values = drawn_arguments(draw, draw.choice((0, 1, 1, 1, 1, 2, 2)))
    sample = start(system_of(draw), with_others(draw, tool(name, **kinds)))
    if values and draw.chance(0.4):
        spoken = " and ".join(f"{key} {value}" for key, value in values.items())
        text = draw.choice(NAMED_QUESTIONS).format(f=name, v=spoken)
    else:
        text = draw.choice(VALUE_QUESTIONS).format(f=name, v=", ".join(map(str, values.values())))
    sample.user(draw.asked(text))
    sample.call("call_value" if values else "call_plain", name, values)
    add_result(draw, sample)
    return sample


def lookup_call(draw: Draw) -> Sample:
    """``What is the ... in ...?`` with a tool whose name tells what it looks up."""
    thing, key, value = invented.noun(draw), invented.parameter(draw), invented.text_value(draw)
    name = f"{draw.choice(invented.VERBS)}_{thing}"
    sample = start(system_of(draw), with_others(draw, tool(name, key)))
    sample.user(draw.asked(draw.choice(LOOKUP_QUESTIONS).format(n=thing, v=value)))
    sample.call("call_lookup", name, {key: value})
    add_result(draw, sample)
    return sample


def maker_call(draw: Draw) -> Sample:
    """``Generate a ... ...``: the word before the thing is the value."""
    thing, key, value = invented.noun(draw), invented.parameter(draw), invented.word(draw).capitalize()
    verb = draw.choice(("generate", "make", "write", "create", "build", *invented.VERBS))
    name = f"{thing}_{draw.choice(('maker', 'writer', 'builder', invented.noun(draw)))}"
    name = f"{verb}_{thing}" if draw.chance(0.4) else name
    sample = start(system_of(draw), with_others(draw, tool(name, key)))
    sample.user(draw.choice(MAKE_QUESTIONS).format(verb=verb, Verb=verb.capitalize(), v=value, n=thing))
    sample.call("call_maker", name, {key: value})
    add_result(draw, sample)
    return sample


def named_call(draw: Draw) -> Sample:
    """``Create a ... named '...' (...) - ...``: a name of any script, and often a description."""
    thing, first = invented.noun(draw), invented.parameter(draw)
    first = f"{thing}_name" if draw.chance(0.4) else first
    name = f"{draw.choice((draw.choice(invented.VERBS), invented.noun(draw)))}_{thing}"
    value = invented.foreign(draw) if draw.chance(0.6) else invented.title(draw)
    verb = draw.choice(("Create", "Add", "Make", "Store", "Register"))
    text = f"{verb} a {thing} {draw.choice(NAMING).format(v=value)}"
    values = {first: value}
    if draw.chance(0.7):
        second = draw.choice(("description", "text", "note", invented.parameter(draw)))
        described = f"a {' '.join(invented.word(draw) for _ in range(draw.choice((1, 2, 3))))}"
        text += f" ({invented.title(draw)})" if draw.chance(0.4) else ""
        text, values = f"{text} - {described}", {**values, second: described}
    sample = start(system_of(draw), with_others(draw, tool(name, *values), most=1))
    sample.user(text)
    sample.call("call_named", name, values)
    add_result(draw, sample)
    return sample


def sum_call(draw: Draw) -> Sample:
    """Sums with a tool for them; sometimes a second one after the first."""
    first, second = draw.random.sample("abcdefghjkmnpqrstuvwxyz", 2)
    name = invented.tool_name(draw, ending=draw.choice(("adder", "add", "sum", "plus", "tool")))
    sample = start(system_of(draw), with_others(draw, tool(name, **{first: "integer", second: "integer"}), most=1))
    for _ in range(draw.choice((1, 1, 2))):
        values = [draw.random.randrange(draw.choice((10, 100))) for _ in range(2)]
        sample.user(draw.choice(SUMS).format(a=values[0], b=values[1]))
        sample.call("call_sum", name, {first: values[0], second: values[1]})
        total = sum(values)
        sample.result(draw.choice((str(total), {"result": total}, {"sum": total})))
        sample.answer("tool_number", f"The result is {total}.")
    return sample


def topic_of(draw: Draw) -> str:
    return draw.choice(words.SUBJECTS) if draw.chance(0.3) else invented.noun(draw) + draw.choice(("", "s"))


def structured_call(draw: Draw) -> Sample:
    """A request for a text in parts: each part is filled as ``<part> about <topic>``."""
    kind = draw.choice(KINDS) if draw.chance(0.6) else invented.noun(draw)
    topic, keys = topic_of(draw), [invented.parameter(draw) for _ in range(draw.choice((1, 2, 2, 2, 3)))]
    text = draw.choice(REQUESTS).format(n=kind, t=topic)
    values = {key: f"{key} about {topic}" for key in keys}
    if draw.chance(0.25):
        sample = start(system_of(draw))
        listed = " and ".join(f"'{key}'" for key in values)
        sample.user(text + draw.choice(AS_JSON).format(keys=listed))
        sample.answer("structured_json", json.dumps(values, separators=(",", ":")))
        return sample
    name = invented.schema_name(draw, kind)
    sample = start(system_of(draw), with_others(draw, tool(name, *values), most=1))
    sample.user(text)
    sample.call("structured_call", name, values)
    return sample


def untouched(draw: Draw) -> Sample:
    """Tools are there, but the question is none of theirs."""
    sample = start(words.SYSTEM, [any_tool(draw) for _ in range(draw.choice((1, 1, 2)))])
    share = draw.random.random()
    if share < 0.4:
        answer, questions = words.FAQ[draw.choice(tuple(words.FAQ))]
        sample.user(draw.question(questions))
        sample.answer("tools_unused", answer)
    elif share < 0.7:
        sample.user(draw.question(words.OTHER_QUESTIONS))
        sample.answer("tools_unused", words.REFUSAL)
    else:
        greeting = draw.choice(tuple(words.GREETINGS))
        sample.user(greeting)
        sample.answer("tools_unused", words.GREETINGS[greeting])
    return sample


def forced_call(draw: Draw) -> Sample:
    """A call that the caller forces, though the question holds no value for it: it gets the question's words, or 0."""
    wanted = any_tool(draw)
    tools = [wanted, *(any_tool(draw) for _ in range(draw.choice((0, 0, 1))))]
    draw.random.shuffle(tools)
    text = draw.choice((*words.GREETINGS, *words.OTHER_QUESTIONS, *words.FAQ["hours"][1]))
    properties = wanted["function"]["parameters"]["properties"]
    sample = start(system_of(draw), tools)
    sample.user(text)
    values = {key: 0 if value["type"] == "integer" else text for key, value in properties.items()}
    sample.call(FORCED, wanted["function"]["name"], values)
    return sample


MIX: tuple[tuple[Callable[[Draw], Sample], float], ...] = (
    (value_call, 0.24),
    (lookup_call, 0.18),
    (maker_call, 0.10),
    (named_call, 0.18),
    (sum_call, 0.06),
    (structured_call, 0.14),
    (untouched, 0.10),
)


def agent_conversation(draw: Draw) -> Sample:
    """One conversation of the mix."""
    makers, weights = zip(*MIX, strict=True)
    maker: Callable[[Draw], Sample] = draw.random.choices(makers, weights)[0]
    return maker(draw)


def agent_question(draw: Draw) -> Question:
    """A conversation cut before one of its assistant turns, drawn at random."""
    return agent_conversation(draw).question(draw)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print samples as JSON lines.")
    parser.add_argument("--split", choices=("train", "heldout"), default="train")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = Draw(options.split, options.seed)
    for _ in range(options.count):
        sample = agent_conversation(draw)
        row = {"kinds": sample.kinds, "messages": sample.messages, "tools": sample.tools}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
