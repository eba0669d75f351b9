import json

import pytest

from chainops.cli.cache import app
from chainops.errors import StoreError
from chainops.middleware.cache import Cache

from ..middleware.cache.conftest import Desk


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
async def used(directory):
    """A cache that was used: two entries, one hit, one answer that was cut."""
    from langchain_core.messages import AIMessage

    cache = Cache(directory, versions={"scripted": "1"})
    cut = AIMessage("cut", response_metadata={"finish_reason": "length"})
    desk = Desk(cache, ["one", "two", cut])
    keys = []
    for text in ("first question", "second question", "second question", "third"):
        await desk.ask(text)
        keys.append(desk.notes.last()["key"])
    for _ in range(2):
        desk.model.script.append("hot")
        await desk.ask("fourth", params={"temperature": 0.8})
    cache.close()
    return keys


@pytest.fixture
def run(directory):
    from typer.testing import CliRunner

    def call(*words):
        result = CliRunner().invoke(app, [*words, "--dir", str(directory)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def test_stats_count_hits_and_what_was_saved(used, run):
    found = json.loads(run("stats", "--json").stdout)
    assert found["entries"] == 2
    assert found["total"]["hits"] == 1
    assert found["total"]["misses"] == 3
    assert found["total"]["not_cacheable"] == 2
    assert found["total"]["hit_ratio"] == 0.25
    assert found["total"]["saved_tokens"] == 3
    assert [hour["misses"] for hour in found["hours"]] == [3]
    shown = run("stats").stdout
    assert "25.0%" in shown
    assert "█" in shown


def test_show_lists_entries_and_prints_one(used, run):
    rows = json.loads(run("show", "--json").stdout)
    assert {row["key"] for row in rows} == set(used[:2])
    assert used[0][:12] in run("show").stdout
    one = json.loads(run("show", used[1][:10]).stdout)
    assert one["value"]["message"]["v"]["fields"]["content"] == "two"


def test_explain_names_the_part_that_differs_from_the_nearest_entry(used, run):
    found = json.loads(run("explain", used[0], "--json").stdout)
    assert found["state"] == "cached"
    assert found["nearest"]["key"] == used[1]
    (differs,) = found["nearest"]["differs"]
    assert differs == "messages[0]"
    assert "messages[0]" in run("explain", used[0]).stdout


def test_explain_says_why_an_answer_was_not_kept(used, run):
    assert "not kept: the answer ended with 'length'" in run("explain", used[3]).stdout


def test_explain_without_a_key_lists_what_was_not_kept_and_why(used, run):
    found = [(row["key"], row["why"]) for row in json.loads(run("explain", "--json").stdout)]
    assert found == [("", "temperature 0.8 without a seed"), (used[3], "the answer ended with 'length'")]
    assert "temperature 0.8" in run("explain").stdout


def test_invalidate_takes_what_has_the_tag_and_clear_takes_all(used, run):
    assert json.loads(run("invalidate", "model:other", "--json").stdout)["entries"] == 0
    assert json.loads(run("invalidate", f"key:{used[0]}", "--json").stdout)["entries"] == 1
    assert run("clear").stdout.startswith("1 entries")
    assert json.loads(run("stats", "--json").stdout)["entries"] == 0


@pytest.mark.parametrize("words", [["stats"], ["show"], ["clear"], ["invalidate", "x"], ["explain"]], ids=str)
def test_commands_on_a_missing_directory_make_none(run, directory, words):
    with pytest.raises(StoreError) as caught:
        run(*words)
    assert caught.value.code == "cache.missing"
    assert not directory.exists()


def test_an_unknown_key_is_a_clear_error(used, run):
    for words in (["show", "zz"], ["explain", "zz"], ["show", "0g"]):
        with pytest.raises(StoreError) as caught:
            run(*words)
        assert caught.value.code == "cache.unknown_key"


def test_promoting_a_prompt_forgets_the_answers_that_used_it(tmp_path, monkeypatch, directory):
    from typer.testing import CliRunner

    from chainops.cli.prompt import app as prompts
    from chainops.store.cache import Pending
    from chainops.store.cache.files import FileStore

    monkeypatch.setenv("CHAINOPS_CACHE__DIRECTORY", str(directory))
    file, db = tmp_path / "hello.md", str(tmp_path / "chainops.db")
    store = FileStore(directory)
    for text in ("one", "two"):
        file.write_text(f"---\nname: hello\n---\n{text}\n")
        assert CliRunner().invoke(prompts, ["add", str(file), "--db", db]).exit_code == 0
    for words in (["promote", "hello@1", "prod"], ["promote", "hello@2", "prod"], ["rollback", "hello", "prod"]):
        gone = Pending("a", b"{}", None, ("prompt:hello",), store.generation())
        store.write([gone, Pending("b", b"{}", None, ("prompt:other",), store.generation())])
        result = CliRunner().invoke(prompts, [*words, "--db", db])
        assert result.exit_code == 0, result.output
        assert (store.get("a"), store.get("b")) == (None, b"{}")
    store.close()
