"""The reference pages name everything that there is, and nothing that there is not."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

import chainops
import chainops.testing
from chainops.calls import Call, ModelCall, ModelResult, NodeCall, RunContext, ToolCall
from chainops.cli import app
from chainops.settings import Settings

from .pages import DOCS, ROOT, Page

REFERENCE = DOCS / "reference"


def first_column(name: str) -> list[str]:
    """The code words in the first column of all tables of a reference page."""
    rows = re.findall(r"^\| *((?:`[^`]+`,? *)+)\|", (REFERENCE / name).read_text("utf-8"), re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("name", [*chainops.__all__, *chainops.testing.__all__])
def test_every_public_name_stands_in_a_reference_page(name: str) -> None:
    text = "\n".join(page.read_text("utf-8") for page in REFERENCE.glob("*.md"))
    assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", text)


def test_the_settings_page_has_every_setting_with_its_default_and_no_other() -> None:
    real = set()
    for section, field in Settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            real |= {f"{section}.{key}" for key in inner.model_fields}
        else:
            real.add(section)
    written = [key for key in first_column("settings.md") if not key.startswith("CHAINOPS_")]
    assert sorted(written) == sorted(real)


def test_the_settings_page_tells_the_real_defaults() -> None:
    text = (REFERENCE / "settings.md").read_text("utf-8")
    for section in ("pipeline", "trace"):
        model: Any = Settings.model_fields[section].annotation
        for key, field in model.model_fields.items():
            row = re.search(rf"^\| `{section}\.{key}` \|([^|]*)\|", text, re.MULTILINE)
            assert row is not None, key
            assert row[1].strip().strip("`") == as_toml(field.default), key


def as_toml(value: Any) -> str:
    """A default as the page writes it."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return f'"{value}"'


def test_the_page_on_installing_has_every_extra_and_no_other() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    table = (DOCS / "howto" / "install.md").read_text("utf-8").partition("## Extras")[2].partition("##")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == sorted(extras)
    (whole,) = extras["all"]
    named = set(re.findall(r"[\w-]+", whole.partition("[")[2]))
    assert named == set(extras) - {"all", "dev", "testing", "llama-prebuilt", "presidio"}


def commands() -> dict[str, Any]:
    """Every command that can be run, by its full name."""
    found: dict[str, Any] = {}

    def walk(name: str, command: Any, parent: Any) -> None:
        context = command.context_class(command, info_name=name, parent=parent)
        if not hasattr(command, "list_commands"):
            found[name] = command
            return
        found[name] = command
        for inner in command.list_commands(context):
            walk(f"{name} {inner}", command.get_command(context, inner), context)

    walk("chainops", typer.main.get_command(app), None)
    return found


COMMANDS = commands()


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not hasattr(c, "list_commands")])
def test_the_command_page_has_every_command_with_all_its_options_and_no_other(name: str) -> None:
    section = Page(REFERENCE / "cli.md").section(name)
    assert section is not None, f"reference/cli.md has no heading for {name}"
    options = {o for p in COMMANDS[name].params if p.param_type_name == "option" for o in (*p.opts, *p.secondary_opts)}
    first = " ".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE))
    written = set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", first))
    assert written == options - {"--help", "--install-completion", "--show-completion"}
    arguments = [p.name for p in COMMANDS[name].params if p.param_type_name == "argument"]
    assert all(f"`{argument.upper()}`" in section for argument in arguments), arguments


def test_the_command_page_has_no_command_that_is_gone() -> None:
    heads = re.findall(r"^## `?(chainops [a-z ]+?)`?$", (REFERENCE / "cli.md").read_text("utf-8"), re.MULTILINE)
    assert set(heads) <= COMMANDS.keys()


def codes() -> set[str]:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "chainops").rglob("*.py"))
    return set(re.findall(r"(?:\bcode=|\bdefault_code(?:: ClassVar\[str\])? = )\"([a-z_.]+)\"", source))


def test_the_error_page_has_every_code_and_no_other() -> None:
    found = codes()
    assert {"setup.order", "call.stream", "store.newer", "call.blocked"} <= found
    assert sorted(first_column("errors.md")) == sorted(found)


@pytest.mark.parametrize("call", [RunContext, Call, NodeCall, ModelCall, ToolCall, ModelResult])
def test_the_page_on_calls_has_every_public_field_and_property(call: type) -> None:
    section = Page(REFERENCE / "calls.md").section(call.__name__)
    assert section is not None
    names = {name for name in dir(call) if not name.startswith("_")}
    inherited = set(dir(Call)) if call is not Call and issubclass(call, Call) else set()
    for name in names - inherited:
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", section), name
