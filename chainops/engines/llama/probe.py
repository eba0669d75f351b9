"""A trial load in another process: what no header check can find out may kill that process, not this one.

The child loads the file, tokenizes, and decodes a batch (which also catches crashing builds of llama.cpp). A passed
probe is remembered in the user's cache directory, for the content of the file and the build of llama.cpp.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from chainops.engines.llama.context import ContextOptions
from chainops.engines.llama.library import library_id
from chainops.engines.llama.model_file import ModelFile, file_sha256
from chainops.engines.llama.native import Native
from chainops.errors import SetupError

__all__ = ["cache_dir", "ensure_probed", "run_probe"]

PROBE_CONTEXT = 256
PROBE_TEXT = "Hello, 12 <|im_end|> \u00e9\u4e2d\U0001f600\n"
BASE_SECONDS = 120.0
BYTES_PER_SECOND = 50_000_000


def cache_dir() -> Path:
    """Where passed probes are remembered: ``$XDG_CACHE_HOME`` or ``~/.cache``, then ``chainops/llama-probes``.

    A user without a home (a service's, a container's) gets a place that nobody can write to: nothing is remembered.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    except RuntimeError:
        base = os.devnull
    return Path(base) / "chainops" / "llama-probes"


def _mark(*parts: object) -> Path:
    key = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return cache_dir() / f"{key}.json"


def _read(mark: Path) -> str:
    try:
        found = json.loads(mark.read_text())
    except (OSError, ValueError):
        return ""
    sha256 = found.get("sha256") if isinstance(found, dict) else None
    return sha256 if isinstance(sha256, str) and len(sha256) == 64 else ""


def _write(mark: Path, sha256: str) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        draft = mark.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"sha256": sha256}))
        draft.replace(mark)
    except OSError:
        return  # no cache directory: the next process probes again


def ensure_probed(file: ModelFile, *, always: bool = False, prebuilt: str = "") -> str:
    """Probe ``file`` unless the same content passed before; returns its SHA-256.

    A file whose path, size, inode and time of change are those of a passed one is not read again.

    Args:
        always: probe it in any case.
        prebuilt: version of xllamacpp, which shall run it; empty: llama-cpp-python shall.

    Raises:
        SetupError: code ``setup.model_probe``: the file did not survive the trial.
    """
    stats = [part.stat() for part in file.parts]
    library = f"xllamacpp {prebuilt}" if prebuilt else library_id()
    place = _mark("place", file.path.resolve(), *((s.st_size, s.st_mtime_ns, s.st_ino) for s in stats), library)
    if not always and (known := _read(place)):
        return known
    sha256 = file_sha256(*file.parts)
    content = _mark("content", sha256, library)
    if always or _read(content) != sha256:
        run_probe(file.path, seconds=BASE_SECONDS + file.size / BYTES_PER_SECOND, prebuilt=bool(prebuilt))
        _write(content, sha256)
    _write(place, sha256)
    return sha256


def run_probe(path: Path, *, seconds: float = BASE_SECONDS, prebuilt: bool = False) -> None:
    """Load the model at ``path`` in a child process and decode with it; ``prebuilt``: by xllamacpp.

    Raises:
        SetupError: code ``setup.model_probe``.
    """
    hint = "The file is damaged, or this build of llama.cpp cannot run it. Nothing was loaded into this process."
    search = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    command = [
        sys.executable,
        "-P",
        "-m",
        "chainops.engines.llama.probe",
        str(path),
        *(["prebuilt"] if prebuilt else []),
    ]
    if not sys.executable:
        raise SetupError("No Python executable is known for the trial load", hint="Set probe=False.")
    try:
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "PYTHONPATH": search, "GGML_NO_BACKTRACE": "1"},
        )
    except subprocess.TimeoutExpired:
        message = f"{path} did not load within {seconds:.0f} seconds in a separate process"
        raise SetupError(message, hint=hint, code="setup.model_probe") from None
    failure = _failure(done)
    if failure:
        message = f"{path} failed a trial load in a separate process: {failure}"
        raise SetupError(message, hint=hint, code="setup.model_probe")


def _failure(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why the child failed, or an empty string."""
    talk = done.stderr.decode(errors="replace").strip().splitlines()
    last = talk[-1] if talk else ""
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        return f"it died of {name}" + (f" ({last})" if last else "")
    try:
        verdict = json.loads(done.stdout)
    except ValueError:
        return f"it ended with code {done.returncode}" + (f" ({last})" if last else "")
    return "" if verdict.get("ok") is True else str(verdict.get("reason"))


def _trial(path: Path) -> str:
    """Use the model as a session would; returns what is wrong, or an empty string."""
    import numpy as np

    native = Native(path, ContextOptions(n_ctx=PROBE_CONTEXT, n_parallel=2))
    try:
        tokens = [
            *native.tokenize(PROBE_TEXT, special=True, start=True),
            *native.tokenize(PROBE_TEXT, special=False),
        ][: PROBE_CONTEXT - 1]
        if not tokens:
            return "it makes no tokens out of text"
        native.batch.add(tokens, 0, 0, last=True)
        native.decode()
        native.remove(0, len(tokens) // 2)
        native.clear()
        native.batch.clear()
        for sequence in (0, 1):
            row = native.batch.add(tokens[:8], 0, sequence, last=True)
        native.decode()
        if not np.isfinite(native.logits(row)).all():
            return "its weights compute to infinity or not-a-number"
        b"".join(native.piece(token) for token in tokens)
        return ""
    finally:
        native.close()


def _prebuilt_trial(path: Path) -> str:
    from chainops.engines.llama.prebuilt import trial

    return trial(path)


def main(path: str, engine: str = "") -> None:
    """What the child does: prints one JSON verdict."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        reason = _prebuilt_trial(Path(path)) if engine else _trial(Path(path))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the verdict
        reason = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps({"ok": not reason, "reason": reason}))


if __name__ == "__main__":
    main(*sys.argv[1:])
