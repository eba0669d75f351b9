"""``chainops.prompt``: a prompt by its name, from inside a node."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from chainops.calls import Call
from chainops.errors import CallError
from chainops.middleware.prompts.choosing import ExampleChooser
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.middleware.prompts.splits import Exposure
from chainops.middleware.prompts.template import Choice, Rendered

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["ASKING", "BoundPrompt", "Found", "Pinned", "prompt"]


class Pinned(Protocol):
    """The prompts of one run, and the call in which they are asked for."""

    call: Call
    noted: set[tuple[str, int]]
    made: dict[int, tuple[BaseMessage, BoundPrompt, Rendered]]
    chooser: ExampleChooser | None

    def find(self, name: str, ref: str | int | None) -> Found:
        """The version that ``ref`` means for this run."""


@dataclass(frozen=True, slots=True)
class Found:
    """A version, the label or number by which it was found, and what a split had to do with it.

    ``unseen``: the version that answers too, without being seen.
    """

    prompt: AnyPrompt
    ref: str | int
    exposure: Exposure | None = None
    unseen: AnyPrompt | None = None


ASKING: ContextVar[Pinned | None] = ContextVar("chainops_prompts", default=None)


class BoundPrompt:
    """A version of a prompt inside one call: rendering it is noted on the call's span.

    Attributes:
        name, version, sha256: which version it is; version 0 is the packaged one.
        model: the prompt's settings for the model call.
    """

    __slots__ = ("_asking", "_found", "_prompt")

    def __init__(self, found: Found, asking: Pinned) -> None:
        self._prompt, self._found, self._asking = found.prompt, found, asking

    def __repr__(self) -> str:
        return f"BoundPrompt({self.name!r}, version={self.version})"

    @property
    def name(self) -> str:
        """The name by which it was asked for."""
        return self._prompt.name

    @property
    def version(self) -> int:
        """Its number; 0 for the packaged one."""
        return self._prompt.version

    @property
    def sha256(self) -> str:
        """The hash of its content."""
        return self._prompt.sha256

    @property
    def model(self) -> Mapping[str, Any]:
        """Its settings for the model call."""
        return dict(self._prompt.content.model)

    @property
    def unseen(self) -> AnyPrompt | None:
        """The version that answers too, without being seen; None in most cases."""
        return self._found.unseen

    @property
    def prompt(self) -> AnyPrompt:
        """The version itself."""
        return self._prompt

    def render(self, **values: Any) -> Rendered:
        """The messages with ``values``.

        Raises:
            CallError: as :meth:`CompiledPrompt.render` does; ``prompt.examples`` where examples must be chosen and an
                event loop runs in this thread: use :meth:`arender`.
        """
        return self.render_values(values)

    async def arender(self, **values: Any) -> Rendered:
        """As :meth:`render`, for prompts that choose their examples by likeness too."""
        return await self.arender_values(values)

    def render_values(self, values: Mapping[str, Any]) -> Rendered:
        """As :meth:`render`, from a mapping."""
        examples = None
        if self._prompt.choosers and self._asking.chooser is not None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                examples = asyncio.run(self._asking.chooser.choose(self._prompt, values))
        return self._rendered(values, examples)

    async def arender_values(self, values: Mapping[str, Any]) -> Rendered:
        """As :meth:`arender`, from a mapping."""
        examples = None
        if self._prompt.choosers and self._asking.chooser is not None:
            examples = await self._asking.chooser.choose(self._prompt, values)
        return self._rendered(values, examples)

    def messages(self, **values: Any) -> list[BaseMessage]:
        """As :meth:`render`, as LangChain's messages."""
        return self.render(**values).to_langchain()

    async def amessages(self, **values: Any) -> list[BaseMessage]:
        """As :meth:`arender`, as LangChain's messages."""
        return (await self.arender(**values)).to_langchain()

    def _rendered(self, values: Mapping[str, Any], examples: Choice | None) -> Rendered:
        plain = {name: _plain(value) for name, value in values.items()}
        rendered = self._prompt.render(plain, examples)

        def remember(messages: list[BaseMessage]) -> None:
            """So that a model call in this node with one of them is known to be this prompt's."""
            self._asking.made.update((id(message), (message, self, rendered)) for message in messages)

        _note(self._asking, rendered, self._found)
        return replace(rendered, on_messages=remember)

    def note(self, call: Call) -> None:
        """Write on the span of a model call that this prompt is what it asks."""
        call.artifact("prompt", self.name, str(self.version))
        asked: dict[str, Any] = {"name": self.name, "version": self.version, "sha256": self.sha256}
        if self._found.exposure is not None:
            asked["experiment"] = self._found.exposure.plain()
        call.annotate("prompts", asked=asked)


def _plain(value: Any) -> Any:
    """``message.text`` is an object of LangChain's that is a text; only its text goes on, none of its methods."""
    return str.__str__(value) if isinstance(value, str) and type(value) is not str else value


def _note(asking: Pinned, rendered: Rendered, found: Found) -> None:
    """Write on the call's span which version was rendered, and the hashes of its values (the last ones)."""
    recorder = asking.call.recorder
    for name, number in [(rendered.name, rendered.version), *((part.name, part.version) for part in rendered.parts)]:
        if (name, number) not in asking.noted:
            asking.noted.add((name, number))
            asking.call.artifact("prompt", name, str(number))
    entry: dict[str, Any] = {"ref": found.ref, "version": rendered.version, "sha256": rendered.sha256}
    entry["variables"] = rendered.variables
    if rendered.examples:
        entry["examples"] = {name: list(numbers) for name, numbers in rendered.examples.items()}
    if rendered.parts:
        entry["slots"] = [asdict(part) for part in rendered.parts]
    if found.exposure is not None:
        entry["experiment"] = found.exposure.plain()
    recorder.annotate("prompts", {rendered.name: entry})


def prompt(name: str, ref: str | int | None = None) -> BoundPrompt:
    """The prompt ``name`` in the version that holds for this run, inside a node, route, task or tool.

    Args:
        ref: a label or a version; None: the label of the node's settings, else of the ``Prompts`` middleware.

    Raises:
        CallError: no ``Prompts`` middleware is around this code (``prompt.outside``).
        StoreError: there is no such prompt, label or version, or it is retired, and no packaged version either.
    """
    asking = ASKING.get()
    if asking is None:
        raise CallError(
            f"prompt({name!r}) was called outside a node with prompts",
            hint="Call it inside a node of a graph that is instrumented with a pipeline that has Prompts().",
            code="prompt.outside",
        )
    return BoundPrompt(asking.find(name, ref), asking)
