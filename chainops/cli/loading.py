"""The application that a command works with: a graph, by its folder or its place in code."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from chainops.errors import ChainopsError, SetupError

__all__ = ["load_graph"]

NAMES = ("app", "graph")
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def load_graph(spec: str) -> Any:
    """The instrumented graph that ``FOLDER``, ``FOLDER:NAME``, ``FILE.py:NAME`` or ``MODULE:NAME`` means.

    In a folder it is looked for in ``app.py``, under ``app`` and ``graph``. A function is called; one that needs an
    argument gets what the function ``model`` beside it returns. A graph that is not instrumented gets the pipeline of
    the ``chainops.toml`` beside it.

    Raises:
        SetupError: it cannot be loaded, or is no graph (``setup.app``).
    """
    place, _, name = spec.partition(":")
    path = Path(place)
    file = path / "app.py" if path.is_dir() else path
    try:
        module = _from_file(file) if file.is_file() else _from_name(place)
        found = _find(module, name)
        graph = _made(found, module) if callable(found) and not hasattr(found, "nodes") else found
    except ChainopsError:
        raise
    except Exception as error:
        raise _wrong(spec, f"does not load: {type(error).__name__}: {error}") from error
    if not hasattr(graph, "nodes"):
        raise _wrong(spec, f"is a {type(graph).__name__}, not a compiled graph")
    if hasattr(graph, "chainops_chain"):
        return graph
    settings = file.parent / "chainops.toml"
    if not settings.is_file():
        raise _wrong(spec, f"is not instrumented, and there is no {settings}")
    from chainops.app import App

    return App(settings).instrument(graph)


def _from_file(file: Path) -> Any:
    name = file.stem  # as a program that imports it would name it: the name is part of what its code is
    known = getattr(sys.modules.get(name), "__file__", None)
    if name in sys.modules and known != str(file.resolve()):
        name = f"{name}_{abs(hash(str(file.resolve())))}"
    made = importlib.util.spec_from_file_location(name, file.resolve())
    if made is None or made.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(made)
    sys.modules[name] = module
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    made.loader.exec_module(module)
    return module


def _from_name(name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")
    return import_module(name)


def _made(function: Any, module: Any) -> Any:
    parameters = inspect.signature(function).parameters.values()
    needed = [each for each in parameters if each.default is each.empty and each.kind in POSITIONAL]
    if len(needed) == 1 and callable(model := getattr(module, "model", None)):
        return function(model())
    return function()


def _find(module: Any, name: str) -> Any:
    from chainops.app import App

    for wanted in [name] if name else NAMES:
        if not isinstance(found := getattr(module, wanted, None), App | None):
            return found
    raise AttributeError(f"there is no {name or ' and no '.join(NAMES)} in it")


def _wrong(spec: str, problem: str) -> SetupError:
    return SetupError(
        f"{spec!r} {problem}",
        hint="Give a folder with an app.py that has `app` or `graph`, or module:name of an instrumented graph.",
        code="setup.app",
    )
