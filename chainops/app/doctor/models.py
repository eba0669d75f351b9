"""llama.cpp as it was built, model files with their hashes, the embedder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path

from chainops.app.doctor.finding import Finding
from chainops.errors import ChainopsError
from chainops.settings import Settings

__all__ = ["embedder", "llama", "model_files"]

_PROBE = """
import json
from chainops.engines.llama.library import GPU_KINDS, devices, library, library_version
lib = library()
print(json.dumps({"version": library_version(), "info": lib.llama_print_system_info().decode().strip(),
                  "gpus": [f"{d.name} ({d.free >> 20:,} of {d.total >> 20:,} MiB free)"
                           for d in devices() if d.kind in GPU_KINDS],
                  "offload": bool(lib.llama_supports_gpu_offload())}))
"""
GPU_BUILDS = 'CMAKE_ARGS="-DGGML_CUDA=on" builds for NVIDIA, -DGGML_VULKAN=on for others, -DGGML_METAL=on for Apple.'
BUILD = "chainops docs howto/install says how it is built; CMAKE_ARGS=-DGGML_NATIVE=OFF for machines that differ."


def llama() -> Iterator[Finding]:
    """How llama.cpp was built; loaded in a process of its own, because a wrong build dies of it."""
    if util.find_spec("llama_cpp") is None:
        from chainops.engines.llama.prebuilt_library import prebuilt_version

        fix = "pip install 'chainops[llama]' (compiles for some minutes; chainops docs howto/install)"
        if (found := prebuilt_version()) is not None:
            detail = f"xllamacpp {found}, compiled elsewhere, stands in for llama-cpp-python"
            yield Finding("llama.cpp", "build", "ok", detail, f"For adapters, kept prefixes and guesses: {fix}")
            return
        fix += ", or 'chainops[llama-prebuilt]'"
        yield Finding("llama.cpp", "build", "absent", "llama-cpp-python is not installed", fix)
        return
    done = subprocess.run(  # noqa: S603  this Python, and a program of ours
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        yield Finding("llama.cpp", "build", "broken", last, BUILD)
        return
    told = json.loads(done.stdout.splitlines()[-1])
    yield Finding("llama.cpp", "build", "ok", f"llama-cpp-python {told['version']}")
    yield Finding("llama.cpp", "CPU", "ok", told["info"].strip(" |"))
    if told["gpus"]:
        yield Finding("llama.cpp", "GPU", "ok", ", ".join(told["gpus"]))
    else:
        detail = "built with GPU support, but there is no device" if told["offload"] else "built for the CPU only"
        yield Finding("llama.cpp", "GPU", "absent", detail, GPU_BUILDS)


def model_files(settings: Settings) -> Iterator[Finding]:
    """The shipped model and all registered ones, each hashed and compared."""
    yield _shipped()
    if not settings.trace.path.is_file():
        return
    from chainops.engines.llama.registered import KIND, verify
    from chainops.store.registry import Registry

    try:
        view = Registry(settings.trace.path, KIND).look()
    except ChainopsError:
        return  # what is wrong with the file is said where the file is looked at
    for name, entry in sorted(view.entries.items()):
        if entry.latest is None:
            continue
        verdict = verify(entry.versions[entry.latest])
        fix = "" if verdict.ok else f"Restore {verdict.path}, or chainops model add {name} FILE."
        yield Finding("models", name, "ok" if verdict.ok else "broken", f"{verdict.state}: {verdict.path}", fix)


def _shipped() -> Finding:
    from chainops.engines.llama.model_file import file_sha256
    from chainops.store.shipped import shipped

    try:
        file = shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"
        wanted = file.with_name(file.name + ".sha256").read_text(encoding="utf-8").split()[0]
        same = file_sha256(file) == wanted
    except (OSError, ChainopsError) as error:
        return Finding("models", "shipped", "broken", str(error), "Install chainops again.")
    detail = f"support-desk-tiny.gguf, {wanted[:12]}"
    return Finding(
        "models",
        "shipped",
        "ok" if same else "broken",
        detail,
        "" if same else "It was changed: install chainops again.",
    )


def embedder(settings: Settings) -> Iterator[Finding]:
    """The embedder's folder, its files against the hashes of its card."""
    from chainops.engines.embeddings.place import default_place, open_folder

    named = settings.embeddings.path
    place = Path(named) if named is not None else default_place()
    if named is not None and not place.is_dir():
        kind = "there" if place.exists() else "not there"
        state = "ok" if place.exists() else "broken"
        fix = "" if place.exists() else "Mend [embeddings].path."
        yield Finding("models", "embedder", state, f"{place} is {kind}", fix)  # type: ignore[arg-type]
        return
    try:
        folder = open_folder(place)
    except ChainopsError as error:
        state = "absent" if error.code == "setup.embedder_missing" and named is None else "broken"
        yield Finding("models", "embedder", state, error.message, error.hint)  # type: ignore[arg-type]
    else:
        yield Finding("models", "embedder", "ok", f"{folder.identity} in {place}")
