"""Prompts that are put together from others, each of which has versions and labels of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chainops.errors import CallError
from chainops.middleware.prompts.content import SLOTS, Content, Reasoning
from chainops.middleware.prompts.template import Choice, CompiledPrompt, Part, Rendered, RenderedMessage

__all__ = ["AnyPrompt", "SlottedPrompt", "put_together", "slot_ref"]


class SlottedPrompt:
    """A prompt whose slots are filled, each by a version of another prompt.

    The conditioning, system and context slots together are one system message, with an empty line between them; the
    user slot is the user message.

    Attributes:
        content: what the version itself is made of: which prompts stand in its slots.
        filled: the prompts in the slots, and the label or number by which each was found.
    """

    __slots__ = ("content", "filled", "name", "sha256", "version")

    def __init__(
        self,
        name: str,
        version: int,
        sha256: str,
        content: Content,
        filled: Sequence[tuple[str, CompiledPrompt, str | int]],
    ) -> None:
        self.name, self.version, self.sha256 = name, version, sha256
        self.filled = filled
        self.content = _together(content, [prompt.content for _, prompt, _ in filled])

    def __repr__(self) -> str:
        return f"SlottedPrompt({self.name!r}, version={self.version})"

    @property
    def variables(self) -> frozenset[str]:
        """The names that :meth:`render` takes: those of all slots."""
        return frozenset[str]().union(*(prompt.variables for _, prompt, _ in self.filled))

    @property
    def choosers(self) -> list[CompiledPrompt]:
        """The prompts in slots of which examples must be chosen before it can be rendered."""
        return [chooser for _, prompt, _ in self.filled for chooser in prompt.choosers]

    def render(self, values: Mapping[str, Any], examples: Choice | None = None) -> Rendered:
        """The messages with ``values``: every slot gets those that it has variables for.

        Raises:
            CallError: as :meth:`CompiledPrompt.render`; a value that no slot has a variable for is unknown.
        """
        if unknown := sorted(values.keys() - self.variables):
            raise CallError(
                f"Prompt {self.name!r} (version {self.version}) got wrong values: {', '.join(unknown)} is no variable",
                hint=f"Its variables are: {', '.join(sorted(self.variables)) or 'none'}.",
                code="prompt.inputs",
            )
        system: list[str] = []
        rest: list[RenderedMessage] = []
        given: dict[str, Any] = {}
        numbers: dict[str, tuple[int, ...]] = {}
        parts = []
        for slot, prompt, ref in self.filled:
            one = prompt.render({k: v for k, v in values.items() if k in prompt.variables}, examples)
            given.update(one.values)
            numbers.update(one.examples)
            parts.append(Part(slot, prompt.name, prompt.version, prompt.sha256, ref))
            if slot == "user":
                rest += one.messages
            else:
                system.append(one.messages[-1].text)
                rest += one.messages[:-1]
        head = [RenderedMessage("system", "\n\n".join(system))] if system else []
        return Rendered(
            self.name, self.version, self.sha256, (*head, *rest), given, examples=numbers, parts=tuple(parts)
        )


AnyPrompt = CompiledPrompt | SlottedPrompt
"""What can be rendered."""


def _together(content: Content, parts: Sequence[Content]) -> Content:
    """What holds for the answer: the prompt's own, else that of the first slot that says something."""

    def first(name: str) -> Any:
        return getattr(content, name) or next((getattr(p, name) for p in parts if getattr(p, name)), None)

    reasoning: Reasoning | None = first("reasoning")
    return content.model_copy(
        update={"model": first("model") or {}, "output": first("output") or {}, "reasoning": reasoning}
    )


def slot_ref(text: str) -> tuple[str, str | None]:
    """ "desk/tone@prod" as ("desk/tone", "prod"); without @ no label."""
    name, at, ref = text.partition("@")
    return name, ref if at else None


def put_together(
    name: str,
    version: int,
    sha256: str,
    content: Content,
    find: Callable[[str, str | None], tuple[AnyPrompt, str | int]],
) -> SlottedPrompt:
    """A prompt with its slots filled.

    Args:
        find: the version that a name and a label (None: what is usual) mean.

    Raises:
        CallError: what stands in a slot has slots itself, or more than one message besides its examples
            (``prompt.slot``).
        StoreError: as ``find``.
    """
    filled = []
    for slot in SLOTS:
        if slot not in content.slots:
            continue
        wanted, label = slot_ref(content.slots[slot])
        prompt, ref = find(wanted, label)
        if not isinstance(prompt, CompiledPrompt) or len(prompt.content.messages) != 1:
            what = "slots itself" if isinstance(prompt, SlottedPrompt) else f"{len(prompt.content.messages)} messages"
            raise CallError(
                f"Prompt {wanted!r} (version {prompt.version}) in the slot {slot!r} of {name!r} has {what}",
                hint="What stands in a slot is a prompt of one message.",
                code="prompt.slot",
            )
        filled.append((slot, prompt, ref))
    return SlottedPrompt(name, version, sha256, content, filled)
