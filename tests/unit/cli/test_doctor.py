"""``chainops doctor``: finds what is broken, says how to mend it, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chainops.app.doctor import base, examine, models
from chainops.cli import main
from chainops.settings import load_settings


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as done:
        main(["doctor", "--json", *words])
    return int(done.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "llama", lambda: iter(()))  # loads the library in another process; has its own test
    return tmp_path


def test_a_folder_without_anything_is_fine_and_stays_empty(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = doctor(capsys)
    assert code == 0, told
    assert told["ok"] is True
    assert {f["group"] for f in told["findings"]} >= {"python", "sqlite", "models", "application", "disk"}
    assert all(f["fix"] for f in told["findings"] if f["state"] != "ok")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "name", "says"),
    [
        ("[trace]\npth = 'x'\n", "settings", "did you mean 'path'?) (chainops.toml, line 2)"),
        ("[pipeline]\nmiddleware = ['trcae']\n", "pipeline", "names 'trcae'"),
        ("[pipeline]\nmiddleware = ['cache', 'trace']\n", "pipeline", "must come before"),
        ("[plugins.gone]\n", "gone", "There is no plugin 'gone'"),
        ("[trace]\npath = 'broken.db'\n", "trace file", "no SQLite database"),
        ("[embeddings]\npath = 'nowhere'\n", "embedder", "not there"),
        ("[trace]\npath = 'nowhere/x.db'\n", "writing", "nowhere"),
    ],
)
def test_what_is_broken_is_found_named_and_ends_with_1(
    here: Path, capsys: pytest.CaptureFixture[str], settings: str, name: str, says: str
) -> None:
    (here / "chainops.toml").write_text(settings)
    (here / "broken.db").write_text("no database" * 100)
    code, told = doctor(capsys)
    broken = {f["name"]: f for f in told["findings"] if f["state"] == "broken"}
    assert code == 1
    assert says in broken[name]["detail"]
    assert broken[name]["fix"]


def test_a_person_sees_the_same_with_the_way_to_mend_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "chainops.toml").write_text("[trace]\npth = 'x'\n")
    with pytest.raises(SystemExit) as done:
        main(["doctor"])
    out = capsys.readouterr().out
    assert done.value.code == 1
    assert "BROKEN   settings: Wrong settings: trace.pth does not exist" in out
    assert "→ Mend them in the file" in out


def test_llama_cpp_is_looked_at_in_a_process_of_its_own() -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    found = {f.name: f for f in models.llama()}
    assert found["build"].state == "ok"
    assert "llama-cpp-python" in found["build"].detail
    assert "=" in found["CPU"].detail


def test_a_build_that_does_not_load_is_broken_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    monkeypatch.setattr(models, "_PROBE", "import os; os.kill(os.getpid(), 4)")
    (finding,) = models.llama()
    assert (finding.state, finding.detail) == ("broken", "it ended with -4")


def test_a_registered_model_whose_file_changed_is_found(tmp_path: Path) -> None:
    from chainops.engines.llama.registered import add_file
    from chainops.store.shipped import shipped

    file = tmp_path / "model.gguf"
    file.write_bytes((shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf").read_bytes())
    settings = load_settings(environ={}, trace={"path": str(tmp_path / "t.db")})
    add_file(settings.trace.path, "desk", file, probe=False, author="me")
    assert [f.state for f in models.model_files(settings)] == ["ok", "ok"]
    file.unlink()
    found = list(models.model_files(settings))
    assert (found[1].name, found[1].state, found[1].fix != "") == ("desk", "broken", True)


def test_a_sqlite_without_a_feature_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.sqlite3, "sqlite_version_info", (3, 30, 0))
    assert next(base.sqlite()).state == "broken"


def test_every_finding_has_a_state_of_the_four(here: Path) -> None:
    assert {f.state for f in examine()} <= {"ok", "absent", "warning", "broken"}
