"""What goes into the binary, fetched from Debian and from the package index, each file with its expected hash."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEBS = HERE / "debs.txt"


def run(*command: str | Path, **options: object) -> None:
    """Run a command; the first that fails ends the build."""
    print("+", *command, file=sys.stderr, flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pinned() -> list[tuple[str, str, str]]:
    """Name, version and SHA-256 of each Debian package."""
    lines = DEBS.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split()) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


def fetch_debs(work: Path) -> Path:
    """The pinned Debian packages, unpacked into one folder. Needs apt, but no root and no installation."""
    cache, root = work / "debs", work / "debian"
    cache.mkdir(parents=True, exist_ok=True)
    for name, version, wanted in pinned():
        file = next(iter(cache.glob(f"{name}_*_{wanted[:12]}.deb")), None)
        if file is None:
            file = _download(cache, name, version)
            if sha256_of(file) != wanted:
                raise SystemExit(f"{name} {version} is not the package that {DEBS.name} names")
            file = file.rename(cache / f"{name}_{version.replace(':', '%3a')}_{wanted[:12]}.deb")
        if sha256_of(file) != wanted:
            raise SystemExit(f"{file} was changed: remove it")
        run("dpkg-deb", "-x", file, root)
    return root


def _download(cache: Path, name: str, version: str) -> Path:
    before = set(cache.iterdir())
    try:
        run("apt-get", "-q", "download", f"{name}={version}", cwd=cache)
    except subprocess.CalledProcessError:
        raise SystemExit(
            f"apt has no {name} {version}: run `apt-get update`; if it was replaced by a newer one, `make binary-lock`"
        ) from None
    (new,) = set(cache.iterdir()) - before
    return new


def lock_debs(names: list[str], work: Path) -> None:
    """Write the newest versions that apt offers, with their hashes."""
    cache = work / "lock"
    cache.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Debian 12 (bookworm, with its security updates): name, version, SHA-256. Written by `make binary-lock`."
    ]
    for name in names:
        for old in cache.glob(f"{name}_*"):
            old.unlink()
        run("apt-get", "-q", "download", name, cwd=cache)
        (file,) = cache.glob(f"{name}_*")
        shown = subprocess.run(["dpkg-deb", "-f", file, "Version"], check=True, capture_output=True, text=True)
        lines.append(f"{name} {shown.stdout.strip()} {sha256_of(file)}")
    DEBS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def fetch_llama(work: Path) -> Path:
    """The unpacked source of llama-cpp-python, of the version and hash that the requirements name."""
    cache = work / "sdist"
    if not (found := list(cache.glob("llama_cpp_python-*.tar.gz"))):
        wanted = work / "llama.txt"
        wanted.write_text(requirement("llama-cpp-python"), encoding="utf-8")
        options = ("--no-deps", "--no-build-isolation", "--no-binary", "llama-cpp-python", "--require-hashes")
        run(sys.executable, "-m", "pip", "-q", "download", *options, "-d", cache, "-r", wanted)
        found = list(cache.glob("llama_cpp_python-*.tar.gz"))
    (archive,) = found
    if f"sha256:{sha256_of(archive)}" not in requirement("llama-cpp-python"):
        raise SystemExit(f"{archive} is not the version that the requirements name: remove it")
    source = work / archive.name.removesuffix(".tar.gz")
    if not source.is_dir():
        run("tar", "-xzf", archive, "-C", work)
    return source


def requirement(name: str, file: str = "requirements/demo.txt") -> str:
    """One requirement with its hashes."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next((i for i in range(start, len(lines)) if not lines[i].endswith("\\")), len(lines))
    return "\n".join(lines[start : end + 1]) + "\n"
