"""What the pipeline, and its layers together, remember about one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Guard", "Marks"]


class Guard:
    """What the pipeline remembers about one call, shared by all copies of it.

    ``bubble``: LangGraph's control flow that passed (interrupt, parent command, drain), which no layer may swallow.
    ``entries``: how often the engine was entered; more than once when a layer retries.
    ``result``: what the engine returned last.
    ``marks``: what layers said about the call's result, for caches; None while nobody said anything.
    ``around``: what layers put around the engine, whichever it becomes; None while nobody did.
    ``deadline``: when, on the monotonic clock, the call should have its result; None: nobody said.
    """

    __slots__ = ("around", "bubble", "deadline", "entries", "marks", "result")

    def __init__(self) -> None:
        self.bubble: Exception | None = None
        self.entries = 0
        self.result: Any = None
        self.marks: Marks | None = None
        self.around: dict[str, Callable[[Any], Any]] | None = None
        self.deadline: float | None = None

    def mark(self) -> Marks:
        """The marks, made when they are first needed."""
        if self.marks is None:
            self.marks = Marks()
        return self.marks


class Marks:
    """What is known about the result of a call beside the result.

    ``private``: it is for the user of this run alone. ``bound``: it means something in this thread only.
    ``asked``: a person was asked on the way (``interrupt()``).
    ``depends``: what it depends on beside the input. ``tags``: by which a cache forgets it.
    ``notes``: the annotations so far, by layer.
    """

    __slots__ = ("asked", "bound", "depends", "notes", "private", "tags")

    def __init__(self) -> None:
        self.private = False
        self.bound = False
        self.asked = False
        self.depends: dict[str, Any] = {}
        self.tags: set[str] = set()
        self.notes: dict[str, dict[str, Any]] = {}
