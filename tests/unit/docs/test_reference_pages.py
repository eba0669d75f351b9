"""The reference pages that are made from the code are what the code says, and can tell when they are not."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from chainops.cli import reference
from chainops.cli.reference import FOLDER, PAGES, api, errors, layers, parts, spans, stale, write
from chainops.cli.reference import __main__ as command
from chainops.cli.reference.table import one_line, table

from .pages import pages


def test_no_page_is_stale() -> None:
    assert stale() == [], "run: make reference"


def test_no_page_is_there_that_nothing_makes() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.md")) == sorted(PAGES)


@pytest.fixture
def two_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for two pages that are quick to make."""
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    monkeypatch.setattr(reference, "PAGES", {name: PAGES[name] for name in ("schema.md", "span-attributes.md")})
    return tmp_path


def test_a_page_that_was_edited_or_is_missing_is_stale_until_it_is_written_again(two_pages: Path) -> None:
    assert sorted(write()) == ["schema.md", "span-attributes.md"]
    assert stale() == []
    (two_pages / "schema.md").write_text("edited")
    (two_pages / "span-attributes.md").unlink()
    assert sorted(stale()) == ["schema.md", "span-attributes.md"]
    assert sorted(write()) == ["schema.md", "span-attributes.md"]
    assert stale() == []


def test_check_is_a_command_with_an_exit_code(
    two_pages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["reference", "--check"])
    assert command.main() == 1
    assert "schema.md is stale: make reference" in capsys.readouterr().out
    write()
    assert (command.main(), capsys.readouterr().out) == (0, "")


def test_every_built_in_layer_has_its_class() -> None:
    from chainops.app.layers import BUILT_IN

    assert set(layers.built_in()) == set(BUILT_IN)


def test_an_error_is_told_with_what_is_put_in_left_open() -> None:
    rows = [row for row in errors.raised() if row[0] == "setup.order"]
    assert rows[0][1] == "SetupError"
    assert rows[0][2].startswith("Middleware … (position …) must come before …")
    assert rows[0][3] == "Move … above … in [pipeline].middleware."


def test_attributes_of_both_vocabularies_are_found() -> None:
    model = spans.exported()["model"]
    assert {"gen_ai.usage.input_tokens", "llm.token_count.prompt", "llm.input_messages.N.message.role"} <= set(model)
    assert {"stored", "key"} <= spans.annotated()["cache"]


def test_every_public_name_has_a_heading() -> None:
    for file, modules in (("api.md", api.MODULES), ("api-parts.md", parts.MODULES)):
        text = (FOLDER / file).read_text(encoding="utf-8")
        for module in modules:
            for name in import_module(module).__all__:
                assert f"\n### `{module}.{name}`\n" in text
        assert " at 0x" not in text
        assert re.findall(r"^### .*\n\n\n", text, re.MULTILINE) == [], "names that say nothing of themselves"


def test_what_the_documentation_imports_is_public() -> None:
    public = {name: set(import_module(name).__all__) for name in (*api.MODULES, *parts.MODULES)}
    for page in (page for page in pages() if not page.name.startswith("recipes/")):
        for block in (b for b in page.blocks() if b.language == "python"):
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and re.match(r"chainops\b", node.module or ""):
                    module = str(node.module)
                    left = {alias.name for alias in node.names} - public.get(module, set())
                    left = {name for name in left if f"{module}.{name}" not in public}
                    assert not left, f"{page.name}, line {block.line}: {module} {left}"


def test_cells_cannot_break_a_table() -> None:
    assert table(("a",), [("x | y\nz",)]) == "| a |\n|---|\n| x \\| y z |\n"
    assert one_line("First :class:`~chainops.App`\nline.\n\nSecond.") == "First `App` line."
