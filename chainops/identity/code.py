"""What the bytecode of a function says, and which globals of its own package it reads."""

from __future__ import annotations

import builtins
import dis
import hashlib
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["code_digest", "digest", "is_foreign", "module_name", "read_globals"]


def digest(value: Any) -> str:
    """16 hexadecimal digits for bytes, or for JSON (keys in any order)."""
    if not isinstance(value, bytes):
        import json

        value = json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(value, digest_size=8).hexdigest()


def code_digest(code: CodeType) -> str:
    """A hash of the bytecode and all constants in it, of inner functions too; lines and file names do not count."""
    return digest(repr(_parts(code)).encode("utf-8", "surrogatepass"))


def _parts(code: CodeType) -> tuple[Any, ...]:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    version = sys.version_info[:2]  # bytecode means something else in another Python
    return version, code.co_code, names, shape, code.co_exceptiontable, tuple(map(_constant, code.co_consts))


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return value.co_name, _parts(value)
    if isinstance(value, frozenset):
        return "frozenset", sorted(map(repr, value))
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    return type(value).__name__, repr(value)


def read_globals(function: Any) -> dict[str, Any]:
    """The globals that the function and the functions in it read, by name; builtins are left out."""
    names = _global_names(function.__code__)
    known = function.__globals__
    return {name: known[name] for name in sorted(names) if name in known and not hasattr(builtins, name)}


def _global_names(code: CodeType) -> set[str]:
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names


def module_name(module: str | None) -> str:
    """The name of a module; of a file that was started as a program the name under which it would be imported."""
    if module != "__main__":
        return module or ""
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    return Path(file).stem if file else module


@cache
def is_foreign(module: str | None) -> bool:
    """True for code of the standard library and of installed packages: its version says what it is."""
    name = (module or "").partition(".")[0]
    if name in sys.stdlib_module_names and name != "__main__":
        return True
    if name == "chainops":
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file is None:
        return name in sys.builtin_module_names
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return any(Path(file).is_relative_to(path) for path in paths if path)
