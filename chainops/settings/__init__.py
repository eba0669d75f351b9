"""One typed tree of settings: from ``chainops.toml``, the environment, and keywords."""

from chainops.settings.load import load_settings
from chainops.settings.pipeline import PipelineSettings
from chainops.settings.prompts import PromptSettings
from chainops.settings.trace import TraceSettings
from chainops.settings.tree import Settings

__all__ = ["PipelineSettings", "PromptSettings", "Settings", "TraceSettings", "load_settings"]
