"""What is set for a node: whether it is cached itself, for how long, and who shares the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from chainops.errors import SetupError

__all__ = ["Rule", "Scope", "rule_of"]

Scope = Literal["tenant", "user", "thread"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How the calls of one node are cached.

    Args:
        models: its model calls are.
        node: the node itself is, as a whole.
        ttl_s: seconds an answer is served; None: until it is invalidated or pushed out.
        stale_s: seconds after that in which it is still served while one caller makes a new one.
        scope: who shares answers: all of a tenant, one user, or one thread.
        version: what the node is, said by hand; its code is not looked at then.
        tags: more tags for its entries.
        tools: globs on the names of tools without side effects.
    """

    models: bool = True
    node: bool = False
    ttl_s: float | None = None
    stale_s: float = 0.0
    scope: Scope = "tenant"
    version: str = ""
    tags: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


def rule_of(setting: Any, default: Rule, where: str) -> Rule:
    """``default``, changed by the setting ``cache`` of a node: true, false, or a table.

    Raises:
        SetupError: code ``setup.node``.
    """
    if setting is None:
        return default
    if isinstance(setting, bool):
        return replace(default, node=setting, models=setting, tools=default.tools if setting else ())
    if not isinstance(setting, Mapping):
        raise _wrong(where, f"is {setting!r}")
    known = {field.name for field in fields(Rule)}
    if unknown := sorted(set(setting) - known):
        raise _wrong(where, f"has {', '.join(map(repr, unknown))} (known: {', '.join(sorted(known))})")
    checked = {name: _checked(name, value, where) for name, value in setting.items()}
    return replace(default, **checked)


def _checked(name: str, value: Any, where: str) -> Any:
    if name in ("models", "node"):
        good = isinstance(value, bool)
    elif name in ("ttl_s", "stale_s"):
        good = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    elif name == "scope":
        good = value in ("tenant", "user", "thread")
    elif name == "version":
        good = isinstance(value, str) and bool(value)
    else:
        good = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        value = tuple(value) if good else value
    if not good:
        raise _wrong(where, f"has {name} = {value!r}")
    return value


def _wrong(where: str, what: str) -> SetupError:
    return SetupError(
        f"The setting 'cache' of {where!r} {what}",
        hint='Write "cache": true, false, or a table such as {"node": true, "ttl_s": 60, "scope": "user"}.',
        code="setup.node",
    )
