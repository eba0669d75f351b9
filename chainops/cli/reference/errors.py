"""Every error with its code: what it says, and what to do, as the code that raises it writes it."""

from __future__ import annotations

import ast
from pathlib import Path

from chainops.cli.reference.table import head, table

__all__ = ["page", "raised"]

PACKAGE = Path(__file__).resolve().parents[2]
SHARED = "…"


def page() -> str:
    """Codes in alphabetical order; a code that is raised in several places has a row for each text."""
    about = (
        "What each code says, `…` in place of values, and its hint. In words, with what to do: [Errors](../errors.md)."
    )
    rows = sorted({(f"`{code}`", kind, text, hint) for code, kind, text, hint in raised()})
    return head("All errors", about) + "\n" + table(("code", "type", "message", "hint"), rows)


def raised() -> list[tuple[str, str, str, str]]:
    """(code, type, message, hint) of every place in the package that names a code."""
    found: list[tuple[str, str, str, str]] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if "reference" in file.relative_to(PACKAGE).parts:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found += _call(node)
            elif isinstance(node, ast.ClassDef):
                found += _class(node)
    return found


def _call(node: ast.Call) -> list[tuple[str, str, str, str]]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    code = given.get("code")
    if not isinstance(code, ast.Constant) or not isinstance(code.value, str):
        return []
    kind = ast.unparse(node.func).rpartition(".")[2]
    message = _text(node.args[0]) if node.args else SHARED
    return [(code.value, kind if kind[:1].isupper() else "", message, _text(given["hint"]) if "hint" in given else "")]


def _class(node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    found = []
    for item in node.body:
        if isinstance(item, ast.AnnAssign):
            target: ast.expr = item.target
        elif isinstance(item, ast.Assign):
            target = item.targets[0]
        else:
            continue
        if isinstance(target, ast.Name) and target.id == "default_code" and isinstance(item.value, ast.Constant):
            about = (ast.get_docstring(node) or "").split("\n")[0].replace("``", "`")
            found.append((str(item.value.value), node.name, about, ""))
    return found


def _text(node: ast.expr) -> str:
    """A text as it is written, with ``…`` for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value) if isinstance(node.value, str) else SHARED
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else SHARED for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body)} / {_text(node.orelse)}".strip(" /")
    if isinstance(node, ast.BoolOp):
        return " / ".join(_text(value) for value in node.values)
    return SHARED
