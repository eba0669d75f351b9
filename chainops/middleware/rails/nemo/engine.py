"""What is imported from NeMo Guardrails, and nothing else is: pinned to its minor version, guarded by contract tests.

``compile_rail`` is not public there. It runs a rail without its servers, queues, telemetry and Colang interpreter.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from chainops.errors import MissingExtra, SetupError

__all__ = ["PINNED", "engine"]

PINNED = "0.24"


class Engine:
    """The names of NeMo that are used, imported once."""

    def __init__(self) -> None:
        os.environ["NEMO_GUARDRAILS_NO_USAGE_STATS"] = "1"  # read when NeMo would report; set before it is imported
        try:
            import nemoguardrails
        except ModuleNotFoundError:
            raise MissingExtra("rails", package="nemoguardrails", needed_for="A NeMo folder of rails") from None
        found = str(nemoguardrails.__version__)
        if not found.startswith(f"{PINNED}."):
            raise SetupError(
                f"nemoguardrails {found} is installed; the rails are written for {PINNED}",
                hint=f"pip install 'nemoguardrails=={PINNED}.*'",
                code="setup.nemo_version",
            )
        self.version = found
        try:
            self._names()
        except ImportError as error:
            raise SetupError(
                f"nemoguardrails {found} lacks what the rails are built on: {error}",
                hint=f"pip install 'nemoguardrails=={PINNED}.1'",
                code="setup.nemo_version",
            ) from None

    def _names(self) -> None:
        import nemoguardrails
        from nemoguardrails import LLMRails, RailsConfig
        from nemoguardrails.actions.action_dispatcher import ActionDispatcher
        from nemoguardrails.context import explain_info_var, llm_call_info_var
        from nemoguardrails.embeddings.providers import register_embedding_provider
        from nemoguardrails.embeddings.providers.base import EmbeddingModel
        from nemoguardrails.embeddings.providers.registry import EmbeddingProviderRegistry
        from nemoguardrails.guardrails import compiled_rail as compiled
        from nemoguardrails.llm.cache.interface import CacheInterface
        from nemoguardrails.llm.taskmanager import LLMTaskManager
        from nemoguardrails.manifests import RailDirection, default_rail_catalog, parse_configured_surface
        from nemoguardrails.rails.llm.config import Model
        from nemoguardrails.types import LLMResponse, LLMResponseChunk, UsageInfo

        self.Config: Any = RailsConfig
        self.LLMRails: Any = LLMRails
        self.Model: Any = Model
        self.ActionDispatcher: Any = ActionDispatcher
        self.EmbeddingModel: Any = EmbeddingModel
        self.register_embeddings: Any = register_embedding_provider
        self.embedding_engines: Any = EmbeddingProviderRegistry()
        self.explain_info: Any = explain_info_var
        self.call_info: Any = llm_call_info_var
        self.home = Path(nemoguardrails.__file__).resolve().parent
        self.compile: Any = compiled.compile_rail
        self.Dependencies: Any = compiled.RailDependencies
        self.CompilationError: Any = compiled.RailCompilationError
        self.Direction: Any = RailDirection
        self.catalog: Any = default_rail_catalog()
        self.parse_flow: Any = parse_configured_surface
        self.TaskManager: Any = LLMTaskManager
        self.CacheInterface: Any = CacheInterface
        self.Response: Any = LLMResponse
        self.ResponseChunk: Any = LLMResponseChunk
        self.Usage: Any = UsageInfo


_engine: Engine | None = None


def engine() -> Engine:
    """NeMo's parts, imported when first asked for (about a second).

    Raises:
        MissingExtra: it is not installed.
        SetupError: another version is (``setup.nemo_version``).
    """
    global _engine  # noqa: PLW0603 - one import for the process
    if _engine is None:
        _engine = Engine()
    return _engine
