"""The compression middleware: a prompt fits into the window of its model, or the call is refused with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from chainops.calls import Call, Kind, ModelCall, ModelNext, ModelResult, ToolCall, ToolNext
from chainops.errors import ChainopsError, SetupError
from chainops.layer import Middleware
from chainops.memory import Turns
from chainops.middleware.compress.asking_model import asker
from chainops.middleware.compress.budget import Budget, budget_of
from chainops.middleware.compress.clearing import FETCH
from chainops.middleware.compress.counting import Counts, KnownCounts, upper_bound
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.fitting import ensure, fits
from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.ingest import shorter_result
from chainops.middleware.compress.pays import Speeds
from chainops.middleware.compress.prefix import Prefixes
from chainops.middleware.compress.recall import Place, recall, room_of
from chainops.middleware.compress.shorten import Ran, shorten
from chainops.middleware.compress.stages import STRATEGIES, Job, Strategy, stages_of
from chainops.middleware.compress.summary import Ask, Summaries

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chainops.embedding import Embedder

__all__ = ["Compress"]

NODE_KEYS = frozenset(
    {"strategy", "last_n", "window", "answer_reserve", "tools_reserve", "target_tokens", "ingest_tokens"}
)
AT_ONCE = 10_000
"""Characters that are counted on the event loop: a millisecond or two."""


class Compress(Middleware):
    """Makes prompts fit the window of their model. What fits passes as it is.

    Tokens are counted with the vocabulary of the model itself where that is on this machine (``ChatLlama``, or a model
    with ``custom_get_token_ids``), else with a table whose error is known and kept free. An assistant message and the
    results of its tool calls stay together, system messages and the last question stay, the order stays.

    A node's setting ``compress`` is the name of a strategy, ``"off"``, or a table with ``strategy``, ``last_n``,
    ``window``, ``answer_reserve``, ``tools_reserve`` and ``target_tokens``.

    Args:
        strategy: ``lossless`` changes the form only; ``balanced`` also leaves out what the last question does not ask
            for; ``aggressive`` also shortens the rest, and trims to the target; ``trim`` drops the oldest groups;
            ``last_n`` keeps the last messages.
        last_n: messages that the strategy ``last_n`` keeps beside system messages.
        target_tokens: what longer prompts are compressed to where that saves more time than it takes, although the
            window is larger; None: only what must be.
        windows: tokens of the window by glob on the model's name; else what the model's ``profile`` says. Where neither
            says anything, only ``target_tokens`` and ``last_n`` count.
        answer_reserve: tokens kept free for the answer; None: ``max_tokens`` of call or model, at most a quarter.
        tools_reserve: tokens kept free for definitions of tools, if these have fewer.
        step: share of the limit by which the cut moves on, so that prompts of one conversation begin alike for a while.
        keep_results: results of tools that stay when older ones are cleared.
        ingest_tokens: results of tools and documents of retrievers that have more are made shorter once, before they
            enter the conversation; None: they are not.
        summary: what does not fit is told in a few sentences by a model before it is dropped.
        summarizer: the model that does; None: the one that is being called.
        turns: the index into which turns go that leave the prompt, and from which those come back that the question is
            about; or what finds it for a call. Only in runs with a thread. None: there is none.
        user_key, tenant_key: where the metadata of a run names whose turns they are.
        fold_comments: comments of code in fences may go, too.
        embedder: compares by meaning; None: stages that do so go by words alone.

    Raises:
        SetupError: code ``setup.compress``, for a setting that is none.
    """

    name: ClassVar[str] = "compress"
    inside: ClassVar[tuple[str, ...]] = ("trace", "access", "limits", "experiment", "prompts")
    outside: ClassVar[tuple[str, ...]] = ("rails", "pii", "semantic_cache", "cache", "route", "retry")
    kinds: ClassVar[frozenset[Kind]] = frozenset({"model", "tool", "retriever"})

    def __init__(
        self,
        strategy: Strategy = "balanced",
        *,
        last_n: int = 5,
        target_tokens: int | None = None,
        windows: Mapping[str, int] | None = None,
        answer_reserve: int | None = None,
        tools_reserve: int = 0,
        step: float = 0.25,
        keep_results: int = 3,
        ingest_tokens: int | None = None,
        summary: bool = False,
        summarizer: BaseChatModel | None = None,
        turns: Turns | Callable[[Call], Turns | None] | None = None,
        user_key: str = "user",
        tenant_key: str = "tenant",
        fold_comments: bool = False,
        embedder: Embedder | None = None,
    ) -> None:
        _check(strategy in STRATEGIES, "strategy", strategy)
        _check(last_n > 0, "last_n", last_n)
        _check(target_tokens is None or target_tokens > 0, "target_tokens", target_tokens)
        _check(ingest_tokens is None or ingest_tokens > 0, "ingest_tokens", ingest_tokens)
        _check(0 <= step <= 1, "step", step)
        self.strategy, self.last_n, self.target_tokens = strategy, last_n, target_tokens
        self.windows = dict(windows or {})
        self.answer_reserve, self.tools_reserve, self.step = answer_reserve, tools_reserve, step
        self.keep_results, self.fold_comments = keep_results, fold_comments
        self.ingest_tokens, self.summary, self.summarizer = ingest_tokens, summary, summarizer
        self.turns, self.user_key, self.tenant_key = turns, user_key, tenant_key
        self.embedder = embedder
        self._counts = KnownCounts()
        self._speeds, self._prefixes, self._summaries = Speeds(), Prefixes(), Summaries()

    def describe(self) -> Mapping[str, Any]:
        """Its settings."""
        names = (
            *("strategy", "last_n", "target_tokens", "windows", "answer_reserve", "tools_reserve", "step"),
            *("keep_results", "fold_comments", "ingest_tokens", "summary"),
        )
        embedder = None if self.embedder is None else self.embedder.identity
        return {**{name: getattr(self, name) for name in names}, "embedder": embedder}

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Pass on what fits; shorten the rest."""
        node = self._node(call)
        if node is None:
            return await call_next(call)
        counts = self._counts.of(call.model, call.name)
        if not counts.ready:
            try:
                await asyncio.to_thread(lambda: counts.frame)
            except ChainopsError:  # a model that cannot be loaded says so when it is called
                return await call_next(call)
        budget = self._budget(call, counts, node)
        strategy = node.get("strategy", self.strategy)
        n = node.get("last_n", self.last_n)
        if _surely_fits(call, counts, budget) and (strategy != "last_n" or _others(call.messages) <= n):
            return await self._send(call, call_next)
        ask = asker(call, call_next, self.summarizer) if self.summary else None
        messages = await self._fit(call, counts, budget, strategy, n, ask)
        return await self._send(call if messages is None else call.replace(messages=messages), call_next)

    async def _send(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Ask the model, and learn how fast it reads and what it has in its cache now."""
        if call.thread is not None:
            self._prefixes.sent((call.thread, call.path), call.messages)
        result = await call_next(call)
        message = result.message
        self._speeds.saw_answer(call.name, message.response_metadata, message.usage_metadata)
        return result

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Make long results shorter once, where ``ingest_tokens`` says so."""
        result = await call_next(call)
        node = self._node(call)
        most = None if node is None else node.get("ingest_tokens", self.ingest_tokens)
        if most is None or node is None:
            return result
        strategy = node.get("strategy", self.strategy)
        result, before, after = await shorter_result(
            call, result, most, self._counts.any_text(), strategy, self.embedder
        )
        if before:
            call.annotate(self.name, tokens_before=before, tokens_after=after, strategy=strategy)
        return result

    async def _fit(
        self, call: ModelCall, counts: Counts, budget: Budget, strategy: Strategy, n: int, ask: Ask | None
    ) -> tuple[Any, ...] | None:
        """The messages that fit; None: those of the call do."""
        much = counts.unknown(call.messages) > AT_ONCE
        draft = await asyncio.to_thread(Draft, call.messages, counts) if much else Draft(call.messages, counts)
        margin = 1 + counts.counter.error
        limit = None if budget.limit is None else int(budget.limit / margin)
        goal = limit if budget.target is None else min(budget.target, limit or budget.target)  # a wish has no margin
        before = draft.tokens
        place = Place.of(self.turns(call) if callable(self.turns) else self.turns, call, self.user_key, self.tenant_key)
        if strategy != "last_n" and (goal is None or await fits(call, draft, budget, goal)):
            return None
        room = 0 if place is None else room_of(limit, before)
        job = Job(
            goal=before if goal is None else goal if limit is None else min(goal, limit - room),
            limit=None if limit is None else limit - room,
            strategy=strategy,
            last_n=n,
            step=max(int((limit or goal or 0) * self.step), 1),
            keep_results=self.keep_results,
            can_fetch=any(_tool_name(tool) == FETCH for tool in call.params.get("tools") or ()),
            fold_comments=self.fold_comments,
            embedder=self.embedder,
            ask=ask,
            summaries=self._summaries,
        )
        key = (call.thread, call.path)
        cached = draft.tokens_of(self._prefixes.same(key, draft.messages))
        spans = call.recorder.span
        ran = await shorten(draft, job, stages_of(strategy), spans, self._speeds, call.name, cached)
        while draft.lost():  # a group is gone that said what was left out elsewhere: once more, without that group
            left = set(draft.places)
            draft = Draft(call.messages, counts)
            draft.drop([group for group in draft.groups() if left.isdisjoint(group.places)])
            ran += await shorten(draft, job, stages_of(strategy), spans, self._speeds, call.name, cached)
        if place is not None:
            await self._recall(call, draft, place, room, before)
        await ensure(call, draft, budget, limit)
        self._note(call, draft, budget, strategy, before, ran)
        return tuple(draft.messages) if draft.cuts else None

    async def _recall(self, call: ModelCall, draft: Draft, place: Place, room: int, before: int) -> None:
        """A store that fails does not break the call: the turns are gone from this prompt, as without an index."""
        with call.recorder.span("compress.recall") as span:
            try:
                span.set(**await recall(draft, place, room, before))
            except Exception as error:  # noqa: BLE001
                span.set(failed=f"{type(error).__name__}: {error}")

    def _node(self, call: Call) -> Mapping[str, Any] | None:
        """What is set for the node; None: nothing is compressed there."""
        value = call.metadata.get(self.name, {})
        if value is False or value == "off":
            return None
        if isinstance(value, str):
            value = {"strategy": value}
        known = isinstance(value, Mapping) and value.keys() <= NODE_KEYS
        if not known or value.get("strategy", self.strategy) not in STRATEGIES:
            raise SetupError(
                f"The node {call.path!r} sets compress to {value!r}",
                hint=f"Write one of {', '.join(STRATEGIES)}, off, or a table of {', '.join(sorted(NODE_KEYS))}.",
                code="setup.compress",
            )
        return value  # type: ignore[no-any-return]

    def _budget(self, call: ModelCall, counts: Counts, node: Mapping[str, Any]) -> Budget:
        tools = max(counts.tools(call.params.get("tools") or ()), self.tools_reserve)
        return budget_of(
            call, tools, windows=self.windows, answer=self.answer_reserve, target=self.target_tokens, node=node
        )

    def _note(
        self, call: ModelCall, draft: Draft, budget: Budget, strategy: str, before: int, ran: Sequence[Ran]
    ) -> None:
        call.annotate(
            self.name,
            strategy=strategy,
            tokens_before=before,
            tokens_after=draft.tokens,
            counted_by=draft.counts.counter.name,
            error=draft.counts.counter.error,
            prefix_kept_tokens=draft.tokens_of(self._prefixes.same((call.thread, call.path), draft.messages)),
            window=budget.window,
            reserved_answer=budget.answer,
            reserved_tools=budget.tools,
            stages=[r.stage for r in ran if not r.skipped],
            skipped={r.stage: r.skipped for r in ran if r.skipped},
        )


def _surely_fits(call: ModelCall, counts: Counts, budget: Budget) -> bool:
    """True when not even one token per byte would be too long: then nothing has to be counted."""
    goal = budget.goal
    if goal is None:
        return True
    once, each = counts.frame
    return upper_bound(call.messages) + once + each * len(call.messages) <= goal


def _tool_name(tool: Any) -> str:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else {}
    return str(function.get("name", "")) or str(getattr(tool, "name", ""))


def _others(messages: Sequence[Any]) -> int:
    return sum(kind_of(message) != "system" for message in messages)


def _check(right: bool, name: str, value: object) -> None:
    if not right:
        raise SetupError(
            f"compress.{name} is {value!r}", hint="See the page on context compression.", code="setup.compress"
        )
