"""The trace middleware: one span per call, into one SQLite file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from chainops.calls import (
    NO_SETTINGS,
    Call,
    Emit,
    Kind,
    ModelCall,
    ModelNext,
    ModelResult,
    NodeCall,
    NodeNext,
    ToolCall,
    ToolNext,
)
from chainops.calls import discard as _discard
from chainops.errors import SetupError
from chainops.middleware.trace.outcome import note_error, note_model, request_of
from chainops.middleware.trace.recorder import Mask, Masking, Sink, TraceRun, TraceSpan
from chainops.middleware.trace.sampling import HeldRun, is_sampled
from chainops.pipeline import Middleware
from chainops.recorder import NO_RECORDER
from chainops.store.options import OnFull, WriterOptions, WriterStats
from chainops.store.writer import Writer, shared_writer

__all__ = ["Trace"]

log = logging.getLogger("chainops")
C = TypeVar("C", bound=Call)


class Trace(Middleware):
    """Stores a span for every run, node, route, task, model, tool and retriever call. Must be the outermost layer.

    It only watches: whatever goes wrong in it, the call goes on. The file is opened by a thread of its own when the
    first span comes. Several processes may write into one file.

    Args:
        path: the SQLite file; made when it does not exist.
        mask: called with every input, output, set of attributes and error text, as plain JSON values, before it is
            queued; what it returns is stored. When it raises, ``"<masking failed: TypeName>"`` is stored instead. Where
            it has a method ``for_run(run)``, what that returns is called for the values of that run.
        sample: share of runs to store, 0 to 1; chosen by the run's id, so that all processes choose alike.
        keep_errors: also store runs outside the sample in which a call failed or was blocked.
        keep_slow_ms: also store runs outside the sample that took at least so many milliseconds.
        content: False stores neither inputs nor outputs.
        max_payload_bytes: inputs and outputs are cut after so many bytes of JSON; the full size is noted.
        max_queue: spans that may wait for the disk.
        on_full: ``drop_payload``, ``drop_new`` or ``block``, see :class:`~chainops.store.options.WriterOptions`.
        batch_ms: longest time in milliseconds that an ended span waits for its commit.

    Raises:
        SetupError: a value is out of range (``setup.trace``).
    """

    name: ClassVar[str] = "trace"
    outside: ClassVar[tuple[str, ...]] = (
        "access",
        "limits",
        "experiment",
        "prompts",
        "compress",
        "rails",
        "pii",
        "semantic_cache",
        "cache",
        "route",
        "retry",
    )
    kinds: ClassVar[frozenset[Kind]] = frozenset({"run", "node", "route", "task", "model", "tool", "retriever"})
    suspends: ClassVar[bool] = False

    def __init__(
        self,
        path: str | Path = "chainops.db",
        *,
        mask: Mask | None = None,
        sample: float = 1.0,
        keep_errors: bool = True,
        keep_slow_ms: float | None = None,
        content: bool = True,
        max_payload_bytes: int = 65_536,
        max_queue: int = 20_000,
        on_full: OnFull = "drop_payload",
        batch_ms: float = 20.0,
    ) -> None:
        _check(0 <= sample <= 1, "sample", sample, "a share between 0 and 1")
        _check(keep_slow_ms is None or keep_slow_ms >= 0, "keep_slow_ms", keep_slow_ms, "milliseconds, or None")
        _check(max_payload_bytes >= 0, "max_payload_bytes", max_payload_bytes, "a number of bytes")
        _check(max_queue >= 1, "max_queue", max_queue, "1 or more")
        _check(on_full in ("drop_payload", "drop_new", "block"), "on_full", on_full, "drop_payload, drop_new or block")
        _check(batch_ms >= 0, "batch_ms", batch_ms, "milliseconds")
        _check(mask is None or callable(mask), "mask", mask, "a function, or None")
        self.path = Path(path)
        self.sample = sample
        self.keep_errors = keep_errors
        self.keep_slow_ms = keep_slow_ms
        self.failures = 0
        self._options = WriterOptions(
            max_queue=max_queue, on_full=on_full, max_payload_bytes=max_payload_bytes, batch_ms=batch_ms
        )
        self._masking = Masking(mask, content)
        self._writer: Writer | None = None

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """A span around a node, route, task or run."""
        span = self._begin(call)
        if span is None:
            return await call_next(call)
        try:
            result = await call_next(_with(call, span))
        except BaseException as error:
            self._failed(span, error)
            raise
        self._done(span, result)
        return result

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """A span around a model call, with tokens and the time to the first one."""
        span = self._begin(call)
        if span is None:
            return await call_next(call)
        self._describe(_describe_model, span, call)
        emit = _FirstToken(span, call.emit) if call.streaming or call.emit is not _discard else None
        try:
            result = await call_next(_with(call, span, emit))
        except BaseException as error:
            self._failed(span, error)
            raise
        self._done(span, result)
        return result

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """A span around a tool or retriever call."""
        span = self._begin(call)
        if span is None:
            return await call_next(call)
        if call.call_id is not None:
            span.attach({"tool_call_id": call.call_id})
        try:
            result = await call_next(_with(call, span))
        except BaseException as error:
            self._failed(span, error)
            raise
        self._done(span, result)
        return result

    def describe(self) -> Mapping[str, Any]:
        """Nothing: what is recorded changes no answer."""
        return {}

    def flush(self, timeout: float = 10.0) -> int:
        """Wait until all spans that have ended are committed; returns how many are durable in this process so far.

        Blocks its thread for at most ``timeout`` seconds: in a coroutine, ``await asyncio.to_thread(trace.flush)``.
        """
        return 0 if self._writer is None else self._writer.flush(timeout)

    def close(self, timeout: float = 10.0) -> WriterStats | None:
        """Store what waits and close the file. A later call opens it again. Done at exit anyway."""
        writer, self._writer = self._writer, None
        return None if writer is None else writer.close(timeout)

    @property
    def stats(self) -> WriterStats | None:
        """What became of this process' spans; None before the first."""
        return None if self._writer is None else self._writer.stats

    @property
    def writer(self) -> Writer:
        """The writer of the file."""
        writer = self._writer
        if writer is None or writer.closed:
            writer = self._writer = shared_writer(self.path, self._options)
        return writer

    def _begin(self, call: Call) -> TraceSpan | None:
        try:
            writer = self._writer
            if writer is None or writer.closed:
                writer = self.writer
            parent = _enclosing(call, writer)
            if parent is not None:
                run = parent.run
            else:
                sink = self._sink(writer, call.run.run_id)
                if sink is None:
                    return None
                run = TraceRun(call.run, call.run.graph or call.name, self._masking.of(call.run), sink, writer)
            given = run.masking.payload(call.input)
            span = TraceSpan(run, parent, call.kind, call.name, call.path, call.attempt, given)
            if call.settings is not NO_SETTINGS and call.off:
                span.attach({"off": sorted(call.off)})
            return span if run.sink.opened(span) else None
        except Exception as error:  # noqa: BLE001  an observer never breaks a call
            self._own_failure(error)
            return None

    def _sink(self, writer: Writer, run_id: str) -> Sink | None:
        if self.sample >= 1 or is_sampled(run_id, self.sample):
            return writer
        if self.keep_errors or self.keep_slow_ms is not None:
            return HeldRun(writer, self.keep_errors, self.keep_slow_ms)
        return None

    def _done(self, span: TraceSpan, result: Any) -> None:
        try:
            if span.kind == "model" and isinstance(result, ModelResult):
                note_model(span, result)
                result = result.message
            span.output = span.run.masking.payload(result)
        except Exception as error:  # noqa: BLE001
            self._own_failure(error)
        # LangGraph ends a run that waits for a person like any other.
        span.status = "paused" if span.parent is None and span.run.paused else "ok"
        span.finish()

    def _failed(self, span: TraceSpan, error: BaseException) -> None:
        try:
            note_error(span, error)
        except Exception as own:  # noqa: BLE001
            span.status = "error"
            self._own_failure(own)
        span.finish()

    def _describe(self, describe: Callable[[TraceSpan, Any], None], span: TraceSpan, call: Call) -> None:
        try:
            describe(span, call)
        except Exception as error:  # noqa: BLE001
            self._own_failure(error)

    def _own_failure(self, error: Exception) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning("The trace middleware failed and the call went on: %r (please report this)", error)


