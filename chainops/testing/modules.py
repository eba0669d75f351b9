"""An application's own module, for tests that stand beside it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["app_module"]


def app_module(beside: str | Path, name: str = "app.py") -> ModuleType:
    """The module ``name`` in the folder of the file ``beside`` (a test's ``__file__``), loaded once.

    Several applications can be loaded in one process: each is registered under a name of its own.
    """
    file = (Path(beside).resolve().parent / name).resolve()
    own = f"{file.stem}_of_{file.parent.name}"
    known = sys.modules.get(own)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    spec = importlib.util.spec_from_file_location(own, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module
