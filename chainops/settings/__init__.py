"""One typed tree of settings: from ``chainops.toml``, the environment, and keywords."""

from chainops.settings.budgets import BudgetRuleSettings, BudgetSettings
from chainops.settings.cache import CacheSettings
from chainops.settings.chain import ChainSettings
from chainops.settings.compress import CompressSettings
from chainops.settings.cost import CostSettings
from chainops.settings.embeddings import EmbeddingSettings
from chainops.settings.limits import LimitRuleSettings, LimitSettings
from chainops.settings.load import load_settings
from chainops.settings.memory import MemorySettings
from chainops.settings.pii import PiiSettings
from chainops.settings.pipeline import PipelineSettings
from chainops.settings.prompts import PromptSettings
from chainops.settings.rails import RailsSettings
from chainops.settings.resources import ResourceSettings
from chainops.settings.route import RetrySettings, RouteSettings
from chainops.settings.semantic_cache import SemanticCacheSettings
from chainops.settings.trace import TraceSettings
from chainops.settings.tree import Settings
from chainops.settings.trust import TrustSettings

__all__ = [
    "BudgetRuleSettings",
    "BudgetSettings",
    "CacheSettings",
    "ChainSettings",
    "CompressSettings",
    "CostSettings",
    "EmbeddingSettings",
    "LimitRuleSettings",
    "LimitSettings",
    "MemorySettings",
    "PiiSettings",
    "PipelineSettings",
    "PromptSettings",
    "RailsSettings",
    "ResourceSettings",
    "RetrySettings",
    "RouteSettings",
    "SemanticCacheSettings",
    "Settings",
    "TraceSettings",
    "TrustSettings",
    "load_settings",
]
