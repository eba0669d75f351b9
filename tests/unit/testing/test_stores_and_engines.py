"""The kits for stores and engines must pass good ones, and catch each way to get one wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from chainops.middleware.limits.shared import Admission, LimitFile
from chainops.store.cache.files import FileStore
from chainops.store.cache.memory import LocalStore
from chainops.testing import (
    EngineConformance,
    LimitStoreConformance,
    ScriptedModel,
    StoreConformance,
    check_engine,
    check_limit_store,
    check_store,
)


class TestFileStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path
        yield

    def make(self, place: str) -> FileStore:
        return FileStore(self.path / place)


def test_a_store_in_memory_passes() -> None:
    assert check_store(lambda place: LocalStore()) == {}


class KeepsGoneEntries(LocalStore):
    def get(self, key: str) -> bytes | None:
        row = self._rows.get(key)
        return row.data if row else None


class ForgetsOneTagOnly(LocalStore):
    def invalidate(self, tags: Any) -> int:
        return super().invalidate(list(tags)[:1])


class StandingGeneration(LocalStore):
    def generation(self) -> int:
        return 0


class LosesInvalidations(LocalStore):
    def write(self, batch: Any) -> int:
        self._invalidated.clear()
        return super().write(batch)


class OldTagsStay(LocalStore):
    def write(self, batch: Any) -> int:
        merged = [dataclasses.replace(r, tags=(*r.tags, *getattr(self._rows.get(r.key), "tags", ()))) for r in batch]
        return super().write(merged)


class LeasesForAll(LocalStore):
    def lease(self, key: str, owner: str, seconds: float) -> bool:
        return True


class NeverEndingLeases(LocalStore):
    def lease(self, key: str, owner: str, seconds: float) -> bool:
        return super().lease(key, owner, 1000)


class LastCountWins(LocalStore):
    def count(self, tally: Any) -> None:
        self._tally.update(tally)


class NotForThreads(LocalStore):
    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def write(self, batch: Any) -> int:
        if threading.get_ident() != self.thread:
            raise RuntimeError("made in another thread")
        return super().write(batch)


class SaysItIsShared(LocalStore):
    shared = True


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (KeepsGoneEntries, "what_was_written_is_there_until_it_is_gone"),
        (ForgetsOneTagOnly, "a_tag_takes_all_its_entries_and_no_other"),
        (StandingGeneration, "a_tag_takes_all_its_entries_and_no_other"),
        (LosesInvalidations, "an_invalidation_is_never_lost"),
        (OldTagsStay, "tags_are_those_of_the_last_write"),
        (LeasesForAll, "a_lease_has_one_owner_until_it_ends"),
        (LastCountWins, "counters_add_up_and_notes_come_newest_first"),
        (NotForThreads, "threads_can_share_it"),
        (SaysItIsShared, "two_views_of_a_shared_store_agree"),
    ],
)
def test_the_kit_catches_a_store_that(broken: type[LocalStore], check: str) -> None:
    assert check in check_store(lambda place: broken())


def test_a_lease_that_never_ends_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainops.testing.stores.PATIENCE", 0.05)
    assert "a_lease_has_one_owner_until_it_ends" in check_store(lambda place: NeverEndingLeases())


class TestLimitFile(LimitStoreConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path
        yield

    def make(self, place: str) -> LimitFile:
        return LimitFile(self.path / f"{place}.db")


class NeverWaits(LimitFile):
    def admit(self, asked: Admission) -> float | None:
        return None if super().admit(asked) is None else 0.0


class OneKey(LimitFile):
    def admit(self, asked: Admission) -> float | None:
        return super().admit(dataclasses.replace(asked, key="k"))


class FirstRateOnly(LimitFile):
    def admit(self, asked: Admission) -> float | None:
        return super().admit(dataclasses.replace(asked, rates=dict(list(asked.rates.items())[:1])))


class KeepsEverything(LimitFile):
    def settle(self, key: str, seconds: Any) -> None:
        return None


class ReleasesAnybody(LimitFile):
    def release(self, key: str, owner: str) -> None:
        for each in ("a", "b", "c"):
            super().release(key, each)


class ChargesTheRefused(LimitFile):
    def admit(self, asked: Admission) -> float | None:
        found = super().admit(asked)
        if found is None:
            super().admit(dataclasses.replace(asked, places=None))
        return found


class CountsForItselfOnly(LimitFile):
    def __init__(self, path: Path) -> None:
        super().__init__(path.with_name(f"{id(self)}.db"))


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (NeverWaits, "a_rate_lets_its_burst_start_and_spaces_the_rest"),
        (OneKey, "a_rate_lets_its_burst_start_and_spaces_the_rest"),
        (FirstRateOnly, "the_longest_of_several_rates_counts"),
        (KeepsEverything, "what_was_not_used_is_given_back"),
        (ReleasesAnybody, "places_are_taken_and_freed"),
        (ChargesTheRefused, "places_are_taken_and_freed"),
        (CountsForItselfOnly, "many_threads_never_take_more_places_than_there_are"),
    ],
)
def test_the_kit_catches_a_limit_store_that(broken: type[LimitFile], check: str, tmp_path: Path) -> None:
    assert check in check_limit_store(lambda place: broken(tmp_path / f"{place}.db"))


SCRIPT = ["one two three four five six"]


class TestScriptedModel(EngineConformance):
    def make(self) -> ScriptedModel:
        return ScriptedModel(SCRIPT, repeat=True)

    @pytest.mark.xfail(reason="it says its line whatever stop is")
    async def test_stop_strings_are_kept(self) -> None:
        await super().test_stop_strings_are_kept()


class NoUsage(ScriptedModel):
    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("one two"))])


class NewIdForEachPiece(ScriptedModel):
    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        number = 0
        async for chunk in super()._astream(*args, **kwargs):
            number += 1
            chunk.message.id = f"id-{number}"
            yield chunk


class UsageOnEveryPiece(ScriptedModel):
    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        async for chunk in super()._astream(*args, **kwargs):
            chunk.message.usage_metadata = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
            yield chunk


class OneAtATimeForEver(ScriptedModel):
    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        if self.calls:
            await asyncio.Event().wait()
        async for chunk in super()._astream(*args, **kwargs):
            yield chunk

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        if self.calls:
            await asyncio.Event().wait()
        return await super()._agenerate(*args, **kwargs)


class AsyncOnly(ScriptedModel):
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (NoUsage, "it_answers_with_text_and_usage"),
        (NewIdForEachPiece, "a_stream_is_one_message_in_pieces"),
        (UsageOnEveryPiece, "a_stream_is_one_message_in_pieces"),
        (OneAtATimeForEver, "calls_at_once_all_get_an_answer"),
        (OneAtATimeForEver, "a_stream_left_early_does_not_block_the_next"),
        (AsyncOnly, "sync_calls_work_in_a_plain_thread_and_beside_a_loop"),
        (ScriptedModel, "stop_strings_are_kept"),
        (NoUsage, "it_is_traced_as_a_model_call"),
    ],
)
async def test_the_kit_catches_an_engine_that(
    broken: type[ScriptedModel], check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainops.testing.engines.PATIENCE", 0.2)
    assert check in await check_engine(lambda: broken(SCRIPT, repeat=True))
