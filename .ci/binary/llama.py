"""llama.cpp for any x86-64: a base library, and one library of kernels for each generation of processors."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from inputs import run, sha256_of

VARIANTS = ("x64", "sandybridge", "haswell", "alderlake", "skylakex", "icelake", "zen4")
"""What ggml chooses from at run time. None with AMX: its kernels crash with quantised weights
(ggml-org/llama.cpp#20824)."""

CORE = ("libllama.so", "libggml.so", "libggml-base.so")


def build(source: Path, work: Path) -> list[Path]:
    """The shared libraries, stripped, under the names by which they are loaded."""
    llama, out = source / "vendor" / "llama.cpp", work / f"llama-libs-{_kind(source)}"
    done = out / ".done"
    if not done.is_file():
        _choose_variants(llama / "ggml" / "src" / "CMakeLists.txt")
        shutil.rmtree(work / "llama-build", ignore_errors=True)
        _compile(llama, work / "llama-build")
        out.mkdir(exist_ok=True)
        binaries = work / "llama-build" / "bin"
        for name in CORE:
            target = (binaries / name).resolve()
            shutil.copyfile(target, out / re.sub(r"(\.so\.\d+).*", r"\1", target.name))
        for variant in VARIANTS:
            shutil.copyfile(binaries / f"libggml-cpu-{variant}.so", out / f"libggml-cpu-{variant}.so")
        done.touch()
    return sorted(path for path in out.iterdir() if path != done)


def _kind(source: Path) -> str:
    """Version of the source and of this recipe: a build of another is not taken."""
    return f"{source.name.rpartition('-')[2]}-{sha256_of(Path(__file__))[:8]}"


def _choose_variants(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    start, end = text.index("if (GGML_CPU_ALL_VARIANTS)"), text.index('elseif(GGML_SYSTEM_ARCH STREQUAL "ARM")')
    part = re.sub(
        r"^\s*ggml_add_cpu_backend_variant\((\w+).*\n",
        lambda line: line[0] if line[1] in VARIANTS else "",
        text[start:end],
        flags=re.MULTILINE,
    )
    file.write_text(text[:start] + part + text[end:], encoding="utf-8")


def _compile(llama: Path, build: Path) -> None:
    tools = Path(sys.executable).parent
    same = f"-ffile-prefix-map={llama}=llama.cpp -ffile-prefix-map={build}=build"
    off = [f"-DLLAMA_BUILD_{part}=OFF" for part in ("TOOLS", "EXAMPLES", "TESTS", "SERVER", "COMMON")]
    run(
        tools / "cmake", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}", "-S", llama, "-B", build,
        "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", "-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON",
        "-DGGML_CPU_ALL_VARIANTS=ON", *off, "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DGGML_CCACHE=OFF",
        "-DCMAKE_INSTALL_RPATH=$ORIGIN", "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
        f"-DCMAKE_C_FLAGS={same}", f"-DCMAKE_CXX_FLAGS={same}",
        "-DCMAKE_SHARED_LINKER_FLAGS=-s -Wl,--build-id=none", "-DCMAKE_MODULE_LINKER_FLAGS=-s -Wl,--build-id=none",
    )  # fmt: skip
    run(tools / "cmake", "--build", build, "--target", "llama", *(f"ggml-cpu-{variant}" for variant in VARIANTS))


def python_wheel(source: Path, work: Path) -> Path:
    """llama-cpp-python without a library of its own."""
    import os

    out = work / f"llama-wheel-{_kind(source)}"
    if not list(out.glob("*.whl")):
        environment = {**os.environ, "CMAKE_ARGS": "-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF"}
        options = ("--no-deps", "--no-build-isolation", "-w", out)
        run(sys.executable, "-m", "pip", "-q", "wheel", *options, source, env=environment)
    (wheel,) = out.glob("*.whl")
    return wheel
