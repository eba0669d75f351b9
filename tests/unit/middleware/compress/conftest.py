"""The small model of this repository."""

from __future__ import annotations

from pathlib import Path

import pytest

TINY = Path(__file__).parents[4] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


@pytest.fixture
def tiny_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its path; the cache of passed probes is a temporary directory."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    if not TINY.exists():
        pytest.skip("recipes/tiny_model/support-desk-tiny.gguf is not there")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return TINY
