"""The llama.cpp engine on the kit for engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chainops.store.shipped import shipped
from chainops.testing import EngineConformance

pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
pytestmark = pytest.mark.llama


class TestChatLlama(EngineConformance):
    @pytest.fixture(autouse=True)
    def engine(self) -> Iterator[None]:
        from chainops.engines.llama import ChatLlama

        model = shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"
        self.model = ChatLlama(model_path=str(model), n_ctx=256, max_tokens=24, temperature=0.0)
        yield
        self.model.close()

    def make(self) -> Any:
        return self.model
