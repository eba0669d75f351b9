"""The semantic cache middleware: off unless a node asks for it, bounded by calibration, guarded by rules."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from chainops.calls import Kind, ModelCall, ModelNext, ModelResult
from chainops.errors import SetupError, StoreError
from chainops.middleware.semantic_cache.guards import SOFT, difference, plain_form
from chainops.middleware.semantic_cache.partition import Partition, Partitions, partition_of, question_of
from chainops.middleware.semantic_cache.score import AGREED, ALIKE, agreeing, combined
from chainops.middleware.semantic_cache.verify import Verifier
from chainops.per_loop import PerLoop
from chainops.pipeline import Middleware
from chainops.store.cache.codec import Unfaithful, decode, encode
from chainops.store.semantic import SemanticEntry, SemanticFile
from chainops.store.semantic.file import ShadowPair

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.language_models import BaseChatModel
    from numpy.typing import NDArray

    from chainops.embedding import Embedder

__all__ = ["SemanticCache"]

log = logging.getLogger("chainops")
Mode = Literal["off", "shadow", "on"]


@dataclass(frozen=True, slots=True)
class _Match:
    """A known answer, and how sure it is that it fits. ``same``: the questions differ in nothing that is said."""

    entry: SemanticEntry
    score: float
    cosine: float
    refused: str
    same: bool


class SemanticCache(Middleware):
    """Answers a model call whose question means what a known one means. Off; a node asks for it.

    A node's setting ``semantic_cache`` is "shadow" (nothing is answered, what would have been is compared with the
    fresh answer), "on", or "off". "on" answers only above a threshold: given here, or found by ``chainops cache
    calibrate``; without one only questions that differ in nothing but white space and marks at their end. Questions
    answer each other only within one tenant (or user), graph, node, conversation so far, model, parameters and
    embedder. Only the last message may differ, and it must be a person's text. Answers with tool calls, and answers
    that were cut, are not kept.

    Args:
        embedder: turns questions and answers into vectors.
        directory: of the file; None: in this process only.
        mode: for nodes that say nothing.
        threshold: a score, see ``score.combined``; None: that of the calibration.
        ttl_s: seconds that an answer is served; None: for ever.
        scope: who shares answers: all of a ``"tenant"``, or one ``"user"``.
        tenant_key, user_key: where the run's metadata has them.
        max_entries: answers kept per partition, the newest.
        verifier: a chat model that is asked, for each hit, whether the two questions mean the same.
        stands_for: the models that may answer for a model that is only a name (``Gateway.stands_for``); an application
            from settings has it from its layer ``route``.

    Raises:
        StoreError: code ``cache.semantic``.
        SetupError: code ``setup.semantic_cache``, for a setting that is none.
    """

    name: ClassVar[str] = "semantic_cache"
    inside: ClassVar[tuple[str, ...]] = (
        *("trace", "access", "limits", "experiment", "prompts", "compress", "rails", "pii"),
    )
    outside: ClassVar[tuple[str, ...]] = ("cache", "route", "retry")
    kinds: ClassVar[frozenset[Kind]] = frozenset({"model"})

    def __init__(
        self,
        embedder: Embedder,
        directory: str | Path | None = None,
        *,
        mode: Mode = "off",
        threshold: float | None = None,
        ttl_s: float | None = 86_400.0,
        scope: Literal["tenant", "user"] = "tenant",
        tenant_key: str = "tenant",
        user_key: str = "user",
        max_entries: int = 100_000,
        verifier: BaseChatModel | None = None,
        stands_for: Callable[[Any], Sequence[Any]] | None = None,
    ) -> None:
        _check(mode in ("off", "shadow", "on"), "mode", mode)
        _check(scope in ("tenant", "user"), "scope", scope)
        _check(max_entries > 0, "max_entries", max_entries)
        self.embedder = embedder
        self.mode, self.threshold, self.ttl_s, self.scope = mode, threshold, ttl_s, scope
        self.tenant_key, self.user_key, self.max_entries = tenant_key, user_key, max_entries
        self.stands_for = stands_for
        self.verifier = Verifier(verifier) if verifier is not None else None
        self.file = SemanticFile(directory)
        self._partitions: Partitions | None = None
        self._calibrated: tuple[float, float | None] = (0.0, None)
        self._locks: PerLoop[asyncio.Lock] = PerLoop(asyncio.Lock)
        self._warned = False

    def describe(self) -> Mapping[str, Any]:
        """Its settings."""
        names = ("mode", "threshold", "ttl_s", "scope", "tenant_key", "user_key", "max_entries")
        return {**{n: getattr(self, n) for n in names}, "verifier": self.verifier is not None}

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Answer from what is known, or ask and keep the answer."""
        mode = self._mode(call)
        question = question_of(call) if mode != "off" else None
        if question is None:
            return await call_next(call)
        try:
            looked = await self._look(call, question)
        except (Unfaithful, StoreError, SetupError) as error:
            self._trouble(error)
            call.annotate(self.name, skipped=str(error).partition("\n")[0])
            return await call_next(call)
        if looked is None:
            return await call_next(call)
        key, vector, match, seen = looked
        if match is not None and mode == "on" and await self._fits(call, question, match):
            saved = match.entry
            await self._count("hit", tokens=saved.tokens, ms=saved.ms, micro=saved.micro)
            return self._answer(call, match)
        await self._count("refused" if match is not None and match.refused else "miss")
        began = time.monotonic()
        result = await call_next(call)
        try:
            await self._keep(call, result, question, key, vector, match, seen, began, mode)
        except (Unfaithful, StoreError) as error:
            self._trouble(error)
        return result

    async def _look(self, call: ModelCall, question: str) -> tuple[str, NDArray[np.float32], _Match | None, int] | None:
        tenant, user = call.run.metadata.get(self.tenant_key), call.run.metadata.get(self.user_key)
        private = self.scope == "user" or (call.guard.marks is not None and call.guard.marks.private)
        if private and user is None:
            call.annotate(self.name, skipped=f"it is for one user, and the run's metadata has no {self.user_key!r}")
            return None
        vector = (await self.embedder.embed([question]))[0]
        key = await asyncio.to_thread(self._partition, call, tenant, {"user": user} if private else {})
        async with self._locks.get():
            match, seen = await asyncio.to_thread(self._find, key, question, vector)
        return key, vector, match, seen

    def _partition(self, call: ModelCall, tenant: Any, scope: Mapping[str, Any]) -> str:
        models = self.stands_for(call.model) if self.stands_for is not None else ()
        return partition_of(call, self.embedder.identity, tenant, scope, models)

    def _find(self, key: str, question: str, vector: NDArray[np.float32]) -> tuple[_Match | None, int]:
        if self._partitions is None:
            self._partitions = Partitions(self.file, self.embedder.dimensions)
        with self._partitions.lock:
            partition = self._partitions.get(key)
            seen = partition.version[1] if partition.version is not None else 0
            return self._match(partition, question, vector), seen

    def _match(self, partition: Partition, question: str, vector: NDArray[np.float32]) -> _Match | None:
        now = time.time()
        equal = partition.same.get(plain_form(question))
        if equal is not None:
            entry = partition.entries[equal]
            if entry.expires is None or entry.expires > now:
                return _Match(entry, 2.5, 1.0, "", same=True)
        near = partition.near(vector, now)
        if not near:
            return None
        entry = partition.entries[near[0].number]
        agree = agreeing(near)
        reason = difference(question, entry.question)
        if reason in SOFT and sum(agree) >= AGREED:
            reason = ""
        score = combined([candidate.cosine for candidate in near], agree)
        return _Match(entry, score, near[0].cosine, reason, same=False)

    async def _fits(self, call: ModelCall, question: str, match: _Match) -> bool:
        if match.refused:
            call.annotate(self.name, refused=match.refused, similarity=round(match.cosine, 4))
            return False
        if not match.same:
            threshold = self.threshold if self.threshold is not None else await self._calibration()
            if threshold is None or match.score < threshold:
                return False
            if self.verifier is not None and not await self.verifier.same(call, question, match.entry.question):
                call.annotate(self.name, refused="verifier", similarity=round(match.cosine, 4))
                return False
        return True

    async def _calibration(self) -> float | None:
        """The threshold that was found for this embedder; looked up once in ten seconds."""
        now = time.monotonic()
        if now >= self._calibrated[0]:
            found = await asyncio.to_thread(self.file.calibration, self.embedder.identity)
            self._calibrated = now + 10, None if found is None else found.threshold
        return self._calibrated[1]

    def _answer(self, call: ModelCall, match: _Match) -> ModelResult:
        entry = match.entry
        call.annotate(
            "cache",
            kind="semantic",
            key=str(entry.id),
            age_s=round(time.time() - entry.created, 3),
            saved_tokens=entry.tokens,
            saved_ms=round(entry.ms, 1),
            saved_micro=entry.micro,
        )
        call.annotate(
            self.name, similarity=round(match.cosine, 4), score=round(match.score, 4), question=match.entry.question
        )
        message = decode(orjson.loads(entry.answer))
        return ModelResult(message=message, raw={"cache": {"kind": "semantic", "entry": entry.id}})

    async def _keep(
        self,
        call: ModelCall,
        result: ModelResult,
        question: str,
        key: str,
        vector: NDArray[np.float32],
        match: _Match | None,
        seen: int,
        began: float,
        mode: Mode,
    ) -> None:
        message = result.message
        cut = message.response_metadata.get("finish_reason") not in (None, "stop", "end_turn")
        marks = call.guard.marks
        if message.tool_calls or not result.text.strip() or cut or (marks is not None and (marks.asked or marks.bound)):
            return
        answer = (await self.embedder.embed([result.text]))[0]
        if mode == "shadow" and match is not None and not match.same:
            await self._compare(call, question, match, answer)
        if match is not None and match.same:
            return
        now = time.time()
        cost = (marks.notes.get("cost") or {}).get("micro", 0) if marks is not None else 0
        entry = SemanticEntry(
            id=0,
            question=question,
            vector=vector.astype("float16"),
            answer=orjson.dumps(encode(message.model_copy(update={"id": None}))),
            answer_vector=answer.astype("float16"),
            created=now,
            expires=None if self.ttl_s is None else now + self.ttl_s,
            ms=(time.monotonic() - began) * 1e3,
            tokens=result.tokens,
            micro=int(cost),
        )
        tags = (f"graph:{call.run.graph}", f"model:{call.name}", *(marks.tags if marks is not None else ()))
        await asyncio.to_thread(self.file.add, key, entry, tags, seen=seen, most=self.max_entries)

    async def _compare(self, call: ModelCall, question: str, match: _Match, answer: NDArray[np.float32]) -> None:
        alike = float(answer @ match.entry.answer_vector.astype("float32"))
        same = alike >= ALIKE
        would = {"score": round(match.score, 4), "similarity": round(match.cosine, 4), "same_answer": same}
        call.annotate(self.name, shadow={**would, "refused": match.refused, "answers_alike": round(alike, 4)})
        if not match.refused:
            pair = ShadowPair(match.score, match.cosine, same, question, match.entry.question)
            await asyncio.to_thread(self.file.add_pair, self.embedder.identity, pair)

    async def _count(self, what: str, **saved: Any) -> None:
        try:
            await asyncio.to_thread(self.file.count, what, **saved)
        except StoreError as error:
            self._trouble(error)

    def _mode(self, call: ModelCall) -> Mode:
        given = call.metadata.get(self.name, self.mode)
        if given is True or given is False:
            given = "on" if given else "off"
        if given not in ("off", "shadow", "on"):
            raise SetupError(
                f"The setting 'semantic_cache' of {call.path!r} is {given!r}",
                hint='Write "shadow", "on" or "off".',
                code="setup.node",
            )
        return given  # type: ignore[no-any-return]

    def _trouble(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("The semantic cache is passed by: %s", error)


def _check(fine: bool, name: str, value: object) -> None:
    if not fine:
        raise SetupError(
            f"SemanticCache({name}={value!r}) is not possible",
            hint="See its documentation.",
            code="setup.semantic_cache",
        )
