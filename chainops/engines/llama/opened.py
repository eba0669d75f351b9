"""The part of ``ChatLlama`` that opens the model: which file, how much context, for how many calls at once."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from langchain_core.language_models import BaseChatModel
from pydantic import Field, PrivateAttr, model_validator

from chainops.engines.llama.lease import Lease
from chainops.engines.llama.loading import ModelOptions
from chainops.engines.llama.room import Layout
from chainops.engines.llama.session import Session
from chainops.errors import SetupError

__all__ = ["Opened"]

NO_MEANING_HERE = frozenset({"api_key", "max_retries"})
"""Parameters that LangChain passes to every chat model; a model in this process has no use for them."""

PATHS = ("model_path", "draft_model")
SHARED = (
    "model_path",
    "sha256",
    "n_ctx",
    "n_batch",
    "n_parallel",
    "n_cells",
    "n_kept",
    "max_waiting",
    "idle_seconds",
    "n_draft",
    "draft_model",
    "n_threads",
    "n_gpu_layers",
    "flash_attn",
    "kv_layout",
    "kv_type",
    "probe",
    "chat_template",
)
"""Options that decide whether two objects can share one loaded model."""


class Opened(BaseChatModel):
    """A chat model with a GGUF file behind it."""

    model_path: str
    """Path of the GGUF file; of a model in several parts, the first."""
    sha256: str = ""
    """64 hex digits that the file must have. Without it the file is tried in another process once."""
    n_ctx: int | None = Field(default=None, ge=8, le=1 << 30)
    """Tokens of context of each call, prompt and answer. None: what the model was trained with, at most 4096."""
    n_batch: int = Field(default=256, ge=8, le=4096)
    """Tokens of prompts per step; a cancelled call stops after the step at the latest."""
    n_parallel: int = Field(default=8, ge=1, le=128)
    """Calls that run at once; more wait for their turn."""
    n_cells: int | None = Field(default=None, ge=8, le=1 << 30)
    """Tokens of all calls together, which share what they have in common. None: n_ctx for each of n_parallel, or as
    many as the memory allows."""
    n_kept: int | None = Field(default=None, ge=0, le=1 << 30)
    """Tokens of finished calls that are kept in memory, for calls that begin alike. None: as many as n_cells."""
    max_waiting: int = Field(default=1024, ge=1)
    """Calls that may wait for their turn; the next one fails with ``QueueFull``."""
    idle_seconds: float | None = Field(default=None, gt=0)
    """Unload the model when nobody has asked for so long; the next call loads it again. None: never."""
    n_draft: int = Field(default=0, ge=0, le=64)
    """Guesses of what comes next that a step may check: what followed the same tokens in the prompt, or in the last
    call of the same tools. Answers stay the same, and need fewer steps where they repeat. 0: none."""
    draft_model: str = ""
    """Path of a small model with the same vocabulary that guesses where nothing is found; needs n_draft."""
    n_threads: int | None = Field(default=None, ge=1, le=1024)
    """The most threads that compute; one while other work slows them down. None: 1 for files below 100 MB, else one per
    core."""
    n_gpu_layers: Annotated[int, Field(ge=-1)] | Literal["auto"] = "auto"
    """Layers on the GPU; -1: all; "auto": as many as fit there. The processor computes the others, and all where the
    build has no GPU support or finds no device; that is said once, in the log."""
    flash_attn: bool = False
    """Use flash attention. It can change an answer, so it is never decided automatically."""
    kv_layout: Layout = "auto"
    """Whose the cells of the cache are. "unified": all calls share them, for calls that have long prefixes in common.
    "partitioned": each call has its own, for calls that have little in common. "auto": partitioned where the memory
    allows."""
    kv_type: Literal["f16", "q8_0", "q4_0"] = "f16"
    """How keys and values are stored. Less than f16 saves memory, needs flash_attn, and can change an answer."""
    probe: bool | Literal["auto"] = "auto"
    """Try the file in another process before it is loaded into this one. "auto": unless it passed before, or sha256
    is given."""
    chat_template: str = ""
    """Jinja to use instead of the template in the file."""

    _lease: Lease = PrivateAttr(default_factory=Lease)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        known = {*cls.model_fields, *NO_MEANING_HERE}
        for name in values if isinstance(values, Mapping) else ():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else "See the reference page of ChatLlama."
                raise SetupError(f"ChatLlama has no option {name!r}", hint=hint, code="setup.option")
        if not isinstance(values, Mapping):
            return values
        paths = {name: str(values[name]) for name in PATHS if isinstance(values.get(name), Path)}
        return {**values, **paths}

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.kv_type != "f16" and not self.flash_attn:
            raise SetupError(
                f"kv_type={self.kv_type!r} needs flash attention",
                hint="Give flash_attn=True as well, or leave kv_type out.",
                code="setup.option",
            )
        if self.draft_model and not self.n_draft:
            raise SetupError(
                "draft_model is given, and n_draft allows no guesses", hint="Give n_draft=8.", code="setup.option"
            )
        return self

    @property
    def model_name(self) -> str:
        """Name of the file without its ending."""
        return Path(self.model_path).stem

    @property
    def session(self) -> Session:
        """The loaded model behind this object; loading begins when it is asked for, and does not block."""
        return self._lease.session(self._model_options())

    def _model_options(self, **changed: Any) -> ModelOptions:
        """What the session is loaded by."""
        values = {**{name: getattr(self, name) for name in SHARED}, **changed}
        path = str(Path(values.pop("model_path")).expanduser().absolute())
        if values["draft_model"]:
            values["draft_model"] = str(Path(values["draft_model"]).expanduser().absolute())
        return ModelOptions(path=path, sha256=values.pop("sha256").lower(), **values)

    def swap(self, model_path: str | Path, *, sha256: str = "") -> None:
        """Answer later calls with another file, opened with the same options. Blocks until it is loaded.

        Calls under way are answered by the old model, which is unloaded after the last of them, unless others use it.
        Until then both are in memory. If the new one cannot be loaded, nothing changes.

        Raises:
            SetupError: the file cannot be loaded.
        """
        old = self._model_options()
        changed = {"model_path": str(model_path), "sha256": sha256}
        new = self._model_options(**changed)
        try:
            self._lease.session(new).wait_until_loaded()
        except BaseException:
            self._lease.leave(new)
            raise
        self.__dict__.update(changed)  # both at once: other threads ask meanwhile
        self.profile = self._resolve_model_profile()
        if new != old:
            self._lease.leave(old)

    async def aswap(self, model_path: str | Path, *, sha256: str = "") -> None:
        """:meth:`swap` without blocking the event loop."""
        await asyncio.to_thread(self.swap, model_path, sha256=sha256)

    def close(self) -> None:
        """Give the model up; it is unloaded if nobody else uses it. Later calls raise ``ModelClosed``."""
        self._lease.close()

    async def aclose(self) -> None:
        """The same without blocking the event loop."""
        await asyncio.to_thread(self.close)
