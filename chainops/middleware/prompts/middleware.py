"""The prompts middleware: which version of which prompt a run uses, decided once when the run begins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chainops.calls import Call, Kind, ModelCall, ModelNext, ModelResult, NodeCall, NodeNext, ToolCall, ToolNext
from chainops.errors import CallError, SetupError, StoreError
from chainops.held import Versions
from chainops.middleware.prompts.answering import OnWrongOutput, answer_to
from chainops.middleware.prompts.asking import ASKING, BoundPrompt
from chainops.middleware.prompts.choosing import ExampleChooser
from chainops.middleware.prompts.content import FILES, KIND
from chainops.middleware.prompts.library import PromptLibrary
from chainops.middleware.prompts.pinned import NothingThere, PinnedPrompts, asked_of, setting_of
from chainops.middleware.prompts.placing import exchanged, values_for, with_prompt
from chainops.middleware.prompts.shadow import Shadows, answer_unseen
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.middleware.prompts.splits import KIND as SPLIT
from chainops.middleware.prompts.template import Rendered
from chainops.pipeline import Middleware
from chainops.store.registry import Registry, View

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["Prompts"]

log = logging.getLogger("chainops")


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
        self.splits = Registry(path, SPLIT, max_age_s=max_age_s)
        self.shadows = Shadows()
        self.library = PromptLibrary()
        self.fallback = _packaged(Path(fallback)) if fallback is not None else {}
        self._packaged_stamp = "".join(f" {name}@{found.sha256}" for name, found in sorted(self.fallback.items()))
        self._warned: set[str] = set()
        self._warm: View | None = None
        self._force: tuple[tuple[View, View], Versions] | None = None
        self._last_held: tuple[tuple[Any, ...], tuple[View, View]] | None = None

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Let the code inside ask for prompts; pin the versions where a run begins."""
        pinned = await self._pinned(call)
        if call.kind in ("node", "task"):
            call.depends("prompts", pinned.stamp + self._packaged_stamp)  # which prompts it asks for shows later
        token = ASKING.set(pinned)
        try:
            return await call_next(call)
        finally:
            ASKING.reset(token)

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Let the tool ask for prompts too; what it renders is noted on its own span."""
        pinned = await self._pinned(call)
        call.depends("prompts", pinned.stamp + self._packaged_stamp)
        token = ASKING.set(pinned)
        try:
            return await call_next(call)
        finally:
            ASKING.reset(token)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Put the prompt of the node's settings before the messages; treat the answer as the prompt says."""
        node = call.parent
        above = ASKING.get()
        bound, rendered = None, None
        if isinstance(above, PinnedPrompts) and above.owner is self:
            bound, rendered = asked_of(above, call.messages)
        name, ref = setting_of(call) if node is not None and node.kind in ("node", "task") else (None, None)
        plain = call
        if node is not None and name is not None:
            pinned = await self._pinned(call)
            bound = BoundPrompt(pinned.find(name, ref), pinned)
            rendered = await bound.arender_values(values_for(node, bound.prompt))
            call = with_prompt(rendered, bound.prompt, plain)
        elif bound is not None:
            bound.note(call)
        if bound is None or rendered is None:
            return await call_next(call)
        if bound.unseen is not None:
            await self._shadow(bound.unseen, rendered, call, plain, call_next)
        if not (bound.prompt.content.reasoning or bound.prompt.content.output):
            return await call_next(call)
        return await answer_to(bound.prompt, call, call_next, self.on_wrong_output)

    async def drain(self) -> None:
        """Wait until the unseen answers that are under way in this event loop are there."""
        await self.shadows.drain()

    async def _shadow(
        self, prompt: AnyPrompt, seen: Rendered, call: ModelCall, plain: ModelCall, call_next: ModelNext
    ) -> None:
        """Let ``prompt`` answer unseen; whatever goes wrong changes nothing for the call."""
        try:
            values = {name: value for name, value in seen.values.items() if name in prompt.variables}
            examples = await self.chooser.choose(prompt, values) if self.chooser and prompt.choosers else None
            other = prompt.render(values, examples)
            if call is not plain:
                unseen = with_prompt(other, prompt, plain)
            else:
                unseen = call.replace(messages=exchanged(call.messages, ASKING.get(), seen, other))
        except (CallError, SetupError) as error:
            call.annotate("prompts", shadow=f"not asked: {error.message}")
            return
        if not self.shadows.start(answer_unseen(prompt, unseen, call_next)):
            call.annotate("prompts", shadow="not asked: too many unseen answers are under way")

    async def _pinned(self, call: Call) -> PinnedPrompts:
        above = ASKING.get()
        if isinstance(above, PinnedPrompts) and above.owner is self and above.call.run.run_id == call.run.run_id:
            return PinnedPrompts(self, above.view, above.splits, call)
        try:
            view, splits = await self.registry.view(), await self.splits.view()
        except StoreError as error:
            view, splits = NothingThere(error), View(SPLIT, {})
        if view is not self._warm and view.entries:
            self._warm = view
            await asyncio.to_thread(self.library.warm, view)
        if (held := call.run.held) is not None:
            view, splits = self._held(view, splits, held)
        return PinnedPrompts(self, view, splits, call)

    def _held(self, view: View, splits: View, held: Versions) -> tuple[View, View]:
        """The views with labels that mean what ``held`` says; made once for as long as neither changes."""
        parts = view, splits, held.get(KIND, {}), held.get(SPLIT, {})
        last = self._last_held
        if last is None or not all(a is b for a, b in zip(last[0], parts, strict=True)):
            last = self._last_held = parts, (view.held(parts[2]), splits.held(parts[3]))
        return last[1]

    def describe(self) -> Mapping[str, Any]:
        """Its settings, and the packaged versions."""
        return {
            "label": self.label,
            "on_wrong_output": self.on_wrong_output,
            "embedder": None if self.chooser is None else self.chooser.embedder.identity,
            "fallback": {name: prompt.sha256 for name, prompt in sorted(self.fallback.items())},
        }

    async def in_force(self) -> Versions:
        """What every label of every prompt, and of every split, means now."""
        try:
            views = await self.registry.view(), await self.splits.view()
        except StoreError:
            return {}
        if self._force is None or self._force[0] != views:
            follows = f"@{FILES}" if self.label != FILES else None  # moves with every sync, and is no release
            prompts = {key: to for key, to in views[0].labels().items() if not follows or not key.endswith(follows)}
            self._force = views, {KIND: prompts, SPLIT: views[1].labels()}
        return self._force[1]

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

    def warn_of_arm(self, name: str, number: int, error: StoreError) -> None:
        """Say once that a version of a split cannot be used."""
        if f"{name}@{number}" not in self._warned:
            self._warned.add(f"{name}@{number}")
            log.warning("Version %s of prompt %r is left out of its split: %s", number, name, error)

    def _warn(self, name: str, error: StoreError) -> None:
        if name not in self._warned:
            self._warned.add(name)
            log.warning("The packaged version of prompt %r is used: %s", name, error)


def _packaged(folder: Path) -> dict[str, AnyPrompt]:
    from chainops.middleware.prompts.folder import compile_folder

    return compile_folder(folder)


def _is_retired(view: View, packaged: AnyPrompt) -> bool:
    entry = view.entries.get(packaged.name)
    return entry is not None and entry.hashes.get(packaged.sha256, 0) in entry.retired
