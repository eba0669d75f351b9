"""``chainops docs``: a page by its name or its last word, and the places where words stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chainops.cli import main


def docs(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["docs", *words])
    said = capsys.readouterr()
    return int(done.value.code or 0), said.out, said.err


def test_a_page_is_found_by_its_whole_name_and_by_its_last_word(capsys: Any) -> None:
    whole = docs(capsys, "reference/llama")
    assert whole[0] == 0 and "ChatLlama" in whole[1]
    assert docs(capsys, "llama") == whole
    assert docs(capsys, "llama", "--raw")[1].startswith("# ChatLlama")


def test_words_are_looked_for_where_no_page_has_the_name(capsys: Any) -> None:
    code, out, _ = docs(capsys, "interrupt", "swallow", "--json")
    hits = json.loads(out)
    assert code == 0
    assert {"why/control-flow"} <= {hit["page"] for hit in hits}
    assert all(hit["line"] > 0 and hit["heading"] for hit in hits)


def test_a_name_that_several_pages_have_in_common_is_searched(capsys: Any) -> None:
    code, out, err = docs(capsys, "prompts")  # howto/prompts and reference/prompts
    assert code == 0
    assert "howto/prompts: " in out and "reference/prompts: " in out
    assert "chainops docs PAGE shows one" in err


def test_pages_that_explain_stand_before_those_that_list_everything(capsys: Any) -> None:
    pages = [hit["page"] for hit in json.loads(docs(capsys, "single", "flight", "--search", "--json")[1])]
    listing = [page.startswith(("changelog", "index", "reference/generated/")) for page in pages]
    assert listing == sorted(listing) and {True, False} == set(listing)


def test_search_wins_over_a_page_where_it_is_asked_for(capsys: Any) -> None:
    assert "howto/install: " in docs(capsys, "install", "--search")[1]


def test_nothing_found_is_a_mistake_with_the_nearest_name(capsys: Any) -> None:
    code, _, err = docs(capsys, "howto/instaal")
    assert code == 2
    assert "Did you mean 'howto/install'?" in err


def test_the_list_has_every_page_with_its_title(capsys: Any) -> None:
    names = json.loads(docs(capsys, "--json")[1])
    assert {"index", "howto/install", "reference/cli", "changelog"} <= set(names)
    assert "Install" in docs(capsys)[1]
