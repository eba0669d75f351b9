"""``chainops.prompt``: a prompt by its name, from inside a node."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from chainops.calls import Call
from chainops.errors import CallError
from chainops.middleware.prompts.template import CompiledPrompt, Rendered

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["ASKING", "BoundPrompt", "Pinned", "prompt"]


class Pinned(Protocol):
    """The prompts of one run, and the call in which they are asked for."""

    call: Call
    noted: set[tuple[str, int]]

    def find(self, name: str, ref: str | int | None) -> tuple[CompiledPrompt, str | int]:
        """The version that ``ref`` means for this run, and the label or number by which it was found."""


ASKING: ContextVar[Pinned | None] = ContextVar("chainops_prompts", default=None)


class BoundPrompt:
    """A version of a prompt inside one call: rendering it is noted on the call's span.

    Attributes:
        name, version, sha256: which version it is; version 0 is the packaged one.
        model: the prompt's settings for the model call.
    """

    __slots__ = ("_asking", "_prompt", "_ref")

    def __init__(self, prompt: CompiledPrompt, ref: str | int, asking: Pinned) -> None:
        self._prompt, self._ref, self._asking = prompt, ref, asking

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

    def render(self, **values: Any) -> Rendered:
        """The messages with ``values``. Raises ``CallError`` as :meth:`CompiledPrompt.render` does."""
        return self.render_values(values)

    def render_values(self, values: Mapping[str, Any]) -> Rendered:
        """As :meth:`render`, from a mapping."""
        rendered = self._prompt.render(values)
        _note(self._asking, rendered, self._ref)
        return rendered

    def messages(self, **values: Any) -> list[BaseMessage]:
        """As :meth:`render`, as LangChain's messages."""
        return self.render(**values).to_langchain()


def _note(asking: Pinned, rendered: Rendered, ref: str | int) -> None:
    """Write on the call's span which version was rendered, and the hashes of its values (the last ones)."""
    recorder = asking.call.recorder
    version = rendered.name, rendered.version
    if version not in asking.noted:
        asking.noted.add(version)
        asking.call.artifact("prompt", rendered.name, str(rendered.version))
    entry = {"ref": ref, "version": rendered.version, "sha256": rendered.sha256, "variables": rendered.variables}
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
    found, by = asking.find(name, ref)
    return BoundPrompt(found, by, asking)
