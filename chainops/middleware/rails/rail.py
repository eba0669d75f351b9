"""What a rail is: a named judge of texts, with where it stands and what follows from its verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from chainops.calls import Call, ModelCall
from chainops.errors import SetupError
from chainops.middleware.rails.verdict import PLACES, Place, Policy, Verdict

__all__ = ["OnError", "Rail", "Subject"]

OnError = Literal["block", "flag"]
POLICIES: tuple[Policy, ...] = ("monitor", "flag", "redact", "ask", "block")


@dataclass(frozen=True, slots=True)
class Subject:
    """A text to judge, and where it stands.

    Args:
        text: flattened: all text of all content blocks.
        place: see ``Place``.
        call: the call at whose boundary it stands; None on the command line.
        talk: the conversation before it, as ``(role, text)`` with roles user, assistant, system, tool.
        source: name of the tool or retriever that it comes from, else "".
        fresh: it has just been said; False: it stands in the history, and was judged when it was said.
    """

    text: str
    place: Place
    call: Call | None = field(default=None, repr=False)
    talk: tuple[tuple[str, str], ...] = ()
    source: str = ""
    fresh: bool = True


class Rail(ABC):
    """Base of every rail. Subclasses override :meth:`check`; one instance serves all calls.

    Args:
        name: unique in one ``Rails``.
        places: where it stands.
        policy: what follows when it finds something; see ``Policy``.
        on_error: what follows when it breaks: ``block``, or ``flag`` to let the text pass marked.
        timeout_s: seconds until it counts as broken; only for rails that wait for something (``waits``).

    Class attributes:
        rewrites: it can give a text without what is wrong with it; such rails run first, in order.
        waits: it awaits something (a model, a thread); the others run one after the other without a task.
        local: its verdict depends on the text alone, so that it is judged once and remembered.
        whole: on streams it needs whole sentences; otherwise it gives ``spans``.
    """

    rewrites: ClassVar[bool] = False
    waits: ClassVar[bool] = False
    local: ClassVar[bool] = True
    default_places: ClassVar[tuple[Place, ...]] = PLACES

    def __init__(
        self,
        name: str,
        *,
        places: Iterable[Place] | None = None,
        policy: Policy = "block",
        on_error: OnError = "block",
        timeout_s: float = 10.0,
    ) -> None:
        self.name = name
        self.places: tuple[Place, ...] = tuple(self.default_places if places is None else places)
        self.policy: Policy = policy
        self.on_error: OnError = on_error
        self.timeout_s = timeout_s
        unknown = set(self.places) - set(PLACES)
        for fine, what, value in (
            (bool(name) and isinstance(name, str), "name", name),
            (not unknown and bool(self.places), "places", self.places),
            (policy in POLICIES, "policy", policy),
            (on_error in ("block", "flag"), "on_error", on_error),
            (timeout_s > 0, "timeout_s", timeout_s),
        ):
            if not fine:
                raise SetupError(
                    f"Rail {name!r} has {what}={value!r}",
                    hint=f"places: {', '.join(PLACES)}; policy: {', '.join(POLICIES)}; on_error: block, flag.",
                    code="setup.rail",
                )

    @abstractmethod
    async def check(self, subject: Subject) -> Verdict:
        """The verdict on one text. Whatever it raises counts as ``failed``."""

    def prepare(self, call: ModelCall) -> ModelCall:
        """The call as the model shall see it, after its texts were judged; for rails that put something into it."""
        return call

    def describe(self) -> dict[str, Any]:
        """For versions of chains: what it is set to, as JSON."""
        names = ("places", "policy", "on_error")
        return {"kind": type(self).__name__, **{n: getattr(self, n) for n in names}}
