"""Model files and adapters under names, in versions: what each is, with its SHA-256, in the file of the artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.engines.llama.adapter_file import check_adapter_file, is_adapter
from chainops.engines.llama.model_file import ModelFile, check_model_file, file_sha256
from chainops.engines.llama.weights import read_weights
from chainops.errors import SetupError
from chainops.store.artifacts import LATEST, Artifacts, ArtifactVersion
from chainops.store.registry import Registry, View

if TYPE_CHECKING:
    from chainops.engines.llama.chat_model import ChatLlama

__all__ = ["KIND", "Verdict", "add_file", "describe_file", "find", "open_registered", "verify"]

KIND = "model"
MODEL, ADAPTER = "model", "adapter"

Hash = Callable[[Sequence[Path]], str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at a registered file found. ``state``: ``"ok"``, ``"missing"`` or ``"changed"``."""

    name: str
    version: int
    path: str
    state: str
    sha256: str
    found: str

    @property
    def ok(self) -> bool:
        """True if the file is there, with the content that was registered."""
        return self.state == "ok"


def describe_file(
    path: str | Path, *, licence: str = "", base: ModelFile | None = None, hashed: Hash
) -> dict[str, Any]:
    """What a file is, as the content of an artifact; checks it on the way.

    Args:
        licence: in place of the one that the file names.
        base: the model that an adapter is for, which it is then compared with.
        hashed: makes SHA-256 of the parts.

    Raises:
        SetupError: codes ``setup.model_file``, ``setup.adapter``.
    """
    if is_adapter(path):
        adapter = check_adapter_file(path, base=base)
        facts: dict[str, Any] = {
            "type": ADAPTER,
            "path": str(adapter.path),
            "bytes": adapter.size,
            "sha256": hashed([adapter.path]),
            "architecture": adapter.arch,
            "parameters": adapter.parameters,
            "rank": adapter.rank,
            "tensors": adapter.tensors,
            "alpha": float(adapter.metadata["adapter.lora.alpha"]),
        }
        return {**facts, "licence": licence or _licence(adapter.metadata)}
    file = check_model_file(path)
    weights = read_weights(file)
    template = str(file.metadata.get("tokenizer.chat_template", ""))
    return {
        "type": MODEL,
        "path": str(file.path),
        "files": len(file.parts),
        "bytes": file.size,
        "sha256": hashed(file.parts),
        "architecture": file.arch,
        "quantisation": weights.quantisation,
        "parameters": weights.parameters,
        "layers": file.number("block_count"),
        "width": file.number("embedding_length"),
        "vocabulary": len(file.metadata["tokenizer.ggml.tokens"]),
        "context": file.trained_context,
        "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest() if template else "",
        "licence": licence or _licence(file.metadata),
    }


def _licence(metadata: Mapping[str, Any]) -> str:
    found = metadata.get("general.license", "")
    return found if isinstance(found, str) else ""


def add_file(
    db: str | Path,
    name: str,
    path: str | Path,
    *,
    licence: str = "",
    sha256: str = "",
    base: str = "",
    probe: bool = True,
    author: str,
    message: str = "",
    hashed: Hash | None = None,
) -> tuple[ArtifactVersion, bool]:
    """Register the file at ``path`` under ``name``; the version, and True if it is new. Blocks.

    Args:
        sha256: what the content must have; empty: not compared.
        base: of an adapter: name of the registered model that it is for. Required for adapters.
        probe: load a model in another process first.
        hashed: makes SHA-256 of files, for example with a progress bar.

    Raises:
        SetupError: the file cannot be loaded (``setup.model_file``, ``setup.adapter``, ``setup.model_probe``), has
            another hash (``setup.model_hash``), or does not go with the name (``setup.model_name``).
    """
    adapter = is_adapter(path)
    if adapter != bool(base):
        raise SetupError(
            f"{path} is an adapter, and nothing says for which model" if adapter else f"{path} is no adapter",
            hint="Give the name of its model with --base." if adapter else "Leave --base out.",
            code="setup.adapter",
        )
    below = find(db, base) if base else None
    content = describe_file(
        path,
        licence=licence,
        base=None if below is None else _checked(below),
        hashed=hashed or (lambda parts: file_sha256(*parts)),
    )
    if below is not None:
        content["base"] = {"name": below.name, "version": below.version, "sha256": below.value()["sha256"]}
    if sha256 and content["sha256"] != sha256.lower():
        raise SetupError(
            f"{path} has the SHA-256 {content['sha256']}, expected {sha256.lower()}",
            hint="It is not the file that you meant: copy or download it again.",
            code="setup.model_hash",
        )
    before = _view_if_there(db)
    entry = before.entries.get(name) if before is not None else None
    if entry is not None and entry.versions[max(entry.versions)].value()["type"] != content["type"]:
        raise SetupError(
            f"{name!r} is the name of a registered {ADAPTER if not adapter else MODEL}, and this is another thing",
            hint="Choose another name.",
            code="setup.model_name",
        )
    if probe and not adapter:
        from chainops.engines.llama.probe import run_probe

        run_probe(Path(content["path"]))
    artifacts = Artifacts(db)
    version, new = artifacts.add(KIND, name, content, author=author, message=message)
    if entry is not None and version.version in entry.retired:
        artifacts.retire(KIND, name, version.version, who=author, why="added again", back=True)
        new = True
    return version, new


