"""Every code block of the documentation is run, parsed or looked up, so that no page shows what does not work."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import inspect
import io
import re
import shlex
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
import typer.main

from chainops.calls import NodeSettings
from chainops.cli import app
from chainops.settings import Settings, load_settings

from .pages import DOCS, LANGUAGES, ROOT, Block, Page, pages, parse

PAGES = pages()
TINY_MODEL = ROOT / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


def page_ids(found: list[Page]) -> list[str]:
    return [page.name for page in found]


def missing_for(block: Block) -> str:
    """Why this block cannot run here; empty when it can."""
    if "engines.embeddings" in block.text:
        from chainops.engines.embeddings.place import MODEL, default_place

        made = (default_place() / MODEL).is_file() and importlib.util.find_spec("onnxruntime") is not None
        return "" if made else "needs the embedder: make embedder"
    if not re.search(r"ChatLlama|tiny_model|\.gguf", block.text):
        return ""
    if importlib.util.find_spec("llama_cpp") is None:
        return "needs llama-cpp-python (the [llama] extra)"
    return "" if TINY_MODEL.is_file() else f"needs {TINY_MODEL.name}, which recipes/tiny_model makes"


def run_blocks(blocks: list[Block], where: str, name: str) -> None:
    """Run python blocks in order in one namespace; ``await`` is allowed outside functions."""
    module = types.ModuleType("docs_" + re.sub(r"\W", "_", name))
    sys.modules[module.__name__] = module  # where annotations of classes are looked up
    with asyncio.Runner() as runner:
        for block in blocks:
            if reason := missing_for(block):
                pytest.skip(f"line {block.line} {reason}; the blocks before it passed")
            source = "\n" * (block.line - 1) + block.text  # so that a traceback names the line of the page
            code = compile(source, where, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                result = eval(code, module.__dict__)
                if code.co_flags & inspect.CO_COROUTINE:
                    runner.run(result)
            shown, printed = block.output or "", out.getvalue()
            assert shown or not printed, (
                f"line {block.line} prints what the page does not show below `Output:`:\n{printed}"
            )
            assert same(shown, printed), f"line {block.line} prints something else than the page says:\n{printed}"


def same(shown: str, printed: str) -> bool:
    """Whether a text is what a page shows, in which ``…`` stands for anything within a line."""
    return re.fullmatch("[^\n]*".join(map(re.escape, shown.split("…"))), printed) is not None


WITH_PYTHON = [page for page in PAGES if any(b.language == "python" for b in page.blocks())]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=page_ids(WITH_PYTHON))
def test_every_python_block_of_a_page_runs(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHAINOPS_TRACE__PATH", raising=False)
    run_blocks([b for b in page.blocks() if b.language == "python"], str(page.path), page.name)


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_every_block_says_which_language_it_is_in(page: Page) -> None:
    for block in page.blocks():
        assert block.language in LANGUAGES, f"line {block.line}: ```{block.language} is none of {sorted(LANGUAGES)}"


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_every_toml_block_is_valid_settings_or_other_toml(page: Page, tmp_path: Path) -> None:
    for block in page.blocks():
        if block.language != "toml":
            continue
        tree = tomllib.loads(block.text)
        if Settings.model_fields.keys() & tree.keys():
            file = tmp_path / "chainops.toml"
            file.write_text(block.text, encoding="utf-8")
            for glob, value in load_settings(file, environ={}).nodes.items():
                assert isinstance(NodeSettings.parse(value, f"nodes[{glob!r}]"), NodeSettings)


def command_lines(block: Block) -> list[str]:
    """The calls of ``chainops`` in a block, without what a shell does with their output."""
    prompt = r"\$ " if block.language == "console" else ""
    lines = re.findall(rf"^{prompt}(?:\w+=\S+ )*chainops +(.*)$", block.text, re.MULTILINE)
    return [re.split(r" (?:[|>;]|&&|2>)", line)[0] for line in lines]


def check_command(line: str, *, whole: bool = True) -> None:
    """Parse a command line as the real one does, without running it. Raises what the real one would say.

    ``whole=False``: names and options only, as prose may leave arguments out, or write A|B, [A], <A> and ... for them.
    """
    words, command = shlex.split(line, comments=True), typer.main.get_command(app)
    context: Any = command.context_class(command, info_name="chainops")
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if not whole and re.search(r"[|<\[.A-Z]", name):
            break
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name!r} in: chainops {line}"
        context = command.context_class(command, info_name=name, parent=context)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("-") and option != "-" and not command.context_settings.get("ignore_unknown_options"):
            assert option in known | {"--help"}, f"there is no option {option} in: chainops {line}"
    at_once = {"--help", "--version", "--install-completion", "--show-completion"}
    if whole and not at_once & set(words):
        command.make_context(line, words)


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_every_command_that_a_page_shows_exists_with_its_options(page: Page) -> None:
    for block in page.blocks():
        if block.language in ("console", "sh"):
            for line in command_lines(block):
                check_command(line)


OF_PLUGINS = {file.parent.name for file in ROOT.glob("plugins/*/pyproject.toml")}
"""Commands that first-party plugins bring; their own tests run them."""


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_every_command_that_a_page_mentions_exists_with_its_options(page: Page) -> None:
    for line in page.mentioned(r"(?:\w+=\S+ )*chainops +([^`\n]*)"):
        if line.split()[0] not in OF_PLUGINS:
            check_command(re.split(r" (?:[|>;<]|&&|2>)", line)[0], whole=False)


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_every_link_of_a_page_leads_somewhere(page: Page) -> None:
    for link in page.links():
        if re.match(r"(https?|mailto):", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.path.parent / file).resolve() if file else page.path
        assert target.exists(), f"{link} leads nowhere"
        if page.path.is_relative_to(DOCS):
            assert target.is_relative_to(DOCS), f"{link} leaves the documentation, and is dead in the wheel"
        if anchor:
            assert anchor in Page(target).anchors(), f"{link}: {target.name} has no such heading"


def test_the_index_leads_to_every_page() -> None:
    index = Page(DOCS / "index.md")
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in index.links()}
    left = [p.name for p in PAGES if p.path.is_relative_to(DOCS) and p.path not in linked and p.path != index.path]
    assert left == []


# The checks themselves must be able to fail.


def test_a_block_that_is_never_closed_is_an_error() -> None:
    with pytest.raises(ValueError, match="never closed"):
        parse("```python\nx = 1\n")


def test_blocks_of_a_page_share_names_and_may_await() -> None:
    first = "```python\nimport asyncio\nx = 1\n```\n\n"
    text = first + "```python\nawait asyncio.sleep(0)\nprint(x)\n```\nOutput:\n```text\n1\n```\n"
    blocks = parse(text)
    assert [(b.language, b.output) for b in blocks] == [("python", None), ("python", "1\n")]
    run_blocks(blocks, "page.md", "page")
    with pytest.raises(AssertionError, match="line 7 prints something else"):
        run_blocks(parse(text.replace("text\n1", "text\n2")), "page.md", "page")


def test_a_block_that_prints_shows_it() -> None:
    silent = "```python\nprint(1)\n```\n"
    with pytest.raises(AssertionError, match="line 2 prints what the page does not show"):
        run_blocks(parse(silent), "page.md", "page")
    run_blocks(parse(silent + "Output:\n```text\n1\n```\n"), "page.md", "page")


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [("a … b\n", "a 17 ms b\n", True), ("a … b\n", "a\nb\n", False), ("1.5\n", "125\n", False), ("", "x\n", False)],
)
def test_three_dots_stand_for_anything_within_a_line(shown: str, printed: str, equal: bool) -> None:
    assert same(shown, printed) is equal


def test_a_block_that_needs_the_model_is_skipped_with_the_reason_only_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs, plain = Block("python", "ChatLlama()", 1), Block("python", "x = 1", 1)
    monkeypatch.setattr(f"{__name__}.TINY_MODEL", tmp_path / "away.gguf")
    assert "away.gguf" in missing_for(needs) or "llama-cpp-python" in missing_for(needs)
    assert missing_for(plain) == ""


def test_an_error_in_a_block_names_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_blocks(parse("# Title\n\n```python\nx = 1\nx / 0\n```\n"), "page.md", "page")
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == ("page.md", 5)


@pytest.mark.parametrize(
    ("line", "problem"),
    [("trace lst", "no command"), ("trace list --jsn", "no option"), ("trace search", "Missing parameter: query")],
)
def test_a_wrong_command_line_is_found(line: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        check_command(line)


def test_a_command_in_prose_may_leave_arguments_out_but_not_be_wrong() -> None:
    for line in ("prompt add", "route list|explain|calibrate", "<plugin> ...", "plugin new NAME", "trace show [RUN]"):
        check_command(line, whole=False)
    for line in ("rails abolish", "trace show RUN --png"):
        with pytest.raises(AssertionError, match="there is no"):
            check_command(line, whole=False)


def test_a_right_command_line_passes() -> None:
    for line in ("trace list --limit 5 --json", "demo --yes", "--version", "trace --help", "db backup copy.db"):
        check_command(line)
    block = Block("console", "$ A=1 chainops trace list | head\nchainops is quiet\n", 1)
    assert command_lines(block) == ["trace list"]
