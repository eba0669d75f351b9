"""The one place that imports llama-cpp-python: its ctypes layer, prepared and silenced."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chainops.errors import MissingExtra, SetupError

__all__ = [
    "GPU_KINDS",
    "Device",
    "devices",
    "library",
    "library_id",
    "library_log",
    "library_version",
    "schema_grammar",
]

WARN, ERROR = 3, 4

_load_lock = threading.RLock()


@cache
def library() -> Any:
    """llama-cpp-python's ctypes module, imported at the first call and silenced.

    Raises:
        MissingExtra: it is not installed.
        SetupError: code ``setup.llama_library``: it is installed, but its shared library cannot be loaded.
    """
    # Without the first, ggml starts a debugger when it aborts. The second keeps OpenMP's threads from spinning
    # at barriers, which costs a factor of ten as soon as another process wants the core.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    try:
        from llama_cpp import llama_cpp as lib
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "llama_cpp":
            raise
        raise MissingExtra("llama", package="llama-cpp-python", needed_for="A local llama.cpp model") from None
    except (OSError, RuntimeError) as error:
        raise SetupError(
            f"llama-cpp-python is installed, but its shared library cannot be loaded: {error}",
            hint="Build it again on this machine, see the local-model page of the documentation.",
            code="setup.llama_library",
        ) from error
    lib.llama_log_set(library_log(lib).silence, None)
    _load_kernels(lib)
    lib.llama_backend_init()
    return lib


def _load_kernels(lib: Any) -> None:
    """Where the library comes with kernels for several processors, load the best for this one.

    By itself llama.cpp would look for them beside the program, and in the working directory, where anybody can put one.
    """
    folder = Path(lib._base_path)
    if any(folder.glob("libggml-cpu-*.so")):
        load = lib._lib.ggml_backend_load_all_from_path
        load.argtypes, load.restype = [ctypes.c_char_p], None
        load(str(folder).encode())


@cache
def library_version() -> str | None:
    """Version of the installed package, without loading it. Answers may differ between versions in the last digit."""
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:
        return None


def library_id() -> str:
    """Version and instruction sets of the loaded library: a probe's verdict is valid for exactly this."""
    lib = library()
    return f"{lib.llama_version().decode()} {lib.llama_print_system_info().decode()}"


GPU_KINDS = (1, 2)
"""``ggml_backend_dev_type`` of a GPU with memory of its own, and of one that shares the machine's."""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that the loaded library can compute on; sizes are bytes."""

    name: str
    kind: int
    free: int
    total: int


def devices() -> list[Device]:
    """The devices of the loaded library; empty where it does not offer the functions that tell."""
    handle = library()._lib  # its dependencies are searched as well
    try:
        count, get = handle.ggml_backend_dev_count, handle.ggml_backend_dev_get
        name, kind, memory = (getattr(handle, f"ggml_backend_dev_{what}") for what in ("name", "type", "memory"))
    except AttributeError:
        return []
    count.restype, get.restype, name.restype = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p
    get.argtypes, name.argtypes, kind.argtypes = [ctypes.c_size_t], [ctypes.c_void_p], [ctypes.c_void_p]
    memory.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t)]
    memory.restype = None
    found = []
    for number in range(count()):
        device, free, total = get(number), ctypes.c_size_t(), ctypes.c_size_t()
        memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append(Device((name(device) or b"").decode(errors="replace"), kind(device), free.value, total.value))
    return found


def schema_grammar(schema: str) -> str:
    """GBNF for the JSON values that match a JSON schema (given as JSON text); references to files are refused."""
    library()
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    # Its strings may hold raw line breaks and other control characters, which JSON forbids.
    return str(json_schema_to_gbnf(schema)).replace('[^"\\\\]', '[^"\\\\\\x7F\\x00-\\x1F]')


class Log:
    """llama.cpp's one log: kept while a model is loaded, for error messages, and silent otherwise."""

    def __init__(self, lib: Any) -> None:
        self.lines: deque[str] = deque(maxlen=20)
        self.callback = lib.llama_log_callback(self._keep)
        if sys.platform == "win32":
            self.silence = lib.llama_log_callback(lambda _level, _text, _data: None)
        else:  # a C function, so that no log line of a running model needs the GIL
            self.silence = ctypes.cast(ctypes.CDLL(None).getpid, lib.llama_log_callback)

    def _keep(self, level: int, text: bytes | None, _data: Any) -> None:
        line = (text or b"").decode(errors="replace").strip()
        if level in (WARN, ERROR) and line:
            self.lines.append(line)

    @contextmanager
    def recording(self, lib: Any) -> Iterator[None]:
        """Keep what is logged inside; one load at a time, because the log does not say whose line it is."""
        with _load_lock:
            self.lines.clear()
            lib.llama_log_set(self.callback, None)
            try:
                yield
            finally:
                lib.llama_log_set(self.silence, None)

    @property
    def reason(self) -> str:
        """The first warning or error of the last recording, which is the cause of the others."""
        return self.lines[0] if self.lines else "llama.cpp gives no reason"


@cache
def library_log(lib: Any) -> Log:
    """The log of ``lib``; there is one."""
    return Log(lib)
