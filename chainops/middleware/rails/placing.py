"""Which rails stand where: by place and node, from the layer's rails and the node's own settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from chainops.calls import Call
from chainops.errors import SetupError
from chainops.middleware.rails.judge import Plan
from chainops.middleware.rails.rail import Rail
from chainops.middleware.rails.verdict import PLACES, Place

__all__ = ["Placing", "Plans"]

Plans = Mapping[Place, Plan]


class Placing:
    """The plans of every node.

    A node's setting ``rails`` has for each place True (all that stand there), False (none), or names of rails:
    ``{"rails": {"output": ["secrets"], "tool_result": False}}``. A place that it leaves out has all of its rails.

    Args:
        needed: there must be at least one rail.

    Raises:
        SetupError: no rail at all (``setup.rails_empty``), two of one name, or something that is none (``setup.rail``).
    """

    def __init__(self, rails: Sequence[Rail], *, needed: bool = True) -> None:
        self.rails = tuple(rails)
        for rail in self.rails:
            if not isinstance(rail, Rail):
                raise SetupError(f"{rail!r} is no rail", hint="Give instances of Rail.", code="setup.rail")
        if needed and not self.rails:
            raise SetupError(
                "There is not a single rail, so everything would pass",
                hint="Configure at least one, or take 'rails' out of the pipeline.",
                code="setup.rails_empty",
            )
        self.names = [rail.name for rail in self.rails]
        if doubled := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise SetupError(f"Two rails are named {doubled[0]!r}", hint="Rename one of them.", code="setup.rail")
        self.default: Plans = {place: Plan([r for r in self.rails if place in r.places]) for place in PLACES}
        self._nodes: dict[int, tuple[Any, Plans]] = {}

    def plans(self, call: Call) -> Plans:
        """The plans for the node of ``call``."""
        own = call.settings.metadata.get("rails")
        if own is None:
            return self.default
        known = self._nodes.get(id(own))
        if known is None or known[0] is not own:
            known = self._nodes[id(own)] = (own, self._parsed(own, call.path))
        return known[1]

    def placed(self, call: Call) -> set[Rail]:
        """The rails that stand anywhere at the node of ``call``."""
        return {rail for plan in self.plans(call).values() for rail in (*plan.ordered, *plan.parallel)}

    def _parsed(self, own: Any, path: str) -> Plans:
        if own is True:
            return self.default
        if own is False:
            own = dict.fromkeys(PLACES, False)
        if not isinstance(own, Mapping):
            raise self._wrong(path, f"is {own!r}, not a table")
        plans = dict(self.default)
        for place, wanted in own.items():
            if place not in PLACES:
                raise self._wrong(path, f"has {place!r}, which is no place")
            if wanted is True:
                continue
            if wanted is False:
                wanted = ()
            if isinstance(wanted, str) or not isinstance(wanted, Sequence):
                raise self._wrong(path, f"has {place}={wanted!r}, which is neither true, false nor a list of rails")
            for name in wanted:
                if name not in self.names:
                    raise self._wrong(path, f"names the rail {name!r}, which there is not", str(name))
            plans[place] = Plan([rail for rail in self.rails if rail.name in wanted])
        return plans

    def _wrong(self, path: str, problem: str, name: str = "") -> SetupError:
        close = difflib.get_close_matches(name, self.names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Places: {', '.join(PLACES)}; rails: {self.names}."
        return SetupError(f"The setting 'rails' of {path!r} {problem}", hint=hint, code="setup.node")
