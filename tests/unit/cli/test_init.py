"""``chainops init``: a new folder that runs and whose tests pass; nothing that is there is touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chainops.cli import main
from chainops.cli.init import recipes


def init(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["init", *words])
    said = capsys.readouterr()
    return int(done.value.code or 0), said.out, said.err


def test_the_starter_passes_its_test_and_answers_on_the_shipped_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my_app"
    code, out, err = init(capsys, str(folder))
    assert code == 0, err
    assert sorted(Path(line).name for line in out.split()) == ["README.md", "app.py", "chainops.toml", "test_app.py"]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "chainops.pytest_plugin", "-p", "no:cacheprovider"]
    tested = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    ran = subprocess.run([sys.executable, "app.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.stdout == "Shipping is free above fifty euros. Below that it costs four euros and ninety cents.\n"
    assert (folder / "chainops.db").is_file()


def test_without_the_local_engine_init_and_the_starter_say_what_to_install(tmp_path: Path) -> None:
    gone = ["llama_cpp", "xllamacpp", "numpy"]
    hide = f"import sys; sys.modules |= dict.fromkeys({gone}); import runpy; sys.argv = sys.argv[1:]; "

    def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", hide + code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    made = python("sys.argv[0] = 'chainops'; from chainops.cli import main; main(sys.argv[1:])", "-", "init", "my_app")
    assert made.returncode == 0, made.stderr
    assert "pip install 'chainops[llama]'\n  python app.py" in made.stderr
    ran = python("runpy.run_path(sys.argv[0], run_name='__main__')", "my_app/app.py")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "error: A local llama.cpp model needs the package 'llama-cpp-python', which is not installed "
        "[setup.missing_extra]",
        "  hint: pip install 'chainops[llama]'",
    ]


def test_every_recipe_can_be_started_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(init(capsys, "--list", "--json")[1])
    assert listed[0]["recipe"] == "starter"
    assert {row["recipe"] for row in listed} == set(recipes())
    for row in listed:
        folder = tmp_path / row["recipe"]
        files = json.loads(init(capsys, str(folder), "--recipe", row["recipe"], "--json")[1])["files"]
        assert {"app.py", "README.md"} <= set(files)
        assert not [name for name in files if name.endswith((".pyc", ".db")) or "test_recipe" in name]
        compile((folder / "app.py").read_text(encoding="utf-8"), "app.py", "exec")


def test_what_is_there_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app.py").write_text("mine")
    code, _, err = init(capsys, str(tmp_path))
    assert code == 2
    assert "app.py already" in err
    assert [p.name for p in tmp_path.iterdir()] == ["app.py"]
    assert (tmp_path / "app.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "says"), [((), "No folder was given"), (("x", "-r", "support_dsk"), "Did you mean 'support_desk'?")]
)
def test_a_mistake_makes_no_folder(
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = init(capsys, *words)
    assert (code, says in err, list(tmp_path.iterdir())) == (2, True, [])
