"""The prompts middleware: which version of which prompt a run uses, decided once when the run begins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chainops.calls import Call, Kind, ModelCall, ModelNext, ModelResult, NodeCall, NodeNext, ToolCall, ToolNext
from chainops.errors import CallError, SetupError, StoreError
from chainops.middleware.prompts.answering import OnWrongOutput, answer_to
from chainops.middleware.prompts.asking import ASKING, BoundPrompt
from chainops.middleware.prompts.choosing import ExampleChooser
from chainops.middleware.prompts.content import KIND
from chainops.middleware.prompts.library import PromptLibrary
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.middleware.prompts.template import Rendered
from chainops.pipeline import Middleware
from chainops.store.registry import Registry, View

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from chainops.embedding import Embedder

__all__ = ["Prompts"]

log = logging.getLogger("chainops")
SETTING = "prompts"


class Prompts(Middleware):
    """Gives nodes their prompts by name, from the versions in a database.

    A run sees the labels as they were when it began: a promotion in the middle changes nothing for it. Inside a node,
    ``chainops.prompt(name)`` gives a prompt. A node whose settings have ``prompts`` (``"answer"``, or ``{"name":
    "answer", "label": "canary"}``) gets that prompt put before the messages of each of its model calls, with the
    variables taken from the node's input.

    Args:
        path: the database; the one that ``chainops prompt`` writes.
        label: the label that is meant where none is named.
        fallback: a folder of prompt files that stand in, as version 0, for what the database does not have.
        max_age_s: seconds after which a new run looks at the database again.
        embedder: what chooses examples by likeness, for prompts that ask for it.
        on_wrong_output: what happens to an answer that does not fit its prompt's output schema: "error" raises
            ``WrongOutput``, "score" only records the score ``output_schema`` (1 fits, 0 does not).

    The answer to a prompt that asks for reasoning carries the reasoning in ``additional_kwargs["reasoning_content"]``,
    not in its text; in a stream as well.

    Raises:
        SetupError: the folder is missing, or a file in it is wrong.
    """

    name: ClassVar[str] = "prompts"
    inside: ClassVar[tuple[str, ...]] = ("access", "limits", "experiment")
    outside: ClassVar[tuple[str, ...]] = ("compress", "rails", "pii", "semantic_cache", "cache", "route", "retry")
    kinds: ClassVar[frozenset[Kind]] = frozenset({"run", "node", "route", "task", "model", "tool", "retriever"})
    streaming = "window"  # text that may be the beginning of a mark of reasoning is held back

    def __init__(
        self,
        path: str | Path = "chainops.db",
        *,
        label: str = "prod",
        fallback: str | Path | None = None,
        max_age_s: float = 1.0,
        embedder: Embedder | None = None,
        on_wrong_output: OnWrongOutput = "error",
    ) -> None:
        self.label = label
        self.chooser = ExampleChooser(embedder) if embedder is not None else None
        self.on_wrong_output = on_wrong_output
        self.registry = Registry(path, KIND, max_age_s=max_age_s)
        self.library = PromptLibrary()
        self.fallback = _packaged(Path(fallback)) if fallback is not None else {}
        self._packaged_stamp = "".join(f" {name}@{found.sha256}" for name, found in sorted(self.fallback.items()))
        self._warned: set[str] = set()
        self._warm: View | None = None

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Let the code inside ask for prompts; pin the versions where a run begins."""
        pinned = await self._pinned(call)
        if call.kind in ("node", "task"):
            call.depends("prompts", pinned.view.stamp + self._packaged_stamp)  # which prompts it asks for shows later
        token = ASKING.set(pinned)
        try:
            return await call_next(call)
        finally:
            ASKING.reset(token)

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Let the tool ask for prompts too; what it renders is noted on its own span."""
        token = ASKING.set(await self._pinned(call))
        try:
            return await call_next(call)
        finally:
            ASKING.reset(token)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Put the prompt of the node's settings before the messages; treat the answer as the prompt says."""
        node = call.parent
        above = ASKING.get()
        bound = _asked(above, call.messages) if isinstance(above, _Pinned) and above.owner is self else None
        name, ref = _setting(call) if node is not None and node.kind in ("node", "task") else (None, None)
        if node is not None and name is not None:
            pinned = await self._pinned(call)
            bound = BoundPrompt(*pinned.find(name, ref), pinned)
            rendered = await bound.arender_values(_values(node, bound.prompt))
            call = call.replace(messages=_before(rendered, call), params={**bound.prompt.content.model, **call.params})
        elif bound is not None:
            bound.note(call)
        if bound is None or not (bound.prompt.content.reasoning or bound.prompt.content.output):
            return await call_next(call)
        return await answer_to(bound.prompt, call, call_next, self.on_wrong_output)

    async def _pinned(self, call: Call) -> _Pinned:
        above = ASKING.get()
        if isinstance(above, _Pinned) and above.owner is self and above.call.run.run_id == call.run.run_id:
            return _Pinned(self, above.view, call)
        try:
            view = await self.registry.view()
        except StoreError as error:
            view = _Nothing(error)
        if view is not self._warm and view.entries:
            self._warm = view
            await asyncio.to_thread(self.library.warm, view)
        return _Pinned(self, view, call)

    def find(self, view: View, name: str, ref: str | int) -> AnyPrompt:
        """The version that ``ref`` means in ``view``, else the packaged one."""
        try:
            return self.library.find(view, name, ref, usual=self.label)
        except StoreError as error:
            packaged = self.fallback.get(name)
            if packaged is None or _is_retired(view, packaged):
                raise
            self._warn(name, error)
            return packaged

    def _warn(self, name: str, error: StoreError) -> None:
        if name not in self._warned:
            self._warned.add(name)
            log.warning("The packaged version of prompt %r is used: %s", name, error)


