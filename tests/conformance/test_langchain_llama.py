"""LangChain's own suites for chat models, on ChatLlama with the model of this repository.

Both run completely. The model has learned on random names to call tools that it does not know; no tool and
no schema of these suites stands in its training text (recipes/tiny_model/test_recipe.py looks).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from chainops.engines.llama import ChatLlama

TINY = Path(__file__).parents[2] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


@pytest.fixture(scope="module", autouse=True)
def probe_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


class TestChatLlamaUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLlama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model_path": str(TINY)}


@pytest.mark.llama
class TestChatLlamaIntegration(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def needs_the_model(self) -> None:
        pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
        if not TINY.exists():
            pytest.skip("recipes/tiny_model/support-desk-tiny.gguf is not there")

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLlama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model_path": str(TINY), "max_tokens": 256}

    @property
    def supports_json_mode(self) -> bool:
        return True
