"""What is asked of a session, and what it tells back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from chainops.engines.llama.sampling import Sampling

if TYPE_CHECKING:
    from chainops.engines.llama.worker import Worker

__all__ = ["AdapterUse", "Ask", "Event", "Finished", "Outbox", "Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterUse:
    """A LoRA adapter for one call: its file (``sha256`` empty: not compared) and how much of it."""

    name: str
    path: str
    sha256: str = ""
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One call of the model.

    Args:
        messages: OpenAI-style dictionaries of JSON values.
        tools: OpenAI-style tool descriptions for the chat template.
        tools_callable: tool calls are read out of the answer.
        sampling: how tokens are chosen.
        max_tokens: at most this many tokens; None: as many as the context holds.
        stop: the answer ends before the first of these strings.
        one_call: where calls are free, the answer ends with the first of them.
        forced: name of the tool that must be called, or "any"; empty: nothing is forced.
        timeout: seconds from now until the call fails; None: never.
        pin: generate nothing; compute what every prompt that begins with ``messages`` has in common, and keep it.
        priority: of those that wait, the highest is answered first; of equals, the one that came first.
        adapters: what is added to the weights, for this call only.
        answer_schema: JSON schema, as JSON text, that the whole answer must fit; empty: any text.
        top_logprobs: tell how likely each token was, and so many likeliest others; None: tell nothing.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    tools_callable: bool = False
    one_call: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    forced: str = ""
    timeout: float | None = None
    priority: int = 0
    pin: bool = False
    adapters: tuple[AdapterUse, ...] = ()
    answer_schema: str = ""
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an answer ended. Times are milliseconds.

    Args:
        reason: ``"stop"``: the model or a stop string ended it; ``"length"``: max_tokens or the context did.
        prompt_tokens: tokens of the prompt, reused ones included.
        cached_tokens: tokens of the prompt that were copied from another call's instead of computed.
        completion_tokens: tokens generated, without the one that ends the answer.
        queue_ms: waiting for a place (and, the first time, for loading).
        prefill_ms: computing the prompt.
        ttft_ms: from the call to the first token.
        decode_ms: from the end of the prompt to the end of the answer.
        adapters: what was added to the weights, with the hashes of the files.
        logprobs: one dictionary for each generated token, if that was asked for.
    """

    reason: Literal["stop", "length"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    queue_ms: float
    prefill_ms: float
    ttft_ms: float
    decode_ms: float
    adapters: tuple[AdapterUse, ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second of ``decode_ms``; 0 when nothing was generated."""
        return self.completion_tokens / self.decode_ms * 1000 if self.decode_ms else 0.0


Event = str | Finished | BaseException
"""Text as it comes; then the end or an error."""


@dataclass(slots=True, eq=False)
class Request:
    """An :class:`Ask` on its way.

    Args:
        put: takes an event; called in the thread of ``loop``, or in any thread if there is none.
        loop: the event loop that waits for the answer.
        cancelled: may be set by any thread; the worker stops within one step.
    """

    ask: Ask
    put: Callable[[Event], None]
    loop: asyncio.AbstractEventLoop | None = None
    cancelled: bool = False
    submitted: float = field(default_factory=time.monotonic)

    def give(self, worker: Worker) -> None:
        """Let ``worker`` answer it."""
        worker.submit(self)

    def deliver(self, event: Event) -> None:
        """Bring one event to whoever waits."""
        outbox = Outbox()
        outbox.add(self, event)
        outbox.flush()

    @property
    def is_over(self) -> bool:
        """Nobody waits any more, or its time has passed."""
        return self.cancelled or self.seconds_left == 0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the timeout, 0 when it has passed; None: there is none."""
        if self.ask.timeout is None:
            return None
        return max(self.submitted + self.ask.timeout - time.monotonic(), 0.0)


class Outbox:
    """Events of one step, brought to each event loop in one go: waking a loop costs more than all the rest."""

    def __init__(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, list[tuple[Request, Event]]] = {}

    def add(self, request: Request, event: Event) -> None:
        """Queue an event; one without a loop is delivered at once."""
        if request.loop is None:
            request.put(event)
        else:
            self._loops.setdefault(request.loop, []).append((request, event))

    def flush(self) -> None:
        """Deliver all. Requests of a closed loop are marked as cancelled: nobody can wait any more."""
        for loop, items in self._loops.items():
            try:
                loop.call_soon_threadsafe(_put_all, items)
            except RuntimeError:
                for request, _ in items:
                    request.cancelled = True
        self._loops.clear()


def _put_all(items: list[tuple[Request, Event]]) -> None:
    for request, event in items:
        request.put(event)
