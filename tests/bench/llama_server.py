"""Builds llama.cpp's own server, from the sources inside the package of the installed llama-cpp-python.

``python tests/bench/llama_server.py [--folder build/bench/llama-server] [--sources LLAMA_CPP]`` prints where it is.
The package is fetched with pip; with ``--sources`` nothing is. Needs cmake, ninja and a C++ compiler; takes about
eleven  minutes of processor time, once. Same flags as llama-cpp-python in this repository: code for any x86-64
processor with AVX2.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=OFF",
    "-DGGML_CCACHE=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
)


def build(folder: Path, sources: Path | None = None) -> Path:
    """The server's program; made if it is not in ``folder`` for the installed version.

    Raises:
        subprocess.CalledProcessError: a step failed; what it said is on stderr.
    """
    made = folder / version("llama-cpp-python") / "bin" / "llama-server"
    if made.is_file():
        return made
    with tempfile.TemporaryDirectory() as place:
        sources = sources or _fetch(Path(place))
        target = made.parent.parent
        _run("cmake", "-S", str(sources), "-B", str(target), "-G", "Ninja", *FLAGS)
        _run("cmake", "--build", str(target), "--target", "llama-server", "-j", str(os.cpu_count() or 1))
    return made


def _fetch(folder: Path) -> Path:
    """llama.cpp's sources out of the package, unpacked."""
    wanted = f"llama-cpp-python=={version('llama-cpp-python')}"
    _run(sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), wanted)
    [package] = folder.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    [sources] = folder.glob("*/vendor/llama.cpp")
    return sources


def _run(*command: str) -> None:
    subprocess.run(command, stdout=sys.stderr, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/llama-server"))
    parser.add_argument("--sources", type=Path, help="unpacked sources of llama.cpp")
    options = parser.parse_args()
    print(build(options.folder, options.sources))


if __name__ == "__main__":
    main()
