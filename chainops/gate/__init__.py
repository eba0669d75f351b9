"""Streams that are guarded exactly: what leaves, piece by piece, is the guarded whole text and never a part of a match.

:class:`Gate` holds back what could still become a match and lets the rest pass. :class:`Patterns` says what matches.
:class:`GatedStream` puts gates around the chunks of a chat model.
"""

from chainops.gate.gate import Edit, Gate, Watch, guard
from chainops.gate.patterns import Patterns, Rule, literals
from chainops.gate.stream import GatedStream

__all__ = ["Edit", "Gate", "GatedStream", "Patterns", "Rule", "Watch", "guard", "literals"]
