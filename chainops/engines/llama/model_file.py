"""A model file, checked before llama.cpp sees it: a broken file is an error here and an abort there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from chainops.engines.llama.gguf import BadFileError, Header, read_header
from chainops.errors import SetupError

__all__ = ["ModelFile", "check_model_file", "file_sha256", "known_sha256"]

MAX_LAYERS = 1024
MAX_WIDTH = 1 << 20
MAX_CONTEXT = 1 << 28
TOKENIZERS = frozenset({"gpt2", "llama", "bert", "t5", "rwkv", "plamo2", "gemma4"})
NOT_FOR_CHAT = frozenset(
    {
        *("bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "modern-bert"),
        *("eurobert", "gemma-embedding", "t5", "t5encoder", "clip", "wavtokenizer-dec"),
    }
)
SPECIAL_TOKENS = ("bos", "eos", "eot")
"""The ones that decide where a prompt begins and an answer ends; llama.cpp ignores others that do not exist."""
SPLIT_NAME = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
HASH_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that passed the checks.

    Args:
        path: absolute path, as given (links are followed when it is opened).
        size: bytes of all its parts.
        sha256: its hash if that was asked for, else "".
        metadata: the key-value pairs of the header.
        parts: all its files, the first included.
    """

    path: Path
    size: int
    sha256: str
    metadata: dict[str, Any]
    parts: tuple[Path, ...]

    @property
    def arch(self) -> str:
        """llama.cpp's name of the architecture, for example ``"llama"``."""
        return str(self.metadata["general.architecture"])

    @property
    def trained_context(self) -> int:
        """Tokens of context that the model was trained with."""
        return int(self.metadata[f"{self.arch}.context_length"])

    def number(self, name: str, default: int = 0) -> int:
        """A whole number of the architecture, for example ``number("block_count")``."""
        value = self.metadata.get(f"{self.arch}.{name}", default)
        return value if isinstance(value, int) else default


