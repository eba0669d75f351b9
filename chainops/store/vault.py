"""Values that must be known again later and be read by nobody: an encrypted file of its own.

Each value is sealed with AES-256-GCM under a key that is derived from the operator's; threads, subjects and equal
values are found by keyed HMACs. The file holds no plain value, and no hash that could be computed without the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chainops.errors import MissingExtra, SetupError, StoreError
from chainops.store.wal import use_wal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Keys", "Sealed", "Vault", "new_key", "subject_of"]

KEY_BYTES = 32
PURGE_S = 3600
_NONCE = 12
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sealed (
  thread BLOB NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, mac BLOB NOT NULL, subject BLOB NOT NULL,
  box BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (thread, kind, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS sealed_mac ON sealed (thread, kind, mac);
CREATE INDEX IF NOT EXISTS sealed_subject ON sealed (subject);
CREATE INDEX IF NOT EXISTS sealed_expires ON sealed (expires);
CREATE TABLE IF NOT EXISTS counter (
  thread BLOB NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (thread, kind)
) WITHOUT ROWID;
"""


def new_key() -> str:
    """A fresh key as text, for the environment of a deployment."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def subject_of(user: str, tenant: str = "") -> str:
    """A subject of one tenant: the same name means somebody else at another."""
    return f"{tenant}\x00{user}" if tenant else user


class Sealed(NamedTuple):
    """A value of a thread: the ``number``-th of its ``kind``."""

    kind: str
    number: int
    value: str


class Keys:
    """What is derived from the operator's key: one for sealing, one for identifiers.

    Args:
        text: 32 bytes as base64 or as 64 hexadecimal digits; ``chainops pii key`` makes one. None: a random one that
            dies with the process.

    Raises:
        SetupError: the text is no such key (``setup.pii_key``). It is not shown.
    """

    def __init__(self, text: str | None = None) -> None:
        master = os.urandom(KEY_BYTES) if text is None else _read(text)
        self.seal = _derive(master, b"chainops vault: seal")
        self._mac = _derive(master, b"chainops vault: identifiers")

    def mac(self, purpose: str, value: str, size: int = 16) -> bytes:
        """An identifier that nobody without the key can compute, though there are few enough values to try all."""
        return hmac.digest(self._mac, f"{purpose}\x00{value}".encode("utf-8", "surrogatepass"), "sha256")[:size]


def _read(text: str) -> bytes:
    text = text.strip()
    try:
        raw = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise SetupError(
            f"The key of the vault is no base64 text of {KEY_BYTES} bytes ({len(text)} characters were given)",
            hint='export CHAINOPS_PII__KEY="$(chainops pii key)", and keep it.',
            code="setup.pii_key",
        )
    return raw


def _derive(master: bytes, purpose: bytes) -> bytes:
    """HKDF with SHA-256 (RFC 5869), one block."""
    extracted = hmac.digest(b"chainops", master, "sha256")
    return hmac.digest(extracted, purpose + b"\x01", "sha256")


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingExtra("pii", package="cryptography", needed_for="The vault") from error
    return AESGCM(key)


class Vault:
    """The file. Safe to share between threads; several processes may use one file.

    Every method blocks for the time of a short SQLite transaction.

    Args:
        path: made, for its owner alone, when it is not there.
        keys: see :class:`Keys`.
        ttl_s: seconds after which a value is forgotten, counted anew whenever its thread is read.
        clock: seconds since the epoch.

    Raises:
        StoreError: on first use: the file cannot be opened (``store.vault``), or was made with another key
            (``store.vault_key``).
    """

    def __init__(
        self, path: str | Path, keys: Keys, *, ttl_s: float = 2_592_000.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = Path(path)
        self.keys = keys
        self._ttl_s, self._clock = ttl_s, clock
        self._cipher = _cipher(keys.seal)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._purged = 0

    def load(self, thread: str) -> list[Sealed]:
        """The values of a thread that have not expired, in no order."""
        mac, now = self.keys.mac("thread", thread), int(self._clock())
        with self._used() as connection:
            rows = connection.execute(
                "SELECT kind, number, box, expires FROM sealed WHERE thread = ? AND expires > ?", (mac, now)
            ).fetchall()
            if rows and min(row[3] for row in rows) < now + self._ttl_s / 2:
                connection.execute(
                    "UPDATE sealed SET expires = ? WHERE thread = ? AND expires > ?", (now + int(self._ttl_s), mac, now)
                )
        return [Sealed(kind, number, self._open(box, mac, kind, number)) for kind, number, box, _ in rows]

    def add(self, thread: str, subject: str, kind: str, value: str) -> int:
        """Keep a value of a thread, for a subject (see :func:`subject_of`); its number, the old one where it is kept.

        Once in an hour, what has expired is removed from the file.
        Numbers are never given twice in a thread, not even after values were erased or have expired.
        """
        mac = self.keys.mac("thread", thread)
        same = self.keys.mac(f"value {thread}\x00{kind}", value)
        now = int(self._clock())
        if now >= self._purged + PURGE_S:
            self._purged = now
            self.purge()
        with self._writing() as connection:
            row = connection.execute(
                "SELECT number, expires FROM sealed WHERE thread = ? AND kind = ? AND mac = ?", (mac, kind, same)
            ).fetchone()
            if row is not None and row[1] > now:
                return int(row[0])
            connection.execute("DELETE FROM sealed WHERE thread = ? AND kind = ? AND mac = ?", (mac, kind, same))
            (number,) = connection.execute(
                "INSERT INTO counter VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET number = number + 1 RETURNING number",
                (mac, kind),
            ).fetchone()
            box = self._close(value, mac, kind, number)
            whose = self.keys.mac("subject", subject)
            expires = now + int(self._ttl_s)
            connection.execute(
                "INSERT INTO sealed VALUES (?, ?, ?, ?, ?, ?, ?)", (mac, kind, number, same, whose, box, expires)
            )
        return int(number)

    def erase(self, subject: str, tenant: str = "") -> int:
        """Forget all values of a subject in all its threads; how many there were. What is freed is overwritten."""
        whose = self.keys.mac("subject", subject_of(subject, tenant))
        with self._writing() as connection:
            count = connection.execute("DELETE FROM sealed WHERE subject = ?", (whose,)).rowcount
            self._note_removal(connection)
        self._compact()
        return count

    def purge(self) -> int:
        """Remove what has expired; how many values."""
        with self._writing() as connection:
            count = connection.execute("DELETE FROM sealed WHERE expires <= ?", (int(self._clock()),)).rowcount
            if count:
                self._note_removal(connection)
        if count:
            self._compact()
        return count

    def removals(self) -> int:
        """A number that grows whenever values were removed, by any process: what is kept in memory is then stale."""
        with self._used() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = 'removals'").fetchone()
        return 0 if row is None else int(row[0])

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == os.getpid():
                connection.close()

    def _note_removal(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO meta VALUES ('removals', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")

    def _compact(self) -> None:
        """The log still has the old pages: write it back and cut it, so that nothing of them is left."""
        with self._used() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _close(self, value: str, mac: bytes, kind: str, number: int) -> bytes:
        nonce = os.urandom(_NONCE)
        plain = value.encode("utf-8", "surrogatepass")
        return nonce + self._cipher.encrypt(nonce, plain, _place(mac, kind, number))

    def _open(self, box: bytes, mac: bytes, kind: str, number: int) -> str:
        from cryptography.exceptions import InvalidTag

        try:
            plain = self._cipher.decrypt(box[:_NONCE], box[_NONCE:], _place(mac, kind, number))
        except InvalidTag:
            raise StoreError(
                f"A value in {self.path} was changed or moved since it was sealed",
                hint="Restore the file from a backup.",
                code="store.vault",
            ) from None
        return plain.decode("utf-8", "surrogatepass")

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None or self._pid != os.getpid():
                self._connection, self._pid = self._connect(), os.getpid()
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise StoreError(
                    f"The vault {self.path} cannot be used: {error}",
                    hint="Check the disk and the rights of the file.",
                    code="store.vault",
                ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._used() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        try:
            if not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
            connection = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
            use_wal(connection)
            connection.execute("PRAGMA secure_delete=ON")
            connection.executescript(_SCHEMA)
            proof = hashlib.sha256(self.keys.mac("proof", "", 32)).digest()
            connection.execute("INSERT INTO meta VALUES ('proof', ?) ON CONFLICT DO NOTHING", (proof,))
            (known,) = connection.execute("SELECT value FROM meta WHERE name = 'proof'").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"The vault {self.path} cannot be opened: {error}",
                hint="Check [pii].vault, and that the folder exists and can be written.",
                code="store.vault",
            ) from None
        if not hmac.compare_digest(known, proof):
            connection.close()
            raise StoreError(
                f"The vault {self.path} was made with another key",
                hint="Give that key in CHAINOPS_PII__KEY, or another path in [pii].vault.",
                code="store.vault_key",
            )
        return connection


def _place(mac: bytes, kind: str, number: int) -> bytes:
    """What a box is bound to: it opens nowhere else."""
    return mac + f"{kind}\x00{number}".encode()
