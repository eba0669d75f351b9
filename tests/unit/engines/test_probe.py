"""What a header cannot show is found out in another process, once per content; this one stays alive."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from chainops.engines.llama import probe
from chainops.engines.llama.model_file import check_model_file, file_sha256
from chainops.errors import SetupError

from .tiny_gguf import STRING, Model, chain_model, write_parts

pytestmark = pytest.mark.llama


@pytest.fixture(autouse=True)
def needs_llama() -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chainops" / "llama-probes"


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The trial loads that happened; they are not run."""
    seen: list[Path] = []
    monkeypatch.setattr(probe, "run_probe", lambda path, seconds, prebuilt: seen.append(path))
    return seen


def rename_architecture(model: Model, name: str) -> None:
    model.metadata = {key.replace("llama.", f"{name}."): item for key, item in model.metadata.items()}
    model.metadata["general.architecture"] = (STRING, name)


def test_a_file_that_kills_llama_cpp_kills_only_the_trial(tmp_path: Path) -> None:
    model = chain_model([b"a", b"b"])
    model.metadata["tokenizer.ggml.model"] = (STRING, "llama")  # the header check would refuse it: go round it
    path = model.write(tmp_path / "killer.gguf")
    with pytest.raises(SetupError, match="SIGABRT") as caught:
        probe.run_probe(path)
    assert caught.value.code == "setup.model_probe"


def test_an_architecture_that_llama_cpp_does_not_know_is_named(tmp_path: Path, own_cache: Path) -> None:
    from chainops.engines.llama import ChatLlama

    model = chain_model([b"a", b"b"])
    rename_architecture(model, "nonsense")
    with pytest.raises(SetupError, match="unknown model architecture: 'nonsense'"):
        ChatLlama(model_path=model.write(tmp_path / "nonsense.gguf")).invoke("hi")


def test_weights_that_compute_to_nothing_are_found(tmp_path: Path) -> None:
    model = chain_model([b"a", b"b"])
    shape, values = model.tensors["output_norm.weight"]
    values[0] = math.nan
    model.tensors["output_norm.weight"] = (shape, values)
    with pytest.raises(SetupError, match="not-a-number"):
        probe.run_probe(model.write(tmp_path / "nan.gguf"))


def test_a_model_that_does_not_load_in_time_is_refused(tmp_path: Path) -> None:
    path = chain_model([b"a", b"b"]).write(tmp_path / "slow.gguf")
    with pytest.raises(SetupError, match="did not load within 0 seconds"):
        probe.run_probe(path, seconds=0.01)


def test_a_sound_model_passes_and_its_content_is_not_tried_again(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = chain_model([b"a", b"b"]).write(tmp_path / "model.gguf")
    assert probe.ensure_probed(check_model_file(path)) == file_sha256(path)
    monkeypatch.setattr(probe, "run_probe", lambda path, seconds, prebuilt: pytest.fail("tried again"))
    copy = Path(shutil.copy(path, tmp_path / "copy.gguf"))
    assert probe.ensure_probed(check_model_file(copy)) == file_sha256(path)


def test_a_known_file_is_not_even_read_again(
    tmp_path: Path, own_cache: Path, trials: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = chain_model([b"a", b"b"]).write(tmp_path / "model.gguf")
    first = probe.ensure_probed(check_model_file(path))
    monkeypatch.setattr(probe, "file_sha256", lambda *paths: pytest.fail("read again"))
    assert probe.ensure_probed(check_model_file(path)) == first
    assert trials == [path]


def test_a_changed_file_is_tried_again(tmp_path: Path, own_cache: Path, trials: list[Path]) -> None:
    path = chain_model([b"a", b"b"]).write(tmp_path / "model.gguf")
    probe.ensure_probed(check_model_file(path))
    chain_model([b"a", b"c"]).write(path)
    os.utime(path, ns=(1, 1))
    probe.ensure_probed(check_model_file(path))
    assert len(trials) == 2


def test_a_change_in_any_part_is_tried_again(tmp_path: Path, own_cache: Path, trials: list[Path]) -> None:
    first = write_parts(chain_model([b"a", b"b"]), tmp_path)
    before = probe.ensure_probed(check_model_file(first))
    second = tmp_path / "model-00002-of-00002.gguf"
    raw = bytearray(second.read_bytes())
    raw[-100] ^= 1
    second.write_bytes(raw)
    os.utime(second, ns=(1, 1))
    assert probe.ensure_probed(check_model_file(first)) != before
    assert len(trials) == 2
    with pytest.raises(SetupError, match="SHA-256"):
        check_model_file(first, sha256=before)


def test_another_build_of_the_library_tries_again(
    tmp_path: Path, own_cache: Path, trials: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))
    probe.ensure_probed(file)
    monkeypatch.setattr(probe, "library_id", lambda: "another build")
    probe.ensure_probed(file)
    assert len(trials) == 2


def test_a_failed_trial_is_not_remembered_as_passed(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))

    def fail(path: Path, seconds: float, prebuilt: bool) -> None:
        raise SetupError("it failed")

    monkeypatch.setattr(probe, "run_probe", fail)
    for _ in range(2):
        with pytest.raises(SetupError, match="it failed"):
            probe.ensure_probed(file)
    assert not own_cache.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sha256": 5}', '{"sha256": "short"}'])
def test_a_damaged_mark_counts_as_none(tmp_path: Path, own_cache: Path, trials: list[Path], content: str) -> None:
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))
    probe.ensure_probed(file)
    for mark in own_cache.iterdir():
        mark.write_text(content)
    probe.ensure_probed(file)
    assert len(trials) == 2


def test_without_a_cache_directory_every_process_tries(
    tmp_path: Path, trials: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))
    assert probe.ensure_probed(file) == file_sha256(file.path)
    assert len(trials) == 1


@pytest.mark.parametrize(("options", "tried"), [({}, 1), ({"probe": False}, 0), ({"probe": True}, 1)])
def test_a_given_hash_stands_for_the_trial_unless_it_is_demanded(
    tmp_path: Path, own_cache: Path, trials: list[Path], options: dict[str, Any], tried: int
) -> None:
    from chainops.engines.llama import ChatLlama

    path = chain_model([b"a", b"b"]).write(tmp_path / "model.gguf")
    model = ChatLlama(model_path=path, **options)
    assert model.invoke("hi").response_metadata["model_sha256"] == (file_sha256(path) if tried else "")
    model.close()
    assert len(trials) == tried
    trusted = ChatLlama(model_path=path, sha256=file_sha256(path), **options)
    assert trusted.invoke("hi").response_metadata["model_sha256"] == file_sha256(path)
    trusted.close()
    assert len(trials) == tried + (options.get("probe") is True)


def test_the_cache_is_under_the_user_s_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert probe.cache_dir() == Path("/somewhere/.cache/chainops/llama-probes")
