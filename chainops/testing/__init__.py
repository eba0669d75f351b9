"""The kit for authors of middleware and plugins, and for tests of applications.

>>> from chainops.testing import MiddlewareConformance, ScriptedModel
"""

from chainops.testing.calls import model_call, node_call, tool_call
from chainops.testing.conformance import CHECKS, MiddlewareConformance, check_middleware
from chainops.testing.faults import Faults, disk_full
from chainops.testing.model import ScriptedModel
from chainops.testing.modules import app_module
from chainops.testing.plugins import Finding, check_plugin
from chainops.testing.snapshots import PromptSnapshot, prompt_text
from chainops.testing.trace import RecordedSpan, RecordedTrace, assert_span

__all__ = [
    "CHECKS",
    "Faults",
    "Finding",
    "MiddlewareConformance",
    "PromptSnapshot",
    "RecordedSpan",
    "RecordedTrace",
    "ScriptedModel",
    "app_module",
    "assert_span",
    "check_middleware",
    "check_plugin",
    "disk_full",
    "model_call",
    "node_call",
    "prompt_text",
    "tool_call",
]
