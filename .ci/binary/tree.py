"""The folder that the binary unpacks: interpreter, packages, llama.cpp, embedder, and all libraries under them."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from pathlib import Path

from inputs import requirement, run, sha256_of

STDLIB = "lib/python3.11"
PACKAGES = f"{STDLIB}/dist-packages"  # where Debian's Python looks
TRIPLET = "x86_64-linux-gnu"
# readline and what depends on it is GPL; the others need libraries that nothing here uses
NO_MODULES = ("readline", "_curses*", "_dbm", "_gdbm", "nis", "_crypt", "ossaudiodev", "_test*", "_xx*", "xx*",
              "_ctypes_test", "_tkinter")  # fmt: skip
NO_FOLDERS = ("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "config-*")
GLIBC = ("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libresolv.so.2", "libdl.so.2", "libpthread.so.0",
         "librt.so.1", "libutil.so.1", "libanl.so.1")  # fmt: skip
NOT_NEEDED = (
    *("bin", "include", "lib", "share", "numpy/f2py", "numpy/_core/include", "numpy/_core/lib"),
    *("onnxruntime/transformers", "onnxruntime/tools", "onnxruntime/datasets"),  # for making models
    *("hf_xet", "hf_xet-*.dist-info"),  # for downloads, and huggingface_hub works without it
)
TOOLS = ".ci/binary/tools.txt"
EMBEDDER = "share/chainops/all-MiniLM-L6-v2"


def interpreter(tree: Path, debian: Path, stub: Path) -> None:
    """Debian's Python, started by our stub under its own loader."""
    shutil.copytree(debian / "usr" / STDLIB, tree / STDLIB, symlinks=True)
    (tree / "bin").mkdir()
    shutil.copy(debian / "usr" / "bin" / "python3.11", tree / "bin" / "python3.11.real")
    shutil.copy(stub, tree / "bin" / "python3.11")
    (tree / ".in-use").touch()
    for pattern in NO_MODULES:
        for file in (tree / STDLIB / "lib-dynload").glob(f"{pattern}.cpython-*.so"):
            file.unlink()
    for pattern in NO_FOLDERS:
        for folder in (tree / STDLIB).glob(pattern):
            shutil.rmtree(folder)
    for link in [path for path in tree.rglob("*") if path.is_symlink()]:  # into /etc and /usr of Debian
        points = link.readlink()
        target = debian / points.relative_to("/") if points.is_absolute() else link.resolve()
        link.unlink()
        if target.is_file():
            shutil.copy(target, link)
    (tree / "glibc").mkdir()
    for name in GLIBC:
        shutil.copy(_debian_library(debian, name), tree / "glibc" / name)
    (tree / "lib").mkdir(exist_ok=True)
    libraries(tree, debian)


def libraries(tree: Path, debian: Path) -> None:
    """Copy, until nothing is missing, the libraries that the programs in the tree name."""
    have = {path.name for path in tree.rglob("*.so*")} | set(GLIBC)
    todo = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink() and _is_elf(path)]
    while todo:
        for name in _needed(todo.pop()):
            if name not in have:
                shutil.copy(_debian_library(debian, name), tree / "lib" / name)
                todo.append(tree / "lib" / name)
                have.add(name)


def packages(tree: Path, requirements: Path, wheels: list[Path], cache: Path) -> None:
    """Install with the interpreter that will run them, so that tags and markers are its own."""
    import pip

    python, site = tree / "bin" / "python3.11", tree / PACKAGES
    site.mkdir(exist_ok=True)
    command = (python, "-X", "utf8", Path(pip.__file__).parent, "-q")
    only = ("--only-binary", ":all:", "--no-deps")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = cache / f".done-{sha256_of(requirements)[:12]}"
    if not done.is_file():
        run(*command, "download", *only, "--require-hashes", "-r", requirements, "-d", cache, env=environment)
        done.touch()
    offline = ("--no-index", "--find-links", cache, "--target", site, "--no-compile", "--no-warn-script-location")
    run(*command, "install", *only, *offline, "--require-hashes", "-r", requirements, env=environment)
    for wheel in wheels:
        run(*command, "install", "--no-deps", *offline, "--upgrade", wheel, env=environment)
    for pattern in NOT_NEEDED:
        for folder in site.glob(pattern):
            shutil.rmtree(folder)
    for folder in [path for path in site.rglob("tests") if path.is_dir()]:
        shutil.rmtree(folder, ignore_errors=True)
    for pattern in ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "*.hpp"):  # for people who develop against a package
        for file in site.rglob(pattern):
            file.unlink()
    for file in site.glob("*.dist-info/direct_url.json"):  # says where the build machine had the wheel
        file.unlink()
    for record in site.glob("*.dist-info/RECORD"):  # else hashes of what was removed tell build folders apart
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if (site / next(csv.reader([line]))[0]).is_file()]
        record.write_text("".join(kept), encoding="utf-8")


