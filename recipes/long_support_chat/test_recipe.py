"""The recipe, told by its README: every command in it is run, and says what stands there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.memory import InMemoryStore

from chainops import App
from chainops.middleware.compress import compress_text
from chainops.middleware.compress.counting import Counts, TableCounter
from chainops.testing import app_module, check_readme

HERE = Path(__file__).resolve().parent
COUNTS = Counts(TableCounter("o200k"))
QUESTIONS = {
    "Which neighbour in which flat has taken my parcel?": "Mr Haddad in flat nine",
    "With which address and number was the invoice made anew?": "K-7719",
    "What does a pair of new cushions cost?": "nine euros and fifty cents",
    "For how many euros do you buy old headsets?": "twelve euros",
}


def test_every_command_of_the_readme_says_what_stands_there(tmp_path: Path) -> None:
    folder = tmp_path / HERE.name
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    assert check_readme(HERE / "README.md", folder) >= 5


@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_a_question_is_about_is_in_the_prompt_and_the_prompt_in_the_window(
    question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chainops.engines.embeddings.place.default_place", lambda: tmp_path)  # by words, as anywhere
    recipe = app_module(__file__)
    chat = recipe.Quoter()
    said = [*recipe.conversation(), HumanMessage(question)]
    with App(HERE / "chainops.toml") as app:
        await app.instrument(recipe.graph(chat, InMemoryStore())).ainvoke({"messages": said}, recipe.config("t"))
    prompt = chat.prompts[-1]
    assert COUNTS.messages([recipe.DESK, *said]) > 1400 and COUNTS.messages(prompt) <= 1000 - 120
    assert prompt[0] == recipe.DESK and prompt[-1].text == question
    assert QUESTIONS[question] in "\n".join(str(message.text) for message in prompt)


async def test_the_travel_planner_is_told_in_fifteen_tokens() -> None:
    talk = (HERE / "trip.txt").read_text(encoding="utf-8")
    short = await compress_text(talk, 15, count=COUNTS.text, strategy="aggressive")
    assert short.after <= 15 and all(word in short.text for word in ("Japan", "December", "food", "stay"))
