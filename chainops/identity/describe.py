"""``identity_of``: from an object to the JSON that says what it is."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import math
import re
import sys
import weakref
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from chainops.identity.code import code_digest, digest, is_foreign, module_name, read_globals

__all__ = ["identity_of"]

MAX_OBJECTS = 5000
_SECRET = re.compile(
    r"(?i)(?:^|[_-])(?:api[_-]?key|secrets?|(?:secret|private|access|auth)[_-]?key|password|passwd|passphrase|pwd|"
    r"(?:access|api|auth|bearer|bot|hf|id|refresh|session)[_-]?token|auth|authorization|bearer|credentials?|cookie|"
    r"dsn)$|^token$"
)
_USER_OF_URL = re.compile(r"(?<=://)[^/@\s]*@")
_BOOKKEEPING = frozenset(
    {"callbacks", "callback_manager", "verbose", "tags", "metadata", "cache", "rate_limiter", "custom_get_token_ids"}
)
"""Fields of LangChain objects that change what is watched or paced, never what comes out."""
_HARMLESS = frozenset({"logging", "_thread", "threading", "asyncio.locks", "typing", "types"})
"""Modules whose objects do not decide what a function returns."""


def identity_of(obj: Any) -> dict[str, Any]:
    """What ``obj`` is, as JSON that is equal in every process for equal objects. Secrets are left out.

    An object may speak for itself through ``chainops_identity``: a value, or a method without arguments that returns
    one. Else: of a function, its name, a hash of its bytecode, its defaults, what it closes over, and the globals
    of its own package that it reads. Of a LangChain object, its class and its fields. Of other dataclasses and
    Pydantic models, the same.

    Returns:
        A dict with ``stable``. Where that is False, ``unstable`` lists the places of the objects that nothing is
        known about, and the identity must not name anything that outlives the process.
    """
    reader = _Reader()
    found = reader.read(obj, "")
    found = found if isinstance(found, dict) and "kind" in found else {"kind": "value", "value": found}
    return {**found, "stable": not reader.unstable, **({"unstable": reader.unstable} if reader.unstable else {})}


class _Reader:
    """One walk through an object and what hangs on it."""

    def __init__(self) -> None:
        self.unstable: list[str] = []
        self.open: dict[int, str] = {}
        self.done: dict[int, tuple[Any, Any]] = {}
        self.count = 0

    def read(self, obj: Any, place: str) -> Any:
        """JSON for ``obj``: itself where it is JSON, else a dict with ``kind``."""
        if obj is None or type(obj) in (bool, int):
            return obj
        if type(obj) is float:
            return obj if math.isfinite(obj) else {"kind": "float", "value": repr(obj)}
        if type(obj) is str:
            return _USER_OF_URL.sub("", obj)
        self.count += 1
        if id(obj) in self.open:
            return {"kind": "same", "as": self.open[id(obj)]}
        if self.count > MAX_OBJECTS:
            return self._unknown(obj, place, why="too much hangs on it")
        if id(obj) in self.done:
            return self.done[id(obj)][1]
        self.open[id(obj)] = place
        try:
            found = self._object(obj, place)
        finally:
            del self.open[id(obj)]
        self.done[id(obj)] = obj, found  # the object is kept: another one must not get its id meanwhile
        return found

    def _object(self, obj: Any, place: str) -> Any:
        if not isinstance(obj, type) and _speaks(obj):
            own = obj.chainops_identity
            return {"kind": "own", "class": _path(type(obj)), "identity": self.read(_called(own), f"{place}()")}
        if isinstance(obj, Mapping):
            return self._mapping(obj, place)
        if isinstance(obj, list | tuple):
            return [self.read(item, f"{place}[{i}]") for i, item in enumerate(obj)]
        if isinstance(obj, set | frozenset):
            return {"kind": "set", "items": sorted((self.read(item, f"{place}{{}}") for item in obj), key=repr)}
        if isinstance(obj, bytes | bytearray):
            return {"kind": "bytes", "digest": digest(bytes(obj))}
        if isinstance(obj, enum.Enum):
            return {"kind": "enum", "class": _path(type(obj)), "name": obj.name}
        if isinstance(obj, PurePath | re.Pattern | complex):
            return {"kind": "value", "class": _path(type(obj)), "value": str(obj)}
        if isinstance(obj, BaseException):
            return {"kind": "error", "class": _path(type(obj)), "args": self.read(list(obj.args), f"{place}.args")}
        return self._code(obj, place) or self._record(obj, place) or self._unknown(obj, place)

    def _mapping(self, obj: Mapping[Any, Any], place: str) -> Any:
        if all(type(key) is str for key in obj):
            return {
                k: self.read(v, f"{place}.{k}" if place else k) for k, v in sorted(obj.items()) if not _SECRET.search(k)
            }
        pairs = [[self.read(k, f"{place}<key>"), self.read(v, f"{place}[{k!r}]")] for k, v in obj.items()]
        return {"kind": "mapping", "items": sorted(pairs, key=repr)}

    def _code(self, obj: Any, place: str) -> dict[str, Any] | None:
        """Functions, methods, partials, classes and modules."""
        if inspect.ismodule(obj):
            return {"kind": "module", "name": obj.__name__, "version": _version(obj.__name__)}
        if isinstance(obj, type):
            return self._class(obj, place)
        if isinstance(obj, functools.partial):
            parts = {name: self.read(getattr(obj, name), f"{place}.{name}") for name in ("func", "args", "keywords")}
            return {"kind": "partial", **parts}
        if inspect.ismethod(obj):
            bound = self.read(obj.__self__, f"{place}.__self__")
            return {"kind": "method", "of": bound, "function": self.read(obj.__func__, place)}
        if inspect.isfunction(obj):
            return self._function(obj, place)
        if inspect.isbuiltin(obj) or inspect.ismethoddescriptor(obj):
            bound = getattr(obj, "__self__", None)
            known = {"kind": "builtin", "name": f"{obj.__module__}.{obj.__qualname__}"}
            return known if bound is None or inspect.ismodule(bound) else {**known, "of": self.read(bound, place)}
        wrapped = getattr(obj, "__wrapped__", None)
        return None if wrapped is None else {"kind": "wrapped", "function": self.read(wrapped, place)}

    def _function(self, function: Any, place: str) -> dict[str, Any]:
        name = f"{module_name(function.__module__)}.{function.__qualname__}"
        if is_foreign(function.__module__) and "<locals>" not in function.__qualname__:
            return {"kind": "function", "name": name, "version": _version(function.__module__)}
        closure = inspect.getclosurevars(function) if function.__closure__ else None
        found: dict[str, Any] = {"kind": "function", "name": name, "code": code_digest(function.__code__)}
        parts = {
            "defaults": {"args": function.__defaults__, "keywords": function.__kwdefaults__},
            "closure": closure.nonlocals if closure else {},
            "globals": {} if is_foreign(function.__module__) else read_globals(function),
        }
        for part, values in parts.items():
            inner = {key: value for key, value in values.items() if value is not None}
            if inner:
                found[part] = self._hidden(inner, f"{place}.{part}" if place else part)
        return found

    def _hidden(self, values: Mapping[str, Any], place: str) -> dict[str, Any]:
        """As a mapping, with plain values hashed: a text in a variable may be anything."""
        read = self._mapping(values, place)
        return {k: v if isinstance(v, dict) and "kind" in v else {"digest": digest(v)} for k, v in read.items()}

    def _class(self, cls: type, place: str) -> dict[str, Any]:
        if is_foreign(cls.__module__):
            found = {"kind": "class", "name": _path(cls), "version": _version(cls.__module__)}
            if getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls:
                return found
            return {**found, "schema": _schema(cls), "members": self._members(cls, place)}  # made while running
        bases = [self.read(base, place) for base in cls.__bases__ if base is not object]
        parts = {"bases": bases, "schema": _schema(cls), "members": self._members(cls, place)}
        return {"kind": "class", "name": _path(cls), **parts}

    def _members(self, cls: type, place: str) -> dict[str, Any]:
        """The methods and plain values that a class defines itself."""
        found = {}
        for name, member in sorted(vars(cls).items()):
            inner = member.__func__ if isinstance(member, staticmethod | classmethod) else member
            inner = inner.fget if isinstance(inner, property) else inner
            if inspect.isfunction(inner) and ("<locals>" in inner.__qualname__ or not is_foreign(inner.__module__)):
                found[name] = self._function(inner, f"{place}.{name}")
            elif not name.startswith("__") and isinstance(inner, str | int | float) and not _SECRET.search(name):
                found[name] = {"digest": digest(self.read(inner, name))}
        return found

    def _record(self, obj: Any, place: str) -> dict[str, Any] | None:
        """Pydantic models (LangChain's objects among them), dataclasses, and LangChain's runnables that are neither."""
        if type(obj).__name__ in ("SecretStr", "SecretBytes"):
            return {"kind": "secret"}
        fields = _fields(obj)
        if fields is None:
            return None
        read = self._mapping(fields, place)
        found = {"kind": "object", "class": self._class(type(obj), place), "fields": read}
        params = getattr(obj, "_identifying_params", None)
        if isinstance(params, Mapping):
            found["params"] = self._mapping(_without_secrets(obj, params), f"{place}.params")
        return found

    def _unknown(self, obj: Any, place: str, why: str = "nothing is known about it") -> dict[str, Any]:
        if type(obj).__module__.partition(".")[0] in _HARMLESS or type(obj).__module__ in _HARMLESS:
            return {"kind": "harmless", "class": _path(type(obj))}
        self.unstable.append(f"{place or 'the object'}: {_path(type(obj))} ({why})")
        return {"kind": "unknown", "class": _path(type(obj))}


def _fields(obj: Any) -> dict[str, Any] | None:
    """What an object is made of, by name; None where that cannot be known."""
    if dataclasses.is_dataclass(obj):
        return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}
    described = getattr(type(obj), "model_fields", None)
    if isinstance(described, Mapping):
        extra = getattr(obj, "__pydantic_extra__", None) or {}
        values = {n: getattr(obj, n) for n, f in described.items() if not f.exclude and n not in _BOOKKEEPING}
        return _without_secrets(obj, {**values, **extra})
    if type(obj).__module__.startswith(("langgraph._internal.", "langchain_core.runnables.")):
        return {n: v for n, v in vars(obj).items() if n not in _BOOKKEEPING and not n.startswith("_")}
    return None


def _without_secrets(obj: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    names = getattr(obj, "lc_secrets", None)
    secret = names.keys() if isinstance(names, Mapping) else ()
    return {k: v for k, v in values.items() if k not in secret}


def _speaks(obj: Any) -> bool:
    """Whether it has the attribute, not asking ``__getattr__``: some objects say yes to every name."""
    name = "chainops_identity"
    return name in (getattr(obj, "__dict__", None) or ()) or any(name in vars(cls) for cls in type(obj).__mro__)


def _called(own: Any) -> Any:
    return own() if callable(own) else own


_schemas: weakref.WeakKeyDictionary[type, str | None] = weakref.WeakKeyDictionary()


def _schema(cls: type) -> str | None:
    """What a class of arguments accepts, where that can be said as a JSON schema. Takes milliseconds the first time."""
    if cls not in _schemas:
        schema = getattr(cls, "model_json_schema", None)
        try:
            _schemas[cls] = None if schema is None else digest(schema())
        except Exception:  # noqa: BLE001 - Pydantic has errors of its own for each thing that has no schema
            _schemas[cls] = None
    return _schemas[cls]


def _path(cls: type) -> str:
    return f"{module_name(cls.__module__)}.{cls.__qualname__}"


def _version(module: str) -> str | None:
    found = getattr(sys.modules.get(module.partition(".")[0]), "__version__", None)
    return found if isinstance(found, str) else None
