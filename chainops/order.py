"""The order of layers: written by the user, checked here, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from chainops.errors import SetupError

__all__ = ["check_order"]


class Named(Protocol):
    """What the order of a layer depends on."""

    name: ClassVar[str]
    outside: ClassVar[tuple[str, ...]]
    inside: ClassVar[tuple[str, ...]]


def check_order(middleware: Sequence[Named]) -> None:
    """Every name once, and every ``outside`` and ``inside`` kept.

    Raises:
        SetupError: it names the layers, their positions (from 1), and the fix.
    """
    position: dict[str, int] = {}
    for i, layer in enumerate(middleware, 1):
        if layer.name in position:
            raise SetupError(
                f"Two middleware are called {layer.name!r} (positions {position[layer.name]} and {i})",
                hint="Remove one, or give a subclass another `name`.",
                code="setup.duplicate",
            )
        position[layer.name] = i
    wanted = [(layer.name, other) for layer in middleware for other in layer.outside]
    wanted += [(other, layer.name) for layer in middleware for other in layer.inside]
    for first, second in wanted:
        if first in position and second in position and position[first] > position[second]:
            raise SetupError(
                f"Middleware {first!r} (position {position[first]}) must come before {second!r} "
                f"(position {position[second]})",
                hint=f"Move {first!r} above {second!r} in [pipeline].middleware.",
                code="setup.order",
            )
