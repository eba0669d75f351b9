"""The check of plugins must pass a good one, and catch each way to get one wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from chainops import Middleware
from chainops.plugin import Plugin
from chainops.testing import check_plugin


class Options(BaseModel, extra="forbid"):
    size: int = Field(default=1, description="How big.")


class Loose(BaseModel):
    size: int = 1


class Needs(BaseModel, extra="forbid"):
    size: int = Field(description="How big.")


class Good(Middleware):
    suspends = False


class Swallows(Middleware):
    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        try:
            return await call_next(call)
        except Exception:
            return {}


ONE = Good()


def fail(*args: Any) -> Any:
    raise ValueError("no such thing")


async def test_a_good_plugin_passes_and_every_part_was_looked_at() -> None:
    plugin = Plugin(
        name="good",
        options=Options,
        middleware=lambda options: [Good()],
        engines={"one": lambda options, model: None},
        scorers={"kind": lambda options, span: span.kind},
        migrations=["CREATE TABLE good_table (x)"],
        pages={"hello": lambda options, trace: "<p>hello</p>"},
    )
    findings = await check_plugin(plugin)
    assert [f for f in findings if not f.passed] == []
    checks = " ".join(f.check for f in findings)
    for part in ("conformance kit", "engine 'one'", "scorer 'kind'", "migrations", "page 'hello'", "takes its options"):
        assert part in checks


@pytest.mark.parametrize(
    ("plugin", "check", "problem"),
    [
        ("text", "is a Plugin", "is a str"),
        (Plugin(name="p", api=7), "speaks this plugin API", "written for 7"),
        (Plugin(name="p", options=Loose), "a misspelt option is an error", "extra="),
        (Plugin(name="p", options=Loose), "every option says what it is", "no description: size"),
        (Plugin(name="p", options=Needs), "takes its options", "size: Field required"),
        (Plugin(name="p", middleware=fail), "makes its middleware", "ValueError: no such thing"),
        (
            Plugin(name="p", middleware=lambda o: [ONE]),
            "each application gets its own layers",
            "one object for all: good",
        ),
        (
            Plugin(name="p", middleware=lambda o: [Swallows()]),
            "middleware 'swallows' passes",
            "errors_arrive_as_they_are",
        ),
        (Plugin(name="p", engines={"e": None}), "engine 'e'", "not callable"),  # type: ignore[dict-item]
        (Plugin(name="p", stores={"cache": None}), "store 'cache'", "not callable"),  # type: ignore[dict-item]
        (Plugin(name="p", commands="nowhere:app"), "its commands load", "ModuleNotFoundError"),
        (Plugin(name="p", commands="json:dumps"), "its commands load", "no typer.Typer"),
        (Plugin(name="p", migrations=["CREATE TABLE x (y)"]), "its migrations apply", "changes more than"),
        (Plugin(name="p", pages={"a": fail}), "page 'a'", "ValueError"),
        (Plugin(name="p", pages={"a": lambda o, t: None}), "page 'a'", "gave None"),  # type: ignore[dict-item,return-value]
        (Plugin(name="p", scorers={"a": fail}), "scorer 'a'", "ValueError"),
        (Plugin(name="p", scorers={"a": lambda o, s: []}), "scorer 'a'", r"said \[\]"),  # type: ignore[dict-item,return-value]
    ],
)
async def test_the_check_catches(plugin: Any, check: str, problem: str) -> None:
    import re

    failed = [f for f in await check_plugin(plugin) if not f.passed]
    assert any(f.check.startswith(check) and re.search(problem, f.problem) for f in failed), failed
