"""Keys of bundles: Ed25519 in PEM files, through ``cryptography``."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.errors import MissingExtra, SetupError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["key_id", "make_keys", "private_key", "public_key", "signer"]


def make_keys(private: Path, public: Path) -> str:
    """A new pair of keys as PEM files, the private one readable by its owner only; the id of the public one.

    Raises:
        SetupError: a file is there already or cannot be written (``setup.output``).
    """
    ed25519, serialization = _crypto()
    key = ed25519.Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    for path, data, mode in ((private, secret, 0o600), (public, shown, 0o644)):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
        except OSError as error:
            hint = "Keys are never replaced; give another name."
            raise SetupError(f"Cannot write {path}: {error.strerror}", hint=hint, code="setup.output") from None
    return key_id(key.public_key())


def signer(manifest: bytes, signature: bytes, keys: list[Ed25519PublicKey], file: Path) -> Ed25519PublicKey:
    """The one of ``keys`` that made the signature; ``setup.bundle_signature`` where none did."""
    from cryptography.exceptions import InvalidSignature

    for key in keys:
        try:
            key.verify(base64.b64decode(signature, validate=True), manifest)
        except (InvalidSignature, ValueError):
            continue
        return key
    raise SetupError(
        f"{file} is not signed by a key that is trusted here, or was changed; nothing of it was used",
        hint="Get it again from who made it, or trust their key with --trust.",
        code="setup.bundle_signature",
    )


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 digits of the SHA-256 of a public key."""
    _, serialization = _crypto()
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _crypto() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MissingExtra("bundle", package="cryptography", needed_for="Signing and checking bundles") from None
    return ed25519, serialization


def private_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs; ``setup.bundle_key`` where the file holds none."""
    ed25519, serialization = _crypto()
    return _key(path, lambda data: serialization.load_pem_private_key(data, None), ed25519.Ed25519PrivateKey)  # type: ignore[no-any-return]


def public_key(path: Path) -> Ed25519PublicKey:
    """The key that checks; ``setup.bundle_key`` where the file holds none."""
    ed25519, serialization = _crypto()
    return _key(path, serialization.load_pem_public_key, ed25519.Ed25519PublicKey)  # type: ignore[no-any-return]


def _key(path: Path, load: Any, kind: type) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        key = load(path.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no PEM key without a password"
        raise SetupError(
            f"Cannot read the key {path}: {reason}", hint="chainops bundle keys makes a pair.", code="setup.bundle_key"
        ) from None
    if not isinstance(key, kind):
        raise SetupError(
            f"{path} is no {kind.__name__}", hint="chainops bundle keys makes a pair.", code="setup.bundle_key"
        )
    return key
