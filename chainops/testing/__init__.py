"""The kit for authors of middleware and plugins, and for tests of applications.

>>> from chainops.testing import MiddlewareConformance, ScriptedModel
"""

from chainops.testing.calls import model_call, node_call, tool_call
from chainops.testing.conformance import CHECKS, MiddlewareConformance, check_middleware
from chainops.testing.engines import ENGINE_CHECKS, EngineConformance, check_engine
from chainops.testing.faults import Faults, disk_full
from chainops.testing.installed import write_metadata
from chainops.testing.limit_stores import LIMIT_STORE_CHECKS, LimitStoreConformance, check_limit_store
from chainops.testing.model import ScriptedModel
from chainops.testing.modules import app_module
from chainops.testing.plugins import Finding, check_plugin
from chainops.testing.readme import ReadmeStep, check_readme, readme_steps
from chainops.testing.snapshots import PromptSnapshot, prompt_text
from chainops.testing.stores import STORE_CHECKS, StoreConformance, check_store
from chainops.testing.trace import RecordedSpan, RecordedTrace, assert_span

__all__ = [
    "CHECKS",
    "ENGINE_CHECKS",
    "LIMIT_STORE_CHECKS",
    "STORE_CHECKS",
    "EngineConformance",
    "Faults",
    "Finding",
    "LimitStoreConformance",
    "MiddlewareConformance",
    "PromptSnapshot",
    "ReadmeStep",
    "RecordedSpan",
    "RecordedTrace",
    "ScriptedModel",
    "StoreConformance",
    "app_module",
    "assert_span",
    "check_engine",
    "check_limit_store",
    "check_middleware",
    "check_plugin",
    "check_readme",
    "check_store",
    "disk_full",
    "model_call",
    "node_call",
    "prompt_text",
    "readme_steps",
    "tool_call",
    "write_metadata",
]