def strip_debug(tree: Path) -> None:
    """Leave out symbols for debuggers, a third of the size of some packages.

    Not from libraries that auditwheel gave a path to others: strip breaks what patchelf wrote.
    """
    for file in sorted((tree / PACKAGES).rglob("*.so")):
        if file.is_symlink() or re.search(r"\b(RUNPATH|RPATH)\b", _objdump("-p", file)):
            continue
        if ".debug_info" in _objdump("-h", file):
            run("strip", "--strip-debug", file)


def embedder(tree: Path, weights: Path, work: Path) -> None:
    """The embedder's model in half precision: 45 MB in place of 90, the same vectors within a ten-thousandth."""
    import pip

    recipe = tree / PACKAGES / "chainops" / "engines" / "embeddings" / "export.py"
    made, exporter, python = work / f"embedder-{sha256_of(recipe)[:12]}", work / "exporter", tree / "bin" / "python3.11"
    if not (made / "card.json").is_file():
        wanted = work / "exporter.txt"
        wanted.write_text("".join(requirement(name, TOOLS) for name in ("onnx", "ml-dtypes")), encoding="utf-8")
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", exporter, "-r", wanted)
        run(python, "-X", "utf8", Path(pip.__file__).parent, "-q", "install", *options)
        code = (
            "import sys; from pathlib import Path; sys.path.append(sys.argv[3]);"
            "from chainops.engines.embeddings.export import export;"
            "export(Path(sys.argv[1]), Path(sys.argv[2]), half=True)"
        )
        run(python, "-I", "-c", code, made, weights, exporter)
    shutil.copytree(made, tree / EMBEDDER)


def compile_all(tree: Path) -> None:
    """Byte code that is valid whatever the time stamps are."""
    for folder in [path for path in tree.rglob("__pycache__") if path.is_dir()]:
        shutil.rmtree(folder)
    options = ("--invalidation-mode", "unchecked-hash", "-s", tree, "-q", "-q")
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [tree / "bin" / "python3.11", "-m", "compileall", *options, tree / STDLIB]
    # exit code 1: some packages ship a file in the syntax of another Python
    subprocess.run([str(part) for part in command], env=environment, check=False)


def check(tree: Path) -> list[str]:
    """What would not work on another machine: libraries that are not there, and licences that must not be."""
    have = {path.name for path in tree.rglob("*.so*")}
    wrong = []
    for path in tree.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        if re.match(r"libreadline|readline\.", path.name):
            wrong.append(f"{path.relative_to(tree)} is GPL")
        if _is_elf(path):
            wrong += [f"{path.relative_to(tree)} needs {name}" for name in _needed(path) if name not in have]
    return wrong


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _needed(path: Path) -> list[str]:
    return re.findall(r"^\s+NEEDED\s+(\S+)", _objdump("-p", path), re.MULTILINE)


def _objdump(option: str, path: Path) -> str:
    return subprocess.run(["objdump", option, path], capture_output=True, text=True, check=True).stdout


def _debian_library(debian: Path, name: str) -> Path:
    for folder in (f"lib/{TRIPLET}", f"usr/lib/{TRIPLET}", "lib64", "lib"):
        file = debian / folder / name
        if file.is_symlink() or file.exists():
            target = file.resolve()
            if target.exists():
                return target
            return debian / file.readlink().relative_to("/")
    raise SystemExit(f"{name} is in none of the packages of debs.txt: add its package, and `make binary-lock`")
