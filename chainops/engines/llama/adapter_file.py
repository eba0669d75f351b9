"""A LoRA adapter file, checked against its model before llama.cpp sees it, which dies of wrong ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainops.engines.llama.gguf import BadFileError, Header, Tensor, read_header
from chainops.engines.llama.model_file import ModelFile, file_sha256
from chainops.errors import SetupError

__all__ = ["AdapterFile", "check_adapter_file", "is_adapter"]

SUFFIXES = (".lora_a", ".lora_b")
MAX_RANK = 8192
EMBEDDING = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An adapter that passed the checks.

    Args:
        path: absolute path.
        size: bytes.
        sha256: its hash if that was asked for, else "".
        metadata: the key-value pairs of the header.
        rank: the largest rank of its matrices.
        tensors: how many tensors of the model it changes.
        parameters: how many numbers it has.
    """

    path: Path
    size: int
    sha256: str
    metadata: dict[str, Any]
    rank: int
    tensors: int
    parameters: int

    @property
    def arch(self) -> str:
        """llama.cpp's name of the architecture that it was made for."""
        return str(self.metadata["general.architecture"])


def is_adapter(path: str | Path) -> bool:
    """True if the file says that it holds an adapter.

    Raises:
        SetupError: code ``setup.model_file``: it cannot be read.
    """
    return _header(Path(path).expanduser().absolute()).metadata.get("general.type") == "adapter"


def check_adapter_file(path: str | Path, *, base: ModelFile | None = None, sha256: str = "") -> AdapterFile:
    """The file at ``path``, if it is a whole LoRA adapter and fits the model ``base``.

    Raises:
        SetupError: code ``setup.adapter`` (what is wrong), ``setup.model_file`` (it cannot be read) or
            ``setup.model_hash``.
    """
    path = Path(path).expanduser().absolute()
    header = _header(path)
    try:
        pairs = _pairs(header)
        if base is not None:
            _check_base(header, pairs, base)
    except BadFileError as error:
        raise SetupError(
            f"{path} is no adapter{f' for {base.path.name}' if base else ''}: {error}",
            hint="Give a LoRA adapter in GGUF form that was made from exactly this model.",
            code="setup.adapter",
        ) from None
    if sha256:
        found = file_sha256(path)
        if found != sha256.lower():
            raise SetupError(
                f"{path} has the SHA-256 {found}, expected {sha256.lower()}",
                hint="The file changed or is another one: restore it, or give the new hash if you trust it.",
                code="setup.model_hash",
            )
    return AdapterFile(
        path,
        header.file_size,
        sha256.lower(),
        header.metadata,
        rank=max(_rank(name, a) for name, (a, _) in pairs.items()),
        tensors=len(pairs),
        parameters=sum(math.prod(tensor.shape) for pair in pairs.values() for tensor in pair),
    )


def _header(path: Path) -> Header:
    try:
        if not path.is_file():
            raise BadFileError("it is no regular file" if path.exists() else "there is no such file")
        if not path.stat().st_size:
            raise BadFileError("it is empty (0 bytes)")
        return read_header(path)
    except (BadFileError, OSError) as error:
        raise SetupError(
            f"{path} cannot be read as a GGUF file: {error}",
            hint="Check the path; copy or download the file again if it should be one.",
            code="setup.model_file",
        ) from None


def _rank(name: str, a: Tensor) -> int:
    """The embedding is looked up, not multiplied with: its first half is the other way round."""
    return a.shape[0 if name == EMBEDDING else 1]


def _pairs(header: Header) -> dict[str, tuple[Tensor, Tensor]]:
    metadata = header.metadata
    if metadata.get("general.type") != "adapter":
        raise BadFileError(f"it holds a {metadata.get('general.type', 'model')!r}")
    if metadata.get("adapter.type") != "lora":
        raise BadFileError(f"its adapter.type is {metadata.get('adapter.type')!r}, not 'lora'")
    if not isinstance(metadata.get("general.architecture"), str):
        raise BadFileError("it does not say for which architecture it is")
    alpha = metadata.get("adapter.lora.alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise BadFileError(f"its adapter.lora.alpha is {alpha!r}")
    halves: dict[str, dict[str, Tensor]] = {}
    for tensor in header.tensors:
        name, dot, half = tensor.name.rpartition(".")
        if dot + half not in SUFFIXES or not name:
            raise BadFileError(f"its tensor {tensor.name!r} is no half of a LoRA pair")
        halves.setdefault(name, {})[half] = tensor
    pairs = {}
    for name, found in halves.items():
        if len(found) != len(SUFFIXES):
            raise BadFileError(f"of {name!r} there is only {next(iter(found))}")
        a, b = found["lora_a"], found["lora_b"]
        flat = len(a.shape) == len(b.shape) == 2
        if not flat or _rank(name, a) != b.shape[0] or b.shape[0] > MAX_RANK:
            raise BadFileError(f"the shapes {a.shape} and {b.shape} of {name!r} do not belong together")
        pairs[name] = (a, b)
    if not pairs:
        raise BadFileError("it has no weights")
    return pairs


def _check_base(header: Header, pairs: dict[str, tuple[Tensor, Tensor]], base: ModelFile) -> None:
    arch = header.metadata["general.architecture"]
    if arch != base.arch:
        raise BadFileError(f"it was made for the architecture {arch!r}, the model has {base.arch!r}")
    shapes = {tensor.name: tensor.shape for part in base.parts for tensor in read_header(part).tensors}
    for name, (a, b) in pairs.items():
        shape = shapes.get(name)
        if shape is None:
            raise BadFileError(f"the model has no tensor {name!r}")
        made_for = (b.shape[1], a.shape[1]) if name == EMBEDDING else (a.shape[0], b.shape[1])
        if tuple(shape) != made_for:
            raise BadFileError(f"{name!r} has the shape {shape} in the model, in the adapter {made_for}")
