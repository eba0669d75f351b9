"""From a call to its key: what the answer depends on, and whether it may be cached at all."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from chainops.calls import Call, ModelCall, NodeCall, ToolCall
from chainops.identity import identity_of
from chainops.middleware.cache.policy import is_pure, why_not_model
from chainops.middleware.cache.rules import Rule, rule_of
from chainops.store.cache import Unfaithful
from chainops.store.cache.keys import canonical, configurable_of, digest_of, digest_text, messages_key

__all__ = ["Asked", "Asking", "NotCached"]


MAX_RULES = 10_000


class NotCached(Exception):
    """Why a call does not go through the cache. ``silent``: nobody asked for it."""

    def __init__(self, why: str, *, silent: bool = False) -> None:
        super().__init__(why)
        self.silent = silent


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that may be answered from the cache. ``user_in_key``: nobody else gets what is private to the user.
    ``thread_in_key``: no other thread gets it."""

    key: str
    parts: Mapping[str, Any] = field(repr=False)
    rule: Rule
    tags: tuple[str, ...]
    user_in_key: bool
    thread_in_key: bool = False


@dataclass(slots=True)
class Asking:
    """Makes keys. ``config``: JSON that all keys contain (which rails, which other layers work inside).

    ``versions``: globs on names of nodes, models, tools and retrievers, and what is said about them by hand.
    """

    default: Rule
    tenant_key: str
    user_key: str
    versions: Mapping[str, str]
    config: Mapping[str, Any]
    only_deterministic: bool
    stands_for: Callable[[Any], Sequence[Any]] | None = None
    _rules: dict[int, tuple[Any, Rule]] = field(default_factory=dict)
    _codes: dict[int, tuple[weakref.ref[Any], Any]] = field(default_factory=dict)
    _met: set[tuple[str, str]] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)

    def rule(self, call: Call) -> Rule:
        """What is set for the call's node."""
        settings = call.settings
        known = self._rules.get(id(settings))
        if known is None or known[0] is not settings:
            if len(self._rules) >= MAX_RULES:
                self._rules.clear()
            known = settings, rule_of(settings.metadata.get("cache"), self.default, call.path)
            self._rules[id(settings)] = known
        return known[1]

    async def node(self, call: NodeCall) -> Asked:
        """The key of a node or task. Raises ``NotCached``."""
        rule = self.rule(call)
        if not rule.node:
            raise NotCached("", silent=True)
        code = self._known_code(call.runnable) if not rule.version else rule.version
        if code is None:
            code = await self._code(call)
        parts = {"code": code, "input": canonical(call.input)}
        if given := configurable_of(call.config):
            parts["configurable"] = canonical(given)
        if call.context is not None:
            parts["context"] = canonical(call.context)
        return self._asked(call, rule, parts, (f"node:{call.path}",))

    async def model(self, call: ModelCall) -> Asked:
        """The key of a model call. Raises ``NotCached``."""
        rule = self.rule(call)
        if not rule.models:
            raise NotCached("", silent=True)
        behind = await self._behind(call)
        if self.only_deterministic and (why := next(filter(None, (why_not_model(call, m) for m in behind)), "")):
            raise NotCached(why)
        identity = await self._identity(behind[0], call.name, "model")
        if len(behind) > 1:
            identity = {"one of": [identity, *[await self._identity(m, call.name, "model") for m in behind[1:]]]}
        parts = {
            "messages": messages_key(call.messages),
            "model": identity,
            "stop": None if call.stop is None else list(call.stop),
            "tools": _option(call.params.get("tools")),
            "params": {k: _option(v) for k, v in call.params.items() if k != "tools" and v is not None},
        }
        if call.guard.marks is not None and (used := _prompts(call.guard.marks.tags)):
            parts["prompts"] = used
        own = identity.get("identity") if isinstance(identity, dict) else None
        sha = own.get("model_sha256") if isinstance(own, dict) else None
        return self._asked(call, rule, parts, (f"model:{call.name}", *([f"model:{sha}"] if sha else ())))

    async def _behind(self, call: ModelCall) -> Sequence[Any]:
        """The models that may answer: of a name, those that it stands for."""
        if self.stands_for is None:
            return (call.model,)
        try:
            if call.name in self._names:
                return self.stands_for(call.model) or (call.model,)
            found = await asyncio.to_thread(self.stands_for, call.model)  # the first time, models are made
        except Exception as error:  # noqa: BLE001 - code of others is asked; a cache never breaks a call
            raise NotCached(f"what the model is cannot be told: {error}") from None
        self._names.add(call.name)
        return found or (call.model,)

    async def tool(self, call: ToolCall) -> Asked:
        """The key of a tool or retriever call. Raises ``NotCached``."""
        rule = self.rule(call)
        if call.kind == "tool" and not is_pure(call, rule.tools):
            raise NotCached("the tool is not said to be free of side effects", silent=True)
        if call.kind == "retriever" and not rule.models:
            raise NotCached("", silent=True)
        parts = {"args": canonical(call.args), call.kind: await self._identity(call.tool, call.name, call.kind)}
        return self._asked(call, rule, parts, (f"{call.kind}:{call.name}",))

    def _asked(self, call: Call, rule: Rule, parts: dict[str, Any], tags: tuple[str, ...]) -> Asked:
        marks, metadata = call.guard.marks, call.run.metadata
        tenant, user = metadata.get(self.tenant_key), metadata.get(self.user_key)
        scope, user_in_key = rule.scope, False
        if marks is not None:
            if marks.private and scope == "tenant":
                scope = "user"
            if marks.depends:
                parts["depends"] = canonical(marks.depends)
        if scope != "tenant":
            if user is None and (scope == "user" or (marks is not None and marks.private)):
                raise NotCached(f"it is for one user, and the run's metadata has no {self.user_key!r}")
            if scope == "thread" and call.run.thread_id is None:
                raise NotCached("it is for one thread, and the run has none")
            parts["user"], user_in_key = canonical(user), user is not None
            if scope == "thread":
                parts["thread"] = call.run.thread_id
        parts["kind"], parts["graph"], parts["node"] = call.kind, call.run.graph, call.path
        parts["tenant"], parts["scope"] = tenant if type(tenant) is str else canonical(tenant), scope
        if self.config:
            parts["config"] = self.config
        all_tags = (f"graph:{call.run.graph}", *tags, *rule.tags)
        if tenant is not None:
            all_tags = (*all_tags, f"tenant:{tenant}")
        return Asked(digest_of(parts), parts, rule, all_tags, user_in_key, scope == "thread")

    def _known_code(self, runnable: Any) -> str | None:
        known = self._codes.get(id(runnable))
        if known is None or known[0]() is not runnable:
            return None
        if isinstance(known[1], NotCached):
            raise known[1]
        return known[1]  # type: ignore[no-any-return]

    async def _code(self, call: NodeCall) -> str:
        """What the node's code is, looked at once per process and node: it takes milliseconds."""
        if declared := self._declared(call.path):
            return declared
        if call.runnable is None:
            raise NotCached("what the node runs is not known")
        code: Any
        try:
            identity = await asyncio.to_thread(identity_of, call.runnable)
            code = digest_text(identity)
            if not identity["stable"]:
                code = NotCached(_unstable("node", call.path, identity))
        except Exception as error:  # noqa: BLE001 - code of others is asked; a cache never breaks a call
            code = NotCached(f"what the node is cannot be told: {error}")
        key = id(call.runnable)
        with suppress(TypeError):  # what cannot be referred to weakly is looked at each time
            self._codes[key] = weakref.ref(call.runnable, lambda _: self._codes.pop(key, None)), code
        if isinstance(code, NotCached):
            raise code
        return code  # type: ignore[no-any-return]

    async def _identity(self, obj: Any, name: str, kind: str) -> Any:
        """What a model, tool or retriever is now; its fields may change between two calls."""
        if declared := self._declared(name):
            return {"kind": "declared", "name": name, "version": declared}
        file = (type(obj).__qualname__, str(getattr(obj, "model_path", name)))
        try:
            if file in self._met:
                identity = identity_of(obj)
            else:  # the first time, a model file is hashed
                identity = await asyncio.to_thread(identity_of, obj)
                self._met.add(file)
        except Exception as error:  # noqa: BLE001 - code of others is asked; a cache never breaks a call
            raise NotCached(f"what the {kind} is cannot be told: {error}") from None
        if not identity["stable"]:
            raise NotCached(_unstable(kind, name, identity))
        return identity

    def _declared(self, name: str) -> str:
        return next((version for glob, version in self.versions.items() if fnmatchcase(name, glob)), "")


def _option(value: Any) -> Any:
    """A keyword of a model call; of a class or function (the form of an answer, a tool), what it is.

    Raises ``Unfaithful`` where that cannot be told.
    """
    try:
        return canonical(value)
    except Unfaithful:
        identity = identity_of(value)
        if not identity["stable"]:
            raise
        return {"$": "identity", "v": identity}


def _prompts(tags: set[str]) -> list[str]:
    """The versions of prompts that were put into this very call."""
    return sorted(tag for tag in tags if tag.startswith("prompt:") and "@" in tag)


def _unstable(kind: str, name: str, identity: Mapping[str, Any]) -> str:
    places = "; ".join(identity["unstable"][:3])
    return f"what the {kind} {name!r} is cannot be told across processes: {places}. Give it a version by hand"