class _Nothing(View):
    """Stands for a database that cannot be read; it says so to whoever asks. Perhaps nobody does."""

    __slots__ = ("error",)

    def __init__(self, error: StoreError) -> None:
        super().__init__(KIND, {})
        self.error = error

    def resolve(self, name: str, ref: str | int = "latest") -> Any:
        raise self.error


class _Pinned:
    """What ``owner`` gives in one call: the same view for all calls of a run."""

    __slots__ = ("call", "chooser", "made", "noted", "owner", "view")

    def __init__(self, owner: Prompts, view: View, call: Call) -> None:
        self.owner, self.view, self.call = owner, view, call
        self.chooser = owner.chooser
        self.noted: set[tuple[str, int]] = set()
        self.made: dict[int, tuple[BaseMessage, BoundPrompt]] = {}  # holds the messages, so that no id is used twice

    def find(self, name: str, ref: str | int | None) -> tuple[AnyPrompt, str | int]:
        if ref is None:
            wanted, label = _setting(self.call)
            ref = label if label is not None and wanted in (None, name) else self.owner.label
        return self.owner.find(self.view, name, ref), ref


def _asked(pinned: _Pinned, messages: Sequence[BaseMessage]) -> BoundPrompt | None:
    """The prompt that one of the messages was rendered from in this node; of several the last."""
    for message in reversed(messages):
        found = pinned.made.get(id(message))
        if found is not None and found[0] is message:
            return found[1]
    return None


def _packaged(folder: Path) -> dict[str, AnyPrompt]:
    from chainops.middleware.prompts.folder import compile_folder

    return compile_folder(folder)


def _is_retired(view: View, packaged: AnyPrompt) -> bool:
    entry = view.entries.get(packaged.name)
    return entry is not None and entry.hashes.get(packaged.sha256, 0) in entry.retired


def _setting(call: Call) -> tuple[str | None, str | int | None]:
    """Name and label in the settings of the node."""
    given = call.metadata.get(SETTING)
    if given is None:
        return None, None
    if isinstance(given, str):
        return given, None
    if isinstance(given, Mapping) and given.keys() <= {"name", "label"}:
        name, label = given.get("name"), given.get("label")
        if (name is None or isinstance(name, str)) and (label is None or isinstance(label, str | int)):
            return name, label
    raise SetupError(
        f"The setting 'prompts' of {call.path!r} is {given!r}",
        hint='Write "prompts": "answer", or "prompts": {"name": "answer", "label": "canary"}.',
        code="setup.node",
    )


def _values(node: Call, prompt: AnyPrompt) -> dict[str, Any]:
    """The variables of the prompt that the node's input has: keys of a state, or fields of an object."""
    given = node.input[1] if node.kind == "task" else node.input
    if not isinstance(given, Mapping):  # never methods and properties: a variable may be called "copy"
        is_record = is_dataclass(given) and not isinstance(given, type)
        given = {f.name: getattr(given, f.name) for f in fields(given)} if is_record else getattr(given, "__dict__", {})
    return {name: given[name] for name in prompt.variables if name in given}


def _before(rendered: Rendered, call: ModelCall) -> tuple[Any, ...]:
    roles = {message.role for message in rendered.messages}
    if "system" in roles and any(message.type == "system" for message in call.messages):
        raise CallError(
            f"Prompt {rendered.name!r} has a system message, and node {call.path!r} passes one of its own",
            hint="Remove the node's, or take the system message out of the prompt.",
            code="prompt.system",
        )
    return (*rendered.to_langchain(), *call.messages)
