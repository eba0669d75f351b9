"""The middleware: personal data becomes placeholders where it enters a graph, and itself again where it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from chainops.calls import (
    Call,
    Handler,
    Kind,
    ModelCall,
    ModelNext,
    ModelResult,
    NodeCall,
    NodeNext,
    RunContext,
    ToolCall,
    ToolNext,
)
from chainops.errors import SetupError
from chainops.gate import GatedStream
from chainops.layer import ALL_KINDS, Middleware, Streaming
from chainops.middleware.pii.answer import bind, restoring
from chainops.middleware.pii.errors import members, said, say
from chainops.middleware.pii.finding import Detector
from chainops.middleware.pii.scanner import PatternDetector, Scanner
from chainops.middleware.pii.scrub import Scrubber
from chainops.middleware.pii.search import INLINE, Search
from chainops.middleware.pii.stream import PiiWatch
from chainops.middleware.pii.thread import Thread, Threads, placeholders
from chainops.middleware.pii.values import rebuild
from chainops.store.vault import Keys, Vault

__all__ = ["Pii"]

REMOVED = ("SECRET", "API_KEY", "PRIVATE_KEY", "JWT")


class Pii(Middleware):
    """Nothing inside this layer sees personal data: models, caches, checkpoints and inner spans get ``<EMAIL_1>``.

    The input of the outermost run is searched before the graph gets it, and so is what nodes, models, tools and
    retrievers return. A value has one placeholder in its thread, always the same. Where the run's output or stream
    leaves, the placeholders of that thread become values again. Calls fail where a value cannot be kept.

    Give :meth:`scrubber` to the trace, which stands outside and records what comes in: ``Trace(mask=pii.scrubber())``.

    Args:
        vault: the encrypted file that keeps values by thread; None keeps them in memory, for this process.
        key: 32 bytes as base64 or hex, see :func:`~chainops.store.vault.new_key`. Needed with a vault.
        kinds: which :data:`KINDS` are looked for.
        removed: kinds of which nothing is kept: they leave as ``<SECRET>``, and are never restored.
        detectors: more :class:`Detector` s. With any, streams wait for their end.
        threshold: findings with a lower score are ignored, 0 to 1.
        restore: False leaves placeholders in what leaves the run.
        plain_tools: globs on names of tools that get the values themselves; what they return is searched again.
        ttl_s: seconds after which values of a thread that nobody used are forgotten.
        tenant_key, user_key: where a run's metadata has the tenant and the user. The user is the subject of erasure.

    Raises:
        SetupError: an option is impossible (``setup.pii``), or the key is missing or none (``setup.pii_key``).
    """

    name: ClassVar[str] = "pii"
    outside: ClassVar[tuple[str, ...]] = ("semantic_cache", "cache", "route", "retry")
    inside: ClassVar[tuple[str, ...]] = ("trace", "rails")
    kinds: ClassVar[frozenset[Kind]] = ALL_KINDS
    streaming: ClassVar[Streaming] = "window"

    def __init__(
        self,
        vault: str | Path | None = None,
        *,
        key: str | None = None,
        kinds: Collection[str] | None = None,
        removed: Collection[str] = REMOVED,
        detectors: Sequence[Detector] = (),
        threshold: float = 0.5,
        restore: bool = True,
        plain_tools: Sequence[str] = (),
        ttl_s: float = 2_592_000.0,
        tenant_key: str = "tenant",
        user_key: str = "user",
    ) -> None:
        if vault is not None and key is None:
            raise SetupError(
                f"The vault {vault} has no key",
                hint='export CHAINOPS_PII__KEY="$(chainops pii key)", and keep it.',
                code="setup.pii_key",
            )
        if ttl_s <= 0:
            raise SetupError(f"ttl_s is {ttl_s}", hint="Give seconds, more than 0.", code="setup.pii")
        self.scanner = Scanner([PatternDetector(kinds), *detectors], threshold=threshold)
        self._search = Search(inline=0 if detectors else INLINE, blocks=vault is not None)
        self.restores, self.plain_tools = restore, tuple(plain_tools)
        self._keys = Keys(key)
        self._vault = None if vault is None else Vault(vault, self._keys, ttl_s=ttl_s)
        self._threads = Threads(self.scanner, self._vault, frozenset(removed), tenant_key, user_key, ttl_s)

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """The way into a run and out of it; around a node, its result."""
        if call.kind == "run":
            return await self._run(call, call_next) if call.parent is None else await call_next(call)
        thread = await self._thread(call)
        if call.kind == "route":
            return await self._sent(call, call_next, thread)
        options = call.metadata.get("pii") or {}
        plain = isinstance(options, Mapping) and bool(options.get("plain"))
        return await self._through(call, call_next, thread, plain)

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Around a tool or retriever: placeholders or, for tools that may have them, values in; placeholders out."""
        thread = await self._thread(call)
        plain = any(fnmatchcase(call.name, glob) for glob in self.plain_tools)
        if call.parent is None:
            call = call.replace(args=await self._search.clean(call, thread, call.args))
        return await self._through(call, call_next, thread, plain)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Around a model: its messages and its answer, also while it streams."""
        thread = await self._thread(call)
        messages = await self._search.clean(call, thread, list(call.messages))
        outermost = call.parent is None and self.restores
        emit = restoring(call.emit, thread) if outermost else call.emit
        call.at_engine(self.name, self._guarded(call, thread))
        try:
            result = await call_next(call.replace(messages=messages, emit=emit))
        finally:
            if call.parent is None:
                self._threads.drop(call.run)
        if outermost:
            message = rebuild(result.message, thread.restore)
            result = result if message is result.message else result.replace(message=message)
        return result

    def describe(self) -> Mapping[str, Any]:
        """The options that change what the layers inside see."""
        return {
            "kinds": [d.kinds if isinstance(d, PatternDetector) else type(d).__name__ for d in self.scanner.detectors],
            "threshold": self.scanner.threshold,
            "restore": self.restores,
            "plain_tools": self.plain_tools,
        }

    def scrubber(self) -> Scrubber:
        """What keeps personal data out of a trace: give it to ``Trace(mask=...)``."""
        return Scrubber(self.scanner, self._keys, self._threads)

    def restore(self, value: Any, call: Call) -> Any:
        """``value`` with the values of the call's thread in place of its placeholders; for a node that may see them.

        What the node makes of them is private to the user from then on: no cache gives it to others.
        """
        call.mark_private()
        return rebuild(value, self._threads.of(call.run).restore)

    async def reveal(self, value: Any, thread_id: str, **metadata: Any) -> Any:
        """``value`` with the values of a thread in place of its placeholders: for a history read from a checkpoint.

        ``metadata``: as its runs have it, where they name a tenant. Who may read the thread is yours to check.
        """
        thread = await asyncio.to_thread(self._threads.refresh, _context(thread_id, metadata))
        return rebuild(value, thread.restore)

    async def conceal(self, value: Any, thread_id: str, **metadata: Any) -> Any:
        """``value`` with placeholders of a thread: for what goes into a checkpoint past the graph's nodes.

        ``metadata``: as its runs have it, with the user, to whom erasure refers.
        """
        thread = await asyncio.to_thread(self._threads.refresh, _context(thread_id, metadata))
        return await self._search.clean(None, thread, value)

    def close(self) -> None:
        """Close the vault."""
        if self._vault is not None:
            self._vault.close()

    async def _thread(self, call: Call) -> Thread:
        """The thread of a call; the outermost call reads anew what other processes have kept."""
        if call.parent is not None:
            return self._threads.of(call.run)
        if self._vault is None or call.thread is None:
            return self._threads.refresh(call.run)
        return await asyncio.to_thread(self._threads.refresh, call.run)

    async def _run(self, call: NodeCall, call_next: NodeNext) -> Any:
        thread = await self._thread(call)
        given = await self._search.clean(call, thread, call.input)
        # LangGraph writes the metadata of a run into its checkpoints
        metadata = call.config.get("metadata") or {}
        if (cleaned := await self._search.clean(call, thread, metadata)) is not metadata:
            call = call.replace(config={**call.config, "metadata": cleaned})
        emit = restoring(call.emit, thread) if self.restores else call.emit
        try:
            # the result goes to the layers around only, the caller reads what was emitted: no value need be in it
            return await call_next(call.replace(input=given, emit=emit))
        except Exception as error:
            if self.restores:
                for member in members(error):
                    say(member, rebuild(said(member), thread.restore))
            raise
        finally:
            self._threads.drop(call.run)

    async def _sent(self, call: NodeCall, call_next: NodeNext, thread: Thread) -> Any:
        """What a conditional edge sends to nodes; their names stay as they are."""
        chosen = await self._search.unless_it_fails(call, thread, call.input, call_next(call))
        if isinstance(chosen, list | tuple):
            return [one if isinstance(one, str) else await self._search.clean(call, thread, one) for one in chosen]
        return chosen if isinstance(chosen, str) else await self._search.clean(call, thread, chosen)

    async def _through(self, call: Any, call_next: Callable[[Any], Awaitable[Any]], thread: Thread, plain: bool) -> Any:
        """Search the result at the engine itself, inside the caches; hand it values, where it may have them, there."""

        def wrap(original: Handler) -> Handler:
            async def engine(inner: Any) -> Any:
                given = inner.input
                if plain:
                    field = "args" if isinstance(inner, ToolCall) else "input"
                    inner = inner.replace(**{field: rebuild(given, thread.restore)})
                result = await self._search.unless_it_fails(call, thread, given, original(inner))
                result = await self._search.clean(call, thread, result)
                bind(call, thread, given, result)
                return result

            return engine

        if plain and (values := {p: thread.value(p) for p in placeholders(call.input)}):
            # a cache inside sees placeholders, the tool does not: equal ones may stand for other values elsewhere
            macs = {p: self._keys.mac("cache", value).hex() for p, value in values.items() if value is not None}
            call.depends(self.name, macs)
        call.at_engine(self.name, wrap)
        return await call_next(call)

    def _guarded(self, call: ModelCall, thread: Thread) -> Callable[[Handler], Handler]:
        """The model itself, with its answer searched: inside the caches, so that they keep placeholders."""

        def wrap(original: Handler) -> Handler:
            async def engine(inner: ModelCall) -> ModelResult:
                # a value that has no placeholder yet waits in the stream until the vault has it
                kept = None if self._vault is None else thread.lookup
                watch = PiiWatch(self.scanner, thread.placeholder, thread.known(), kept)
                stream = GatedStream(inner.emit, watch)

                async def emit(chunk: Any) -> None:
                    await stream(chunk)
                    if watch.wanted:
                        new, watch.wanted = watch.wanted, []
                        await asyncio.to_thread(thread.keep, new)

                answered = original(inner.replace(emit=stream if kept is None else emit))
                result: ModelResult = await self._search.unless_it_fails(call, thread, inner.messages, answered)
                message = await self._search.answer(call, thread, watch, result.message)
                bind(call, thread, inner.messages, message)
                await stream.end(message)
                return result if message is result.message else result.replace(message=message)

            return engine

        return wrap


def _context(thread_id: str, metadata: Mapping[str, Any]) -> RunContext:
    return RunContext(run_id="", thread_id=thread_id, metadata=metadata)
