import json
import shutil
from pathlib import Path

import pytest

from chainops.cli.model import app
from chainops.errors import SetupError, StoreError

from ..engines.tiny_adapter import one_step, write_adapter

TINY = Path(__file__).parents[3] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"
SHA = TINY.with_name(TINY.name + ".sha256").read_text().split()[0]

pytestmark = pytest.mark.llama


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copy(TINY, tmp_path / "desk.gguf"))


@pytest.fixture
def added(cli, tiny):
    cli(app, "add", "desk", tiny, "--no-probe", "--author", "ann")
    return tiny


@pytest.fixture
def adapter(tmp_path):
    pair = one_step(192, 192, 5, 6)
    return write_adapter(tmp_path / "formal.gguf", {"blk.0.attn_q.weight": pair})


def rows(result):
    return json.loads(result.stdout)


def test_an_added_model_has_everything_that_is_known_of_it(cli, tiny):
    row = rows(cli(app, "add", "desk", tiny, "-m", "first", "--author", "ann", "--json"))
    assert row["new"] is True
    assert (row["name"], row["version"], row["author"], row["message"]) == ("desk", 1, "ann", "first")
    assert (row["sha256"], row["licence"], row["quantisation"]) == (SHA, "Apache-2.0", "Q8_0")
    assert (row["architecture"], row["context"], row["layers"], row["type"]) == ("llama", 1024, 4, "model")
    assert len(row["chat_template_sha256"]) == 64
    assert rows(cli(app, "show", "desk", "--json"))["sha256"] == SHA
    assert "(was there already)" in cli(app, "add", "desk", tiny, "--no-probe").stdout


def test_list_and_show_are_for_people_too(cli, added):
    assert "2,064,576" in cli(app, "list").stdout
    shown = cli(app, "show", "desk@1").stdout
    assert SHA in shown
    assert "Apache-2.0" in shown


def test_a_file_with_another_hash_is_not_added(cli, tiny):
    with pytest.raises(SetupError) as caught:
        cli(app, "add", "desk", tiny, "--sha256", "0" * 64)
    assert caught.value.code == "setup.model_hash"
    with pytest.raises(StoreError) as caught:
        cli(app, "list")
    assert caught.value.code == "store.missing"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model"])
def test_a_file_that_is_no_model_is_not_added(cli, tmp_path, content):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(content)
    with pytest.raises(SetupError) as caught:
        cli(app, "add", "bad", bad)
    assert caught.value.code == "setup.model_file"


def test_verify_finds_files_that_changed_and_files_that_are_gone(cli, added, tmp_path):
    shutil.copy(TINY, tmp_path / "other.gguf")
    cli(app, "add", "other", tmp_path / "other.gguf", "--no-probe")
    assert cli(app, "verify").exit_code == 0
    with added.open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"\x00\xff\x00")
    (tmp_path / "other.gguf").unlink()
    result = cli(app, "verify", "--json")
    assert result.exit_code == 1
    assert {row["name"]: row["state"] for row in rows(result)} == {"desk": "changed", "other": "missing"}
    said = cli(app, "verify", "other")
    assert said.exit_code == 1
    assert "MISSING" in said.stdout
    assert "MISSING" in cli(app, "list").stdout


def test_a_changed_file_is_not_loaded(cli, added, path):
    from chainops.engines.llama.registered import open_registered

    with added.open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"\x00\xff\x00")
    model = open_registered("desk", path=path)
    try:
        with pytest.raises(SetupError) as caught:
            model.invoke("hi")
    finally:
        model.close()
    assert caught.value.code == "setup.model_hash"


def test_a_registered_model_answers_by_its_name(cli, added, path):
    from chainops.engines.llama.registered import open_registered

    model = open_registered("desk@1", path=path, max_tokens=64)
    try:
        answer = model.invoke("How much is shipping?")
    finally:
        model.close()
    assert "fifty euros" in answer.content
    assert answer.response_metadata["model_sha256"] == SHA


