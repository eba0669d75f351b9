"""A LangChain chat model as NeMo's language model, and our cache as its cache."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from chainops.middleware.rails.asked import answer_of
from chainops.middleware.rails.nemo.engine import engine

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chainops.store.cache import Tiers

__all__ = ["ChatModelForNemo", "cache_for_nemo"]

OPTIONS = frozenset({"temperature", "max_tokens", "top_p", "seed"})
ROLES = {"user": "human", "assistant": "ai", "system": "system", "developer": "system"}


class ChatModelForNemo:
    """What NeMo calls a model (its protocol ``LLMModel``), asked by itself: no callbacks, no stream to anybody."""

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    @property
    def model_name(self) -> str:
        """For NeMo's records."""
        return str(getattr(self.model, "model_name", None) or type(self.model).__name__)

    @property
    def provider_name(self) -> str | None:
        """For NeMo's records."""
        return "chainops"

    @property
    def provider_url(self) -> str | None:
        """There is none: the model is in this process."""
        return None

    async def generate_async(self, prompt: Any, *, stop: Sequence[str] | None = None, **options: Any) -> Any:
        """Its answer to ``prompt``, a text or messages."""
        nemo = engine()
        kept = {k: v for k, v in options.items() if k in OPTIONS and v is not None}
        answer = await answer_of(self.model, _messages(prompt), stop=list(stop) if stop else None, **kept)
        usage: Any = answer.usage_metadata or {}
        return nemo.Response(
            content=str(answer.text),
            model=self.model_name,
            usage=nemo.Usage(
                input_tokens=usage.get("input_tokens", 0),
                output_tokens=usage.get("output_tokens", 0),
                total_tokens=usage.get("total_tokens", 0),
            ),
        )

    async def stream_async(
        self, prompt: Any, *, stop: Sequence[str] | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """The answer in one piece: a rail judges whole answers."""
        answer = await self.generate_async(prompt, stop=stop, **options)
        yield engine().ResponseChunk(delta_content=answer.content, model=answer.model, usage=answer.usage)


def _messages(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return [("human", prompt)]
    found = []
    for message in prompt:
        known = message if isinstance(message, dict) else {"role": message.role, "content": message.content}
        role, content = known["role"], known["content"]
        found.append((ROLES.get(str(getattr(role, "value", role)), "human"), content or ""))
    return found


def cache_for_nemo(tiers: Tiers, scope: str, ttl_s: float | None = 86_400.0) -> Any:
    """NeMo's cache for one model, kept in ours; ``scope`` is part of each key."""
    from chainops.store.cache import Entry

    def key_of(key: Any) -> str:
        return blake2b(f"nemo\x1f{scope}\x1f{key!r}".encode(), digest_size=16).hexdigest()

    class Cache(engine().CacheInterface):  # type: ignore[misc]
        def get(self, key: Any, default: Any = None) -> Any:
            entry = tiers.get(key_of(key))
            return default if entry is None else entry.value

        def put(self, key: Any, value: Any) -> None:
            now = time.time()
            expires = None if ttl_s is None else now + ttl_s
            entry = Entry(
                key=key_of(key), kind="rail", node="", value=value, created=now, expires=expires, tags=("rails",)
            )
            tiers.put(entry, tiers.generation())

        def size(self) -> int:
            return tiers.store.size()[0]

        def is_empty(self) -> bool:
            return self.size() == 0

        def clear(self) -> None:
            tiers.invalidate(["rails"])

        def contains(self, key: Any) -> bool:
            return tiers.get(key_of(key)) is not None

        @property
        def maxsize(self) -> int:
            return 2**31

    return Cache()
