"""The part of ``ChatLlama`` that keeps prefixes: pinned in memory, saved to a file, brought back by another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from chainops.engines.llama.adapters import WithAdapters
from chainops.engines.llama.library import library_id
from chainops.engines.llama.messages import as_dicts
from chainops.engines.llama.model_file import known_sha256
from chainops.engines.llama.opened import Opened
from chainops.engines.llama.prefix_file import read_prefixes, write_prefixes
from chainops.engines.llama.request import Ask, Finished
from chainops.errors import CallError

__all__ = ["WithPrefixes"]

Tools = Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool]


class WithPrefixes(Opened, WithAdapters):
    """A chat model whose prompts begin alike."""

    def pin(self, messages: LanguageModelInput, *, tools: Tools | None = None, adapter: Any = None) -> int:
        """Compute what all prompts have in common that begin with ``messages``, and keep it for good. Blocks.

        Args:
            messages: for example the system prompt.
            tools: as in ``bind_tools``; templates write them into the prompt.
            adapter: as in a call; None: the one of this object.

        Returns:
            how many tokens it has.

        Raises:
            CannotPin: ``n_kept`` does not hold them.
        """
        dicts = as_dicts(self._convert_input(messages).to_messages())
        described = [convert_to_openai_tool(tool) for tool in tools or ()]
        adapters = self.chosen_adapters(self.adapter if adapter is None else adapter)
        ask = Ask(messages=dicts, tools=described, max_tokens=1, adapters=adapters, pin=True)
        for event in self.session.stream_sync(ask):
            if isinstance(event, Finished):
                return event.prompt_tokens
        raise CallError("The prefix was not computed", code="call.model")

    async def apin(self, messages: LanguageModelInput, *, tools: Tools | None = None, adapter: Any = None) -> int:
        """:meth:`pin` without blocking the event loop."""
        return await asyncio.to_thread(self.pin, messages, tools=tools, adapter=adapter)

    def unpin(self) -> None:
        """From now on nothing is pinned. Blocks until the model is loaded."""
        self.session.between_steps(lambda worker: worker.kept.unpin()).result()

    def save_prefixes(self, path: str | Path, *, pinned_only: bool = False) -> int:
        """Write what is kept of finished calls to ``path``, for :meth:`load_prefixes`. Blocks.

        The file holds what was said to the model, as tokens.

        Returns:
            how many prefixes were written.
        """
        kept = self.session.between_steps(lambda worker: worker.settle().all).result()
        chosen = [one for one in kept if one.pinned or not pinned_only]
        write_prefixes(Path(path), self._made_by(), chosen)
        return len(chosen)

    def load_prefixes(self, path: str | Path) -> int:
        """Keep what :meth:`save_prefixes` wrote, as far as ``n_kept`` holds it. Blocks.

        Load files that you wrote only: llama.cpp reads them as they are.

        Returns:
            how many prefixes are kept now that were not before.

        Raises:
            SetupError: code ``setup.prefixes``: the file is damaged, or was written with another model, other options
                or another build of llama.cpp. Nothing is taken from it then.
        """
        found = read_prefixes(Path(path), self._made_by())
        return self.session.between_steps(lambda worker: sum(worker.kept.take(one) for one in found)).result()

    async def asave_prefixes(self, path: str | Path, *, pinned_only: bool = False) -> int:
        """:meth:`save_prefixes` without blocking the event loop."""
        return await asyncio.to_thread(self.save_prefixes, path, pinned_only=pinned_only)

    async def aload_prefixes(self, path: str | Path) -> int:
        """:meth:`load_prefixes` without blocking the event loop."""
        return await asyncio.to_thread(self.load_prefixes, path)

    def _made_by(self) -> dict[str, Any]:
        """What a state of the cache is valid for."""
        return {
            "model_sha256": self.sha256.lower() or known_sha256(self.model_path),
            "llama_cpp": library_id(),
            "kv_type": self.kv_type,
            "flash_attn": self.flash_attn,
            "unified": self.session.between_steps(lambda worker: worker.native.options.unified).result(),
        }
