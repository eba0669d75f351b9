"""One place where a model runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainops.calls import ModelCall, ModelResult
from chainops.gateway.engine import ask
from chainops.gateway.health import Health, Watched

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Deployment"]


class Deployment:
    """A chat model under a name: a llama.cpp file, a server, any LangChain model.

    Args:
        name: unique in a gateway; on spans and in settings.
        make: makes the model, when it is first asked; or the model itself.
        weight: how large its share is under the strategy "weighted", and how much it can carry under "least_busy".
        cost: of a million tokens, in and out mixed, in any currency; for the strategy "cheapest"; None: unknown, last.
        health: how its failures are judged; None: as :class:`Health` does.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], BaseChatModel] | BaseChatModel,
        *,
        weight: float = 1.0,
        cost: float | None = None,
        health: Health | None = None,
    ) -> None:
        self.name, self.weight, self.cost = name, weight, cost
        self.health = health or Health(name)
        self.engine = Watched(self._ask, self.health)
        self._make = make
        self._model: BaseChatModel | None = None
        self._model_name: str | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Deployment({self.name!r})"

    @property
    def model(self) -> BaseChatModel:
        """The chat model, made on first use."""
        if self._model is None:
            with self._lock:
                if self._model is None:
                    make: Any = self._make
                    self._model = make() if callable(make) and not hasattr(make, "_agenerate") else make
        return self._model

    @property
    def model_name(self) -> str:
        """What the model calls itself."""
        if self._model_name is None:
            self._model_name = self._named()
        return self._model_name

    def _named(self) -> str:
        for field in ("model_name", "model"):
            if isinstance(name := getattr(self.model, field, None), str) and name:
                return name
        return type(self.model).__name__

    async def _ask(self, call: ModelCall) -> ModelResult:
        return await ask(self.model, call)

    def close(self) -> None:
        """Release the model, where it can be and was made."""
        if self._model is not None and callable(close := getattr(self._model, "close", None)):
            close()
