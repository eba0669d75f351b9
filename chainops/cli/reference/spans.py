"""Every attribute of a span: what layers annotate, and what exports call it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from chainops.cli.reference.table import head, table

__all__ = ["annotated", "exported", "page"]

MIDDLEWARE = Path(__file__).resolve().parents[2] / "middleware"


def page() -> str:
    """Annotations by layer, then the exported names by kind of span."""
    about = (
        "What stands in the column `attributes` of a span, by layer, and what `chainops trace export` calls the parts "
        "of a span. The columns themselves: [The trace file](../trace-file.md)."
    )
    rows = [
        (f"`{layer}`", ", ".join(f"`{key}`" for key in sorted(keys)) or "(made at run time)")
        for layer, keys in annotated().items()
    ]
    by_name: dict[str, list[str]] = {}
    for kind, names in exported().items():
        for name in names:
            by_name.setdefault(name, []).append(kind)
    named = [(f"`{name}`", ", ".join(kinds)) for name, kinds in sorted(by_name.items())]
    return (
        head("All span attributes", about)
        + f"\n## Annotations of layers\n\n{table(('layer', 'keys'), rows)}"
        + "\n## Exported attributes\n\nOpenTelemetry's GenAI conventions and OpenInference side by side; `N` stands for"
        + " a number. Annotations are exported as `chainops.<layer>`.\n\n"
        + f"{table(('attribute', 'spans of kind'), named)}"
    )


def annotated() -> dict[str, set[str]]:
    """Keys by layer, as far as the code of the layers names them."""
    found: dict[str, set[str]] = {}
    for folder in sorted(path for path in MIDDLEWARE.iterdir() if path.is_dir() and not path.name.startswith("_")):
        for file in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "annotate":
                    keys = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                    found.setdefault(folder.name, set()).update(keys)
    return found


def exported() -> dict[str, list[str]]:
    """Names that a span of each kind is exported with, from spans that have everything."""
    from chainops.store.genai import attributes_of

    return {kind: sorted({_general(name) for name in attributes_of(_run(), _span(kind))}) for kind in _KINDS}


_KINDS = ("run", "node", "route", "task", "model", "tool", "retriever")
_MESSAGE = '{"type": "ai", "content": "x", "tool_calls": [{"name": "t", "args": {}, "id": "1"}]}'


def _run() -> Any:
    from chainops.store.reader import RunRow

    return RunRow(
        id=1, run_id="r", process=1, graph="g", thread="t", status="ok", start_ns=0, end_ns=1, spans=1, errors=0,
        model_calls=1, tool_calls=1, tokens_in=1, tokens_out=1, tokens_cached=1, first_error=None, tags='["a"]',
        meta='{"user": "u"}',
    )  # fmt: skip


def _span(kind: str) -> Any:
    from chainops.store.reader import SpanRow

    own = (
        '{"request": {"temperature": 0, "max_tokens": 1, "top_p": 1, "top_k": 1, "seed": 1, "frequency_penalty": 0,'
        ' "presence_penalty": 0, "stop": ["x"]}, "streaming": true, "finish_reason": "stop", "provider": "p",'
        ' "tool_call_id": "c"}'
    )
    given = f"[{_MESSAGE}]" if kind == "model" else '{"a": 1}'
    return SpanRow(
        id=1, run=1, parent=None, kind=kind, name="n", path="a/b", attempt=1, start_ns=0, end_ns=1, status="error",
        error_type="E", error_message="m", error_hint="h", input=given, input_bytes=9999, output=_MESSAGE,
        output_bytes=9999, model="m", tokens_in=1, tokens_out=1, tokens_cached=1, first_token_ns=1, attributes=own,
        artifacts='[{"kind": "prompt"}]',
    )  # fmt: skip


def _general(name: str) -> str:
    return ".".join("N" if part.isdigit() else part for part in name.split("."))
