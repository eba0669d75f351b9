"""The parts of the single binary that can be tried without building it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

BINARY = Path(__file__).resolve().parents[2] / ".ci" / "binary"
PROGRAM = """
#include <stdio.h>
#include "sha256.h"
int main(int argc, char **argv) {
    static struct sha256 hash;
    static uint8_t block[100003];
    char hex[65];
    sha256_begin(&hash);
    if (argc > 1) hash.compress = sha256_compress;
    for (size_t got; (got = fread(block, 1, sizeof block, stdin)) > 0;) sha256_add(&hash, block, got);
    sha256_end(&hash, hex);
    return puts(hex) < 0 || !argv;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("sha")
    (folder / "sha.c").write_text(PROGRAM)
    done = subprocess.run(["gcc", "-O2", "-Wall", "-Werror", f"-I{BINARY}", "sha.c", "-o", "sha"], cwd=folder,
                          capture_output=True, text=True)  # fmt: skip
    if "immintrin" in done.stderr or "cpuid" in done.stderr:
        pytest.skip("needs an x86 processor")
    assert done.returncode == 0, done.stderr
    return folder / "sha"


@pytest.mark.parametrize("how", ["as the processor can", "plain"])
def test_the_launcher_computes_sha256(program: Path, how: str) -> None:
    for size in (0, 1, 55, 56, 63, 64, 65, 119, 1000, 100_002, 100_003, 1_000_000):
        data = bytes(i * 7 % 251 for i in range(size))
        done = subprocess.run([program, *(["plain"] if how == "plain" else [])], input=data, capture_output=True)
        assert done.stdout.decode().strip() == hashlib.sha256(data).hexdigest(), size
