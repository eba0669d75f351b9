"""For all tests."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from hypothesis import settings

# Set before anything is imported: no test phones home, and none takes settings from the shell that runs it.
os.environ.update(HF_HUB_OFFLINE="1", NEMO_GUARDRAILS_NO_USAGE_STATS="1", LANGSMITH_TRACING="false")
for _name in [name for name in os.environ if name.startswith("CHAINOPS_")]:
    del os.environ[_name]

# The same examples everywhere, and no failure because a machine is busy.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")


def pytest_unconfigure() -> None:
    """llama-cpp-python opens two files at import and never closes them: a warning at the very end of the run."""
    if (module := sys.modules.get("llama_cpp._utils")) is not None:
        module.outnull_file.close()
        module.errnull_file.close()


@pytest.fixture(scope="session")
def embedder() -> Any:
    """The real embedder, as `make embedder` made it."""
    from chainops.engines.embeddings import embedder as shared
    from chainops.engines.embeddings.place import MODEL, default_place

    pytest.importorskip("onnxruntime", reason="needs onnxruntime (the [onnx] extra)")
    if not (default_place() / MODEL).is_file():
        pytest.skip(f"there is no embedder in {default_place()}: make embedder")
    return shared()
