"""Signed bundles: refused when tampered with, applied as a whole, rolled back, written down."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs cryptography (the [bundle] extra)")

from typer.testing import CliRunner

from chainops.cli import app
from chainops.errors import SetupError
from chainops.ops.bundle import Bundle, create, open_bundle
from chainops.ops.signing import make_keys
from chainops.ops.site import Site
from chainops.store.artifacts import Artifacts, settled
from chainops.store.shipped import shipped

PROMPT = "---\ninputs:\n  properties:\n    name: {type: string}\n---\nSay hello to {{ name }}\n"
TINY = shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    make_keys(tmp_path / "private.pem", tmp_path / "public.pem")
    return tmp_path / "private.pem", tmp_path / "public.pem"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site", tmp_path / "site" / "chainops.db", "ada")


@pytest.fixture
def write(tmp_path: Path, keys: tuple[Path, Path]) -> Callable[..., Path]:
    """Makes a bundle of files given by path."""

    def write(version: str, **files: str) -> Path:
        folder = tmp_path / f"make-{version}"
        for place, text in files.items():
            path = folder / place.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        target = tmp_path / f"{version}.bundle"
        create(folder, target, keys[0], name="desk", version=version)
        return target

    return write


def greeting(site: Site) -> str | None:
    """The text of the prompt that ``prod`` means."""
    from chainops.store.registry import Registry

    if not site.db.exists():
        return None
    moves = Artifacts(site.db).moves("prompt", "greeting")
    if "prod" not in settled(moves)[0]:
        return None
    return str(Registry(site.db, "prompt").look().resolve("greeting", "prod").value())


def code_of(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(SetupError) as caught:
        call(*arguments, **keywords)
    assert caught.value.hint
    return caught.value.code


def prompt(text: str) -> dict[str, str]:
    return {"prompts__greeting.prompt": PROMPT.replace("hello", text)}


def test_a_bundle_is_applied_as_a_whole_and_rolled_back(
    site: Site, write: Callable[..., Path], keys: tuple[Path, Path]
) -> None:
    one = site.apply(write("1", **prompt("one"), settings__chainops_toml="", files__a="1"), [keys[1]])
    assert (site.folder / "current" / "files" / "a").read_text() == "1"
    assert "one" in str(greeting(site))
    two = site.apply(write("2", **prompt("two"), files__a="2"), [keys[1]])
    assert site.current() == two.folder
    assert "two" in str(greeting(site))
    assert site.rollback() == (two.folder, one.folder)
    assert (site.folder / "current" / "files" / "a").read_text() == "1"
    assert "one" in str(greeting(site))
    assert site.rollback() == (one.folder, None)
    assert (site.current(), greeting(site)) == (None, None)
    assert code_of(site.rollback) == "setup.bundle_none"
    assert [each["did"] for each in site.journal()] == ["begun", "applied"] * 2 + ["rolled_back"] * 2
    assert {each["who"] for each in site.journal()} == {"ada"}


def test_models_in_a_bundle_are_registered(site: Site, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    (tmp_path / "make" / "models").mkdir(parents=True)
    shutil.copy(TINY, tmp_path / "make" / "models" / "tiny.gguf")
    create(tmp_path / "make", tmp_path / "b", keys[0], name="m", version="1")
    bundle = site.apply(tmp_path / "b", [keys[1]])
    from chainops.store.registry import Registry

    found = Registry(site.db, "model").look().resolve("tiny", "latest").value()
    assert Path(found["path"]).is_file() and bundle.folder in found["path"]


def repacked(bundle: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with tarfile.open(bundle) as tar:
        parts = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    change(parts)
    with tarfile.open(bundle, "w") as tar:
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


TAMPER: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "a file": (lambda p: p.update({"files/files/a": b"evil"}), "setup.bundle"),
    "the list": (
        lambda p: p.update({"bundle.json": p["bundle.json"].replace(b"desk", b"dusk")}),
        "setup.bundle_signature",
    ),
    "the signature": (lambda p: p.update({"bundle.sig": b"AAAA"}), "setup.bundle_signature"),
    "one file more": (lambda p: p.update({"files/files/b": b"evil"}), "setup.bundle"),
    "one file less": (lambda p: p.pop("files/files/a"), "setup.bundle"),
    "no signature": (lambda p: p.pop("bundle.sig"), "setup.bundle"),
}


@pytest.mark.parametrize("what", TAMPER)
def test_a_bundle_that_was_tampered_with_is_refused_and_changes_nothing(
    site: Site, write: Callable[..., Path], keys: tuple[Path, Path], what: str
) -> None:
    change, code = TAMPER[what]
    bundle = write("1", files__a="1", **prompt("one"))
    repacked(bundle, change)
    assert code_of(site.apply, bundle, [keys[1]]) == code
    assert site.journal() == [] and site.current() is None and greeting(site) is None
    assert [path.name for path in site.folder.iterdir()] == [".lock"]


def test_only_a_key_that_is_trusted_counts(site: Site, write: Callable[..., Path], tmp_path: Path) -> None:
    make_keys(tmp_path / "other.pem", tmp_path / "other.pub")
    bundle = write("1", files__a="1")
    assert code_of(site.apply, bundle, [tmp_path / "other.pub"]) == "setup.bundle_signature"
    assert code_of(site.apply, bundle, [tmp_path / "other.pem"]) == "setup.bundle_key"
    assert code_of(site.apply, bundle, []) == "setup.bundle_signature"


@pytest.mark.parametrize(
    "files",
    [{"settings__chainops.toml": "[trace]\npth = 1\n"}, {"models__x.gguf": "no model"}],
    ids=["settings", "model"],
)
def test_wrong_contents_are_found_before_anything_is_used(
    site: Site, write: Callable[..., Path], keys: tuple[Path, Path], files: dict[str, str]
) -> None:
    assert code_of(site.apply, write("1", **files, **prompt("one")), [keys[1]]) == "setup.bundle"
    assert site.current() is None and greeting(site) is None


def test_an_older_bundle_is_refused_unless_asked_for(
    site: Site, write: Callable[..., Path], keys: tuple[Path, Path]
) -> None:
    one, two = write("1", files__a="1"), write("2", files__a="2")
    site.apply(two, [keys[1]])
    assert code_of(site.apply, one, [keys[1]]) == "setup.bundle_older"
    assert site.apply(one, [keys[1]], older=True).version == "1"


@pytest.mark.parametrize("where", ["_register_models", "_put_prompts", "_point"])
def test_what_a_crash_interrupted_is_finished_by_the_next_command(
    site: Site, write: Callable[..., Path], keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    site.apply(write("0", **prompt("zero")), [keys[1]])
    bundle = write("1", **prompt("one"), files__a="1")
    with monkeypatch.context() as patch:

        def crash(*_: Any) -> Any:
            raise KeyboardInterrupt

        patch.setattr(Site, where, crash)
        with pytest.raises(KeyboardInterrupt):
            site.apply(bundle, [keys[1]])
    assert site.journal()[-1]["did"] == "begun"
    left, now = site.rollback()  # finishes what was begun, then goes back
    assert "desk-1-" in left and now is not None and "desk-0-" in now
    assert "zero" in str(greeting(site))


def test_a_journal_that_was_changed_is_noticed(site: Site, write: Callable[..., Path], keys: tuple[Path, Path]) -> None:
    site.apply(write("1", files__a="1"), [keys[1]])
    journal = site.folder / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"who": "ada"', '"who": "eve"', 1))
    assert code_of(site.apply, write("2", files__a="2"), [keys[1]]) == "setup.bundle_journal"
    assert (site.folder / "current" / "files" / "a").read_text() == "1"


def test_half_a_line_that_a_power_cut_left_is_dropped(
    site: Site, write: Callable[..., Path], keys: tuple[Path, Path]
) -> None:
    site.apply(write("1", files__a="1"), [keys[1]])
    with (site.folder / "journal.jsonl").open("a") as file:
        file.write('{"did": "app')
    site.apply(write("2", files__a="2"), [keys[1]])
    assert [each["did"] for each in site.journal()] == ["begun", "applied", "begun", "applied"]


def test_what_does_not_belong_into_a_bundle_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    folder = tmp_path / "make"
    (folder / "other").mkdir(parents=True)
    (folder / "other" / "x").touch()
    assert code_of(create, folder, tmp_path / "b", keys[0], name="a", version="1") == "setup.bundle"
    shutil.rmtree(folder / "other")
    assert code_of(create, folder, tmp_path / "b", keys[0], name="a", version="1") == "setup.bundle"
    (folder / "files").mkdir()
    (folder / "files" / "link").symlink_to("/etc/passwd")
    assert code_of(create, folder, tmp_path / "b", keys[0], name="a", version="1") == "setup.bundle"
    assert code_of(create, folder, tmp_path / "b", keys[0], name="../a", version="1") == "setup.bundle"


def test_the_private_key_is_its_owners_only_and_keys_are_never_replaced(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    assert keys[0].stat().st_mode & 0o777 == 0o600
    assert code_of(make_keys, *keys) == "setup.output"


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Any:
        result = CliRunner().invoke(app, ["bundle", *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    Path("trusted").mkdir()
    Path("new/files").mkdir(parents=True)
    Path("new/files/a").write_text("1")
    run("keys", "sign.pem", "trusted/site.pem")
    run("create", "new", "b.bundle", "--key", "sign.pem", "--name", "desk", "--version", "1")
    assert json.loads(run("verify", "b.bundle", "--json").stdout)["name"] == "desk"
    assert json.loads(run("apply", "b.bundle", "--json").stdout)["files"][0]["path"] == "files/a"
    assert json.loads(run("log", "--json").stdout)["current"].startswith("desk-1-")
    assert "no bundle" in run("rollback").stdout
    repacked(Path("b.bundle"), lambda parts: parts.update({"files/files/a": b"evil"}))
    assert run("verify", "b.bundle").exit_code == 1


def test_a_bundle_says_what_it_is(write: Callable[..., Path], keys: tuple[Path, Path]) -> None:
    bundle: Bundle = open_bundle(write("1", files__a="abc"), [keys[1]])
    assert (bundle.name, bundle.version, bundle.label, len(bundle.key)) == ("desk", "1", "prod", 16)
    assert [(each.path, each.bytes) for each in bundle.files] == [("files/a", 3)]