def test_run_streams_the_answer_to_stdout_and_the_rest_to_stderr(cli, added):
    result = cli(app, "run", "desk", "How much is shipping?")
    assert result.stdout == "Shipping is free above fifty euros. Below that it costs four euros and ninety cents.\n"
    assert "tokens, first after" in result.stderr
    row = rows(cli(app, "run", added, "How much is shipping?", "--json", "--max-tokens", "3"))
    assert row["metadata"]["finish_reason"] == "length"
    assert row["usage"]["output_tokens"] == 3
    with pytest.raises(SetupError):
        cli(app, "run", "desk")


def test_fit_says_no_with_its_exit_code_and_loads_nothing(cli, added):
    found = rows(cli(app, "fit", "desk", "--ctx", 1024, "--json", "--no-speed"))
    assert found["kv"] == 3072 * 1024
    assert found["limit_tps"] is None
    assert cli(app, "fit", "desk", "--memory", "1M", "--check", "--no-speed").exit_code == 1
    shown = cli(app, "fit", "desk", "--memory", "1G", "--check", "--gpu-memory", "1G")
    assert shown.exit_code == 0
    assert "5 of 5" in shown.stdout


def test_bench_measures_prompt_and_answer(cli, added):
    found = rows(cli(app, "bench", "desk", "--repeat", 2, "--prompt-tokens", 64, "--tokens", 8, "--json"))
    assert found["generated_tokens"] > 0
    assert 0 < found["prefill_tps_median"] <= found["prefill_tps"]
    assert 0 < found["decode_tps_median"] <= found["decode_tps"]
    assert found["share_of_limit"] == pytest.approx(found["decode_tps"] / found["limit_tps"])
    assert "GB/s" in cli(app, "bench", added, "--repeat", 1, "--prompt-tokens", 8, "--tokens", 8).stdout


def test_a_removed_model_cannot_be_used_and_can_be_added_again(cli, added):
    assert "removed" in cli(app, "remove", "desk", "--why", "too small").stdout
    assert added.exists()
    with pytest.raises(StoreError) as caught:
        cli(app, "run", "desk", "hi")
    assert caught.value.code == "store.retired"
    assert rows(cli(app, "list", "--json")) == []
    cli(app, "add", "desk", added, "--no-probe")
    assert [row["name"] for row in rows(cli(app, "list", "--json"))] == ["desk"]


def test_an_adapter_is_registered_with_the_model_that_it_is_for(cli, added, adapter):
    row = rows(cli(app, "add", "formal", adapter, "--base", "desk", "--licence", "MIT", "--json"))
    assert (row["type"], row["rank"], row["licence"]) == ("adapter", 1, "MIT")
    assert row["base"] == {"name": "desk", "version": 1, "sha256": SHA}
    assert "rank 1" in cli(app, "list").stdout
    assert cli(app, "verify", "formal").exit_code == 0


def test_what_is_no_adapter_for_the_model_is_not_registered(cli, added, adapter, tmp_path):
    other = write_adapter(tmp_path / "other.gguf", {"blk.0.attn_q.weight": one_step(64, 64, 1, 2)})
    for words, code in (
        (("formal", adapter), "setup.adapter"),
        (("formal", added, "--base", "desk"), "setup.adapter"),
        (("formal", other, "--base", "desk"), "setup.adapter"),
        (("desk", adapter, "--base", "desk"), "setup.model_name"),
    ):
        with pytest.raises(SetupError) as caught:
            cli(app, "add", *words)
        assert caught.value.code == code, words


def test_run_asks_with_adapters_by_name_and_by_file(cli, added, adapter):
    cli(app, "add", "formal", adapter, "--base", "desk")
    for what in ("formal", adapter):
        row = rows(cli(app, "run", "desk", "hi", "--adapter", f"{what}=0.5", "--json", "--max-tokens", "2"))
        assert [used["scale"] for used in row["metadata"]["adapters"]] == [0.5]
    with pytest.raises(SetupError) as caught:
        cli(app, "run", "desk", "hi", "--adapter", "formal=much")
    assert caught.value.code == "setup.args"
