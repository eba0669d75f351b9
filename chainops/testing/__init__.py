"""The kit for authors of middleware: a scripted model, and checks that every middleware must pass.

>>> from chainops.testing import MiddlewareConformance, ScriptedModel
"""

from chainops.testing.calls import model_call, node_call, tool_call
from chainops.testing.conformance import CHECKS, MiddlewareConformance, check_middleware
from chainops.testing.model import ScriptedModel

__all__ = [
    "CHECKS",
    "MiddlewareConformance",
    "ScriptedModel",
    "check_middleware",
    "model_call",
    "node_call",
    "tool_call",
]
