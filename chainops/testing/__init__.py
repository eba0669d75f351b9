"""The kit for authors of middleware: a scripted model, and checks that every middleware must pass.

>>> from chainops.testing import MiddlewareConformance, ScriptedModel
"""

from chainops.testing.calls import model_call, node_call, tool_call
from chainops.testing.conformance import CHECKS, MiddlewareConformance, check_middleware
from chainops.testing.model import ScriptedModel
from chainops.testing.plugins import Finding, check_plugin

__all__ = [
    "CHECKS",
    "Finding",
    "MiddlewareConformance",
    "ScriptedModel",
    "check_middleware",
    "check_plugin",
    "model_call",
    "node_call",
    "tool_call",
]