def file_sha256(*paths: Path) -> str:
    """SHA-256 of the content of all ``paths``, one after the other, as 64 hex digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(HASH_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


_hashed: dict[tuple[str, int, int, int], str] = {}


def known_sha256(path: str | Path) -> str:
    """SHA-256 of a model with all its parts, computed when the file is new to this process or has changed.

    The first time it reads the whole file and blocks; then it takes microseconds.

    Raises:
        SetupError: code ``setup.model_file``.
    """
    path = Path(path).expanduser().absolute()
    try:
        found = path.stat()
    except OSError:
        found = None
    key = (str(path), found.st_ino, found.st_size, found.st_mtime_ns) if found is not None else None
    if key is None or key not in _hashed:
        parts = check_model_file(path).parts
        digest = file_sha256(*parts)
        if key is None:
            return digest
        _hashed[key] = digest
    return _hashed[key]


def check_model_file(path: str | Path, *, sha256: str = "") -> ModelFile:
    """The file at ``path``, if it is a GGUF chat model that is whole and consistent.

    Args:
        path: the file; of a model in several parts, the first part.
        sha256: 64 hex digits that the content (of all parts, joined) must have; empty: not compared.

    Raises:
        SetupError: code ``setup.model_file`` (what is wrong with the file) or ``setup.model_hash``.
    """
    path = Path(path).expanduser().absolute()
    try:
        size = _size(path)
        header = read_header(path)
        parts = (path, *_other_parts(path, header))
        for part in parts[1:]:
            more = _read_part(part)
            header = replace(header, tensors=header.tensors + more.tensors)
            size += more.file_size
        _check_model(header)
    except BadFileError as error:
        raise SetupError(
            f"{path} cannot be loaded as a model: {error}",
            hint="Give the path of a complete GGUF chat model; copy or download it again if it should be one.",
            code="setup.model_file",
        ) from None
    except OSError as error:
        raise SetupError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="Check the path and the permissions.",
            code="setup.model_file",
        ) from None
    if sha256:
        found = file_sha256(*parts)
        if found != sha256.lower():
            raise SetupError(
                f"{path} has the SHA-256 {found}, expected {sha256.lower()}",
                hint="The file changed or is another one: restore it, or give the new hash if you trust it.",
                code="setup.model_hash",
            )
    return ModelFile(path, size, sha256.lower(), header.metadata, parts)


def check_encoder_file(path: Path, architectures: frozenset[str]) -> str:
    """The architecture of a GGUF encoder, which makes vectors, if its tables are whole and consistent.

    Raises:
        BadFileError: what is wrong with it.
        OSError: it cannot be read.
    """
    _size(path)
    header = read_header(path)
    arch = header.metadata.get("general.architecture")
    if not isinstance(arch, str) or arch not in architectures:
        raise BadFileError(f"its architecture is {arch!r}, not one of {', '.join(sorted(architectures))}")
    if not header.tensors:
        raise BadFileError("it has no weights (a vocabulary only)")
    _check_shape(header, arch)
    _check_tokenizer(header, arch)
    return arch


def _size(path: Path) -> int:
    if not path.exists():
        raise BadFileError("there is no such file")
    if not path.is_file():
        raise BadFileError("it is a directory" if path.is_dir() else "it is no regular file")
    size = path.stat().st_size
    if not size:
        raise BadFileError("it is empty (0 bytes)")
    return size


def _other_parts(path: Path, header: Header) -> list[Path]:
    count = header.metadata.get("split.count", 0)
    if not isinstance(count, int) or count <= 1:
        return []
    match = SPLIT_NAME.search(path.name)
    if match is None or int(match[1]) != 1 or int(match[2]) != count:
        raise BadFileError(f"it is one of {count} parts; give the first, named NAME-00001-of-{count:05}.gguf")
    stem = path.name[: match.start()]
    return [path.with_name(f"{stem}-{part:05}-of-{count:05}.gguf") for part in range(2, count + 1)]


def _read_part(path: Path) -> Header:
    try:
        _size(path)
        return read_header(path)
    except BadFileError as error:
        raise BadFileError(f"part {path.name}: {error}") from None


def _check_model(header: Header) -> None:
    metadata = header.metadata
    kind = metadata.get("general.type", "model")
    if kind != "model":
        raise BadFileError(f"it holds a {kind!r}, not a model")
    arch = metadata.get("general.architecture")
    if not isinstance(arch, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", arch):
        raise BadFileError(f"its architecture is {arch!r}")
    if arch in NOT_FOR_CHAT:
        raise BadFileError(f"the architecture {arch!r} cannot chat (it makes embeddings)")
    if not header.tensors:
        raise BadFileError("it has no weights (a vocabulary only)")
    _check_shape(header, arch)
    _check_tokenizer(header, arch)


def _check_shape(header: Header, arch: str) -> None:
    def number(name: str, low: int, high: int, default: int | None = None) -> int:
        value = header.metadata.get(f"{arch}.{name}", default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise BadFileError(f"{arch}.{name} is {value!r}, outside {low}..{high}")
        return value

    number("block_count", 1, MAX_LAYERS)
    width = number("embedding_length", 1, MAX_WIDTH)
    number("context_length", 1, MAX_CONTEXT)
    heads = header.metadata.get(f"{arch}.attention.head_count")
    if heads is None or isinstance(heads, tuple):
        return
    heads = number("attention.head_count", 0, MAX_WIDTH)
    if not heads:
        if "attn_q" in "".join(tensor.name for tensor in header.tensors):
            raise BadFileError(f"{arch}.attention.head_count is 0")
        return
    if f"{arch}.attention.key_length" not in header.metadata and width % heads:
        raise BadFileError(f"{heads} attention heads do not divide the width {width}")
    number("attention.key_length", 1, MAX_WIDTH, default=max(width // heads, 1))
    number("attention.value_length", 1, MAX_WIDTH, default=max(width // heads, 1))
    kv_heads = header.metadata.get(f"{arch}.attention.head_count_kv", heads)
    if not isinstance(kv_heads, tuple) and (not isinstance(kv_heads, int) or kv_heads < 1 or heads % kv_heads):
        raise BadFileError(f"{kv_heads!r} key-value heads do not divide {heads} heads")


def _check_tokenizer(header: Header, arch: str) -> None:
    metadata = header.metadata
    kind, tokens = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.tokens")
    if kind not in TOKENIZERS:
        raise BadFileError(f"its tokenizer is {kind!r}, not one of {sorted(TOKENIZERS)}")
    if not _strings(tokens):
        raise BadFileError("it has no list of tokens")
    vocabulary = set(tokens)
    if len(vocabulary) != len(tokens):
        raise BadFileError(f"{len(tokens) - len(vocabulary)} of its {len(tokens)} tokens occur twice")
    for name in ("token_type", "scores"):
        values = metadata.get(f"tokenizer.ggml.{name}")
        if values is not None and (not isinstance(values, tuple) or len(values) != len(tokens)):
            raise BadFileError(f"tokenizer.ggml.{name} does not have one value for each of the {len(tokens)} tokens")
    if kind == "gpt2" and not _strings(metadata.get("tokenizer.ggml.merges")):
        raise BadFileError("its tokenizer 'gpt2' has no merges")
    if kind == "llama":
        missing = sum(b"<0x%02X>" % byte not in vocabulary and bytes([byte]) not in vocabulary for byte in range(256))
        if missing:
            raise BadFileError(
                f"its tokenizer 'llama' lacks {missing} of the 256 byte tokens (wrong kind of vocabulary?)"
            )
    for name in SPECIAL_TOKENS:
        token = metadata.get(f"tokenizer.ggml.{name}_token_id", 0)
        if not isinstance(token, int) or not (0 <= token < len(tokens) or token == 0xFFFFFFFF):
            raise BadFileError(f"tokenizer.ggml.{name}_token_id is {token!r}, but there are {len(tokens)} tokens")
    _check_embedding(header, arch, len(tokens))


def _check_embedding(header: Header, arch: str, tokens: int) -> None:
    shape = next((tensor.shape for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    wanted = (header.metadata[f"{arch}.embedding_length"], tokens)
    if shape is None:
        raise BadFileError("it has no tensor 'token_embd.weight'")
    if shape[:2] != wanted:
        raise BadFileError(f"'token_embd.weight' has the shape {shape}, expected {wanted}")


def _strings(value: Any) -> TypeGuard[tuple[bytes, ...]]:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], bytes)
