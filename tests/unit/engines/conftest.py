"""Small models for the engine's tests. Their cache of passed probes is a temporary directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from .tiny_gguf import chain_model

TINY = Path(__file__).parents[3] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


@pytest.fixture(scope="session", autouse=True)
def probe_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of ``XDG_CACHE_HOME`` for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(path))
        yield path


@pytest.fixture(scope="session")
def chain_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``chain_path(pieces, loop=..., template=...)``: a chain model's file."""
    folder = tmp_path_factory.mktemp("models")

    def make(pieces: Sequence[bytes], **options: Any) -> Path:
        return chain_model(pieces, **options).write(folder / f"chain{len(list(folder.iterdir()))}.gguf")

    return make


@pytest.fixture
def chain(chain_path: Callable[..., Path]) -> Iterator[Callable[..., Any]]:
    """``chain(pieces, loop=..., **options of ChatLlama)``: a model that answers with exactly these pieces."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    from chainops.engines.llama import ChatLlama

    made = []

    def make(pieces: Sequence[bytes], *, loop: bool = False, context: int = 2048, **options: Any) -> Any:
        path = chain_path(pieces, loop=loop, context=context)
        model = ChatLlama(**{"model_path": path, "probe": False, **options})
        made.append(model)
        return model

    yield make
    for model in made:
        model.close()


@pytest.fixture(scope="session")
def tiny_path() -> Path:
    """The support-desk model of this repository."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    if not TINY.exists():
        pytest.skip("recipes/tiny_model/support-desk-tiny.gguf is not there")
    return TINY


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """``eventually(condition)``: returns when it is true, fails after ten seconds."""

    def wait(condition: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.002)

    return wait
