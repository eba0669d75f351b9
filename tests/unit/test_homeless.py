"""A user without a home: a service's, or a container's."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainops.errors import SetupError


@pytest.fixture(autouse=True)
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def expanduser(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", expanduser)
    monkeypatch.setattr(Path, "home", lambda: expanduser(Path("~")))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "CHAINOPS_RUNTIME_DIR", "CHAINOPS_EMBEDDINGS__PATH"):
        monkeypatch.delenv(name, raising=False)


def test_probes_of_models_are_not_remembered_and_nothing_fails() -> None:
    from chainops.engines.llama import probe

    mark = probe.cache_dir() / "x.json"
    probe._write(mark, "0" * 64)
    assert probe._read(mark) == ""


def test_the_embedder_is_looked_for_in_the_environment_of_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from chainops.engines.embeddings.place import default_place

    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert default_place().is_relative_to(tmp_path)


def test_plugins_from_a_folder_say_which_variable_to_set(tmp_path: Path) -> None:
    from chainops.plugin import folder

    with pytest.raises(SetupError) as caught:
        folder._base()
    assert "CHAINOPS_RUNTIME_DIR" in (caught.value.hint or "")
