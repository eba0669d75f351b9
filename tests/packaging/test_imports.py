"""What is loaded when, in fresh processes: nobody pays for what they do not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("langgraph", "langchain_core", "sqlmodel", "sqlalchemy", "alembic", "torch", "llama_cpp", "numpy", "pydantic")


def loaded_by(code: str, *block: str) -> set[str]:
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in block)
    script = f"import sys\n{blocked}{code}\nprint(*sorted({{n.split('.')[0] for n, m in sys.modules.items() if m}}))"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(finished.stdout.splitlines()[-1].split())


def test_importing_chainops_loads_nothing_heavy() -> None:
    assert loaded_by("import chainops").isdisjoint(HEAVY)


def test_help_and_version_load_nothing_heavy() -> None:
    for words in (["--help"], ["--version"]):
        code = f"from chainops.cli import main\ntry: main({words})\nexcept SystemExit: pass"
        assert loaded_by(code).isdisjoint(HEAVY), words


def test_the_version_alone_is_told_without_loading_the_command_line() -> None:
    code = "import runpy, sys; sys.argv = ['chainops', '--version']; runpy.run_module('chainops', run_name='__main__')"
    assert loaded_by(code).isdisjoint({"typer", "rich", *HEAVY})


def test_instrumenting_needs_neither_llama_nor_torch_nor_the_database_packages() -> None:
    used = loaded_by("import chainops; chainops.instrument; chainops.wrap; chainops.App")
    assert "langgraph" in used
    assert used.isdisjoint({"torch", "llama_cpp", "sqlalchemy", "alembic"})


def test_every_public_name_can_be_had_and_is_listed() -> None:
    import chainops

    assert chainops.__all__ == sorted(chainops.__all__)
    assert [name for name in chainops.__all__ if not hasattr(chainops, name)] == []
    assert set(dir(chainops)) == {*chainops.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'instument'"):
        chainops.instument  # noqa: B018


def test_a_missing_extra_is_one_clear_error_with_the_line_that_installs_it() -> None:
    code = (
        "from chainops.engines.llama import ChatLlama\n"
        "from chainops.store.shipped import shipped\n"
        "from chainops.errors import MissingExtra\n"
        "path = shipped('recipes') / 'tiny_model' / 'support-desk-tiny.gguf'\n"
        "try: ChatLlama(model_path=str(path)).invoke('hi')\n"
        "except MissingExtra as error: print(error)\n"
        "else: raise SystemExit('no error')\n"
    )
    script = f"import sys\nsys.modules['llama_cpp'] = sys.modules['xllamacpp'] = None\n{code}"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'chainops[llama]'" in finished.stdout


def test_the_demo_without_its_engine_says_only_that(tmp_path: Path) -> None:
    script = (
        "import importlib.util, sys\nfind, gone = importlib.util.find_spec, ('llama_cpp', 'xllamacpp')\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in gone else find(name, *rest)\n"
        "from chainops.cli import main\nmain(['demo', '--yes'])\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[1] == "  hint: pip install 'chainops[llama]'"
    assert (finished.stdout, list(tmp_path.iterdir())) == ("", [])