def _view_if_there(db: str | Path) -> View | None:
    return Registry(db, KIND).look() if Path(db).is_file() else None


def _checked(version: ArtifactVersion) -> ModelFile:
    content = version.value()
    if content["type"] != MODEL:
        raise SetupError(
            f"{version.name!r} is an adapter, not a model", hint="Name the model.", code="setup.model_name"
        )
    return check_model_file(content["path"])


def find(db: str | Path, ref: str) -> ArtifactVersion:
    """The version that ``NAME``, ``NAME@LABEL`` or ``NAME@VERSION`` means; without @ the newest. Blocks.

    Raises:
        StoreError: there is none, or it was removed.
    """
    name, _, wanted = ref.partition("@")
    return Registry(db, KIND).look().resolve(name, wanted or LATEST)


def verify(version: ArtifactVersion, *, hashed: Hash | None = None) -> Verdict:
    """Read the whole file again and compare its hash with the registered one. Blocks, as long as reading takes."""
    content = version.value()
    path, wanted = Path(content["path"]), str(content["sha256"])
    state, found = "missing", ""
    if path.is_file():
        try:
            parts = check_model_file(path).parts if content["type"] == MODEL else (path,)
            found = (hashed or (lambda files: file_sha256(*files)))(parts)
            state = "ok" if found == wanted else "changed"
        except (SetupError, OSError):
            state = "changed"
    return Verdict(version.name, version.version, str(path), state, wanted, found)


def open_registered(ref: str, *, path: str | Path = "chainops.db", **options: Any) -> ChatLlama:
    """A :class:`ChatLlama` for a registered model; its hash is checked before it is loaded.

    Args:
        ref: ``NAME``, ``NAME@LABEL`` or ``NAME@VERSION``; without @ the newest version.
        path: the file with the artifacts.
        options: of ``ChatLlama``. Values of ``adapters`` may be names of registered adapters as well as paths.

    Raises:
        StoreError: there is no such model, or it was removed.
        SetupError: an adapter was made for another model (``setup.adapter``).
    """
    from chainops.engines.llama.chat_model import ChatLlama

    version = find(path, ref)
    content = version.value()
    _checked(version)
    adapters = {name: _adapter(path, wanted, version) for name, wanted in (options.pop("adapters", None) or {}).items()}
    return ChatLlama(model_path=content["path"], sha256=content["sha256"], adapters=adapters, **options)


def _adapter(db: str | Path, wanted: Any, base: ArtifactVersion) -> Any:
    """The file of a registered adapter that is for ``base``; what is no registered name is left as it is."""
    name = str(wanted).partition("@")[0]
    if not isinstance(wanted, str) or name not in Registry(db, KIND).look().entries:
        return wanted
    content = find(db, wanted).value()
    if content["type"] != ADAPTER or content["base"]["sha256"] != base.value()["sha256"]:
        raise SetupError(
            f"{wanted!r} is no adapter for {base.name!r} version {base.version}",
            hint="Name an adapter that was added with --base of exactly this model.",
            code="setup.adapter",
        )
    return {"path": content["path"], "sha256": content["sha256"]}