class _FirstToken:
    """An ``emit`` that notes when the first chunk passed."""

    __slots__ = ("emit", "span")

    def __init__(self, span: TraceSpan, emit: Emit) -> None:
        self.span = span
        self.emit = emit

    async def __call__(self, chunk: Any) -> None:
        details = self.span.more()
        if details.first_token_ns is None:
            details.first_token_ns = time.perf_counter_ns() - self.span.clock
        await self.emit(chunk)


def _describe_model(span: TraceSpan, call: ModelCall) -> None:
    span.more().model = call.name
    if call.streaming:
        span.attach({"streaming": True})
    if request := request_of(call):
        span.attach({"request": span.run.masking.mapping(request)})


def _enclosing(call: Call, writer: Writer) -> TraceSpan | None:
    """The span of the nearest call around this one that went into the same file."""
    above = call.parent
    while above is not None:
        recorder = above.recorder
        if isinstance(recorder, TraceSpan) and recorder.run.writer is writer:
            return recorder
        above = above.parent
    return None


def _with(call: C, span: TraceSpan, emit: Emit | None = None) -> C:
    """``call`` with ``span`` as its recorder.

    ``call.replace`` would be the most expensive part of tracing. A call that nobody has recorded yet comes straight
    from the adapter, so the recorder is put into that very object; one that an outer layer sends a second time
    already has a recorder, and is copied.
    """
    if emit is not None:
        return call.replace(recorder=span, emit=emit)
    if call.recorder is not NO_RECORDER:
        return call.replace(recorder=span)
    _set_recorder(call, span)
    return call


_set_recorder = getattr(Call, "recorder").__set__  # noqa: B009


def _check(good: bool, name: str, value: object, wanted: str) -> None:
    if not good:
        raise SetupError(f"Trace({name}={value!r}) is not {wanted}", hint=f"Change {name}.", code="setup.trace")
