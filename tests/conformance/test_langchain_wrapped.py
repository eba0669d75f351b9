"""A wrapped model is still the model: LangChain's own suites on what ``chainops.wrap`` returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from chainops import Middleware, ModelCall, ModelResult, Pipeline, wrap
from chainops.engines.llama import ChatLlama
from chainops.testing import ScriptedModel

TINY = Path(__file__).parents[2] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


class Count(Middleware):
    def __init__(self) -> None:
        self.calls = 0

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        self.calls += 1
        return await call_next(call)


COUNT = Count()
PIPELINE = Pipeline([COUNT])


class TestWrappedChatLlamaUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return type(wrap(ChatLlama(model_path=str(TINY)), PIPELINE))

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model_path": str(TINY)}


class TestWrappedScriptedModelUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return type(wrap(ScriptedModel(["hi"]), PIPELINE))

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"script": ["hi"], "repeat": True}


@pytest.mark.llama
class TestWrappedChatLlamaIntegration(ChatModelIntegrationTests):
    """The parts of the integration suite that send a call through the layers, in every way there is."""

    @pytest.fixture(autouse=True)
    def goes_through_the_layers(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
        pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
        if not TINY.exists():
            pytest.skip(f"{TINY.name} is not there")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        before = COUNT.calls
        yield
        assert COUNT.calls > before

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return type(wrap(ChatLlama(model_path=str(TINY)), PIPELINE))

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model_path": str(TINY), "max_tokens": 64}


_WANTED = (
    "test_invoke",
    "test_ainvoke",
    "test_stream",
    "test_astream",
    "test_batch",
    "test_abatch",
    "test_conversation",
    "test_usage_metadata",
    "test_usage_metadata_streaming",
    "test_stop_sequence",
)
for _name in [n for n in dir(ChatModelIntegrationTests) if n.startswith("test_") and n not in _WANTED]:
    # what is left out runs on the bare model, in test_langchain_llama.py
    setattr(TestWrappedChatLlamaIntegration, _name, None)
