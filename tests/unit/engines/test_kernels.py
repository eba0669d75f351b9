"""A llama.cpp with kernels for several processors: chosen from its own folder, never from the working directory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from chainops.engines.llama.library import _load_kernels


class Load:
    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, folder: bytes) -> None:
        self.asked.append(folder)


def fake_library(folder: Path) -> tuple[SimpleNamespace, Load]:
    load = Load()
    return SimpleNamespace(_base_path=folder, _lib=SimpleNamespace(ggml_backend_load_all_from_path=load)), load


def test_kernels_beside_the_library_are_loaded_from_there(tmp_path: Path) -> None:
    (tmp_path / "libggml-cpu-haswell.so").touch()
    library, load = fake_library(tmp_path)
    _load_kernels(library)
    assert load.asked == [str(tmp_path).encode()]


def test_a_library_with_its_kernels_inside_loads_no_others(tmp_path: Path) -> None:
    (tmp_path / "libggml-cpu.so").touch()
    library, load = fake_library(tmp_path)
    _load_kernels(library)
    assert load.asked == []
