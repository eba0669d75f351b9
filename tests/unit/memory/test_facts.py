"""What is remembered of people: with consent only, found by meaning, bounded, and gone when erased."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from chainops import CallError, SetupError
from chainops.memory import Memories, NoConsent, Turns
from chainops.memory.place import label

FACTS = ["Ada never eats meat.", "Her printer is a PX-400.", "She lives in Oslo.", "Mail is read on Mondays only."]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture(params=["in memory", "SQLite"])
def store(request: Any, tmp_path: Path) -> Iterator[Any]:
    """``SqliteStore`` is only synchronous."""
    if request.param == "in memory":
        yield InMemoryStore()
        return
    with SqliteStore.from_conn_string(str(tmp_path / "memory.db")) as found:
        found.setup()
        yield found


async def remembered(store: Any, user: str = "ada", **options: Any) -> Memories:
    memories = Memories(store, clock=Clock(), **options)
    await memories.consent(user)
    for fact in FACTS:
        await memories.remember(user, fact, source="run-1")
    return memories


async def test_a_fact_outlives_the_session_and_is_found_by_its_words(store: Any) -> None:
    await remembered(store)
    [fact, *_] = await Memories(store).recall("ada", "Which printer do I have?")
    assert fact.text == "Her printer is a PX-400." and fact.source == "run-1" and 0 < fact.score <= 1


async def test_a_fact_is_found_by_its_meaning(store: Any, embedder: Any) -> None:
    memories = await remembered(store, embedder=embedder)
    [fact, *_] = await memories.recall("ada", "Suggest a vegetarian dinner")
    assert fact.text == "Ada never eats meat."
    assert not any("PX-400" in fact.text for fact in await memories.recall("ada", "Suggest a vegetarian dinner"))


async def test_the_index_of_a_store_is_used_where_it_has_one(embedder: Any) -> None:
    async def embed(texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in row] for row in await embedder.embed(texts)]

    index: Any = {"dims": embedder.dimensions, "embed": embed, "fields": ["fact"]}
    memories = await remembered(InMemoryStore(index=index))
    assert (await memories.recall("ada", "Suggest a vegetarian dinner"))[0].text == "Ada never eats meat."


async def test_nobody_is_remembered_without_consent_and_nothing_is_written(store: Any) -> None:
    memories = Memories(store)
    with pytest.raises(NoConsent, match="'bob'"):
        await memories.remember("bob", "Bob likes tea.")
    assert await memories.facts("bob") == [] and await memories.recall("bob", "tea") == []


async def test_who_withdraws_consent_is_erased(store: Any) -> None:
    memories = await remembered(store)
    await memories.consent("ada", granted=False)
    assert await memories.facts("ada") == [] and not await memories.consented("ada")
    with pytest.raises(NoConsent):
        await memories.remember("ada", "Ada is back.")


async def test_erasing_removes_facts_and_turns_of_one_user_only(store: Any) -> None:
    memories = await remembered(store)
    await memories.consent("bob")
    await memories.remember("bob", "Bob likes tea.")
    turns = Turns(store)
    await turns.add("t1", [(0, "User: my order is late")], user="ada")
    await turns.add("t1", [(0, "User: my order is late")], user="bob")
    assert await memories.erase("ada") == len(FACTS) + 1
    assert await memories.facts("ada") == [] and await turns.find("t1", "order", user="ada") == []
    assert [fact.text for fact in await memories.facts("bob")] == ["Bob likes tea."]
    assert len(await turns.find("t1", "order", user="bob")) == 1


async def test_users_of_two_tenants_do_not_share(store: Any) -> None:
    memories = Memories(store)
    for tenant in ("a", "b"):
        await memories.consent("ada", tenant=tenant)
    await memories.remember("ada", "Ada likes tea.", tenant="a")
    assert await memories.recall("ada", "tea", tenant="b") == [] and await memories.facts("ada") == []


async def test_the_oldest_facts_go_when_there_are_too_many(store: Any) -> None:
    memories = await remembered(store, max_facts=3)
    await memories.remember("ada", "Her printer is a PX-400!")  # said anew
    await memories.remember("ada", "She has two cats.")
    texts = [fact.text for fact in await memories.facts("ada")]
    assert texts == ["She has two cats.", "Her printer is a PX-400!", "Mail is read on Mondays only."]


async def test_a_fact_that_is_too_long_or_empty_is_refused() -> None:
    memories = Memories(InMemoryStore(), max_chars=10)
    await memories.consent("ada")
    for text in ("", "   ", "longer than ten"):
        with pytest.raises(CallError, match="characters"):
            await memories.remember("ada", text)
    with pytest.raises(SetupError):
        Memories(InMemoryStore(), max_facts=0)


async def test_one_fact_can_be_forgotten(store: Any) -> None:
    memories = await remembered(store)
    [fact, *_] = await memories.recall("ada", "printer")
    assert await memories.forget("ada", fact.key) and not await memories.forget("ada", fact.key)
    assert fact.text not in [kept.text for kept in await memories.facts("ada")]


async def test_old_turns_are_found_again_and_bounded(store: Any) -> None:
    turns = Turns(store, max_turns=3)
    await turns.add(
        "t", [(i, f"User: remark {i} about {word}") for i, word in enumerate(["rain", "tea", "wood", "sand"])]
    )
    assert [number for number, *_ in await turns.find("t", "what about the wood?")] == [2]
    assert await turns.find("t", "rain") == [], "the oldest went"
    assert await turns.find("other", "wood") == []
    assert await turns.forget("t") == 3 and await turns.find("t", "wood") == []


@given(st.lists(st.text(max_size=6), min_size=1, max_size=3), st.lists(st.text(max_size=6), min_size=1, max_size=3))
def test_labels_of_different_owners_differ_and_stores_take_them(one: list[str], other: list[str]) -> None:
    assert (label(*one) == label(*other)) == (one == other)
    assert "." not in label(*one) and label(*one)
