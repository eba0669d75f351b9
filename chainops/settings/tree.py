"""The whole tree of settings: one section for each part, a file of its own for each section."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PrivateAttr

from chainops.settings.budgets import BudgetSettings
from chainops.settings.cache import CacheSettings
from chainops.settings.chain import ChainSettings
from chainops.settings.compress import CompressSettings
from chainops.settings.cost import CostSettings
from chainops.settings.embeddings import EmbeddingSettings
from chainops.settings.limits import LimitSettings
from chainops.settings.memory import MemorySettings
from chainops.settings.pii import PiiSettings
from chainops.settings.pipeline import PipelineSettings
from chainops.settings.place import Origins
from chainops.settings.prompts import PromptSettings
from chainops.settings.rails import RailsSettings
from chainops.settings.resources import ResourceSettings
from chainops.settings.route import RetrySettings, RouteSettings
from chainops.settings.section import Section
from chainops.settings.semantic_cache import SemanticCacheSettings
from chainops.settings.trace import TraceSettings
from chainops.settings.trust import TrustSettings

__all__ = ["Settings"]


class Settings(Section):
    """The whole tree. ``nodes`` maps globs on node paths to settings, ``plugins`` names of enabled ones to options."""

    pipeline: PipelineSettings = PipelineSettings()
    trace: TraceSettings = TraceSettings()
    prompts: PromptSettings = PromptSettings()
    cache: CacheSettings = CacheSettings()
    pii: PiiSettings = PiiSettings()
    chain: ChainSettings = ChainSettings()
    memory: MemorySettings = MemorySettings()
    compress: CompressSettings = CompressSettings()
    semantic_cache: SemanticCacheSettings = SemanticCacheSettings()
    rails: RailsSettings = RailsSettings()
    embeddings: EmbeddingSettings = EmbeddingSettings()
    trust: TrustSettings = TrustSettings()
    limits: LimitSettings = LimitSettings()
    cost: CostSettings = CostSettings()
    budgets: BudgetSettings = BudgetSettings()
    route: RouteSettings = RouteSettings()
    retry: RetrySettings = RetrySettings()
    resources: ResourceSettings = ResourceSettings()
    nodes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)
    _origins: Origins | None = PrivateAttr(None)

    def where(self, *place: str) -> str:
        """Where a setting was written, to be put behind a message: " (chainops.toml, line 7)", or empty."""
        found = self._origins.of(place) if self._origins is not None else ""
        return f" ({found})" if found else ""
