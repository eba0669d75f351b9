"""``[route]`` and ``[retry]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from chainops.settings.section import Section

__all__ = ["AliasSettings", "DeploymentSettings", "RetrySettings", "RouteRuleSettings", "RouteSettings"]


class DeploymentSettings(Section):
    """One table ``[route.models.<name>]``: exactly one of ``file``, ``url``, ``factory`` and ``engine``."""

    file: Path | None = Field(default=None, description="A GGUF file, run by llama.cpp in this process.")
    url: str | None = Field(default=None, description="A server that speaks OpenAI's API: vLLM, Ollama, llama-server.")
    factory: str | None = Field(default=None, description="`module:name` of a chat model, or of what makes one.")
    engine: str | None = Field(default=None, description="An engine of an enabled plugin.")
    model: str = Field(default="", description="Name of the model on the server or for the engine.")
    key_env: str = Field(default="", description="Environment variable that holds the server's key.")
    options: dict[str, Any] = Field(default_factory=dict, description="More arguments of the chat model.")
    weight: float = Field(default=1.0, gt=0, description="Its share.")
    cost: float | None = Field(default=None, ge=0, description="Of a million tokens, for the strategy cheapest.")
    trip_after: int = Field(default=8, gt=0, description="Failures in a row that open the circuit breaker.")
    trip_share: float = Field(default=0.6, gt=0, le=1, description="Share of failures that opens it.")
    open_s: float = Field(default=5.0, gt=0, description="Seconds it stays open at first.")

    @model_validator(mode="after")
    def _one_kind(self) -> DeploymentSettings:
        kinds = [kind for kind in ("file", "url", "factory", "engine") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"needs exactly one of file, url, factory and engine; it has {', '.join(kinds) or 'none'}")
        return self


class RouteRuleSettings(Section):
    """One table of ``[[route.aliases.<name>.rules]]``."""

    to: str = Field(description="Name of the tier.")
    matches: str = Field(default="", description="A regular expression for the question.")
    node: str = Field(default="", description="Glob on the node.")
    tools: bool | None = Field(default=None, description="Calls that offer tools, or none.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="What the run's metadata must have.")


class AliasSettings(Section):
    """One table ``[route.aliases.<name>]``."""

    deployments: tuple[str, ...] = Field(default=(), description="Names of models that stand in for each other.")
    fallbacks: tuple[str, ...] = Field(default=(), description="Models or aliases that come after all of those.")
    strategy: Literal["order", "weighted", "least_busy", "fastest", "cheapest"] = Field(
        default="order", description="Which of the deployments comes first."
    )
    tiers: tuple[str, ...] = Field(default=(), description="Models or aliases, from small to large.")
    rules: tuple[RouteRuleSettings, ...] = Field(default=(), description="Looked at before difficulty.")
    thresholds: tuple[float, ...] | None = Field(default=None, description="Difficulties from which the next begins.")
    cascade: bool = Field(default=False, description="Go on to the next tier when an answer is not good enough.")
    min_logprob: float | None = Field(default=None, le=0, description="Mean log-probability of a good answer.")
    min_support: float | None = Field(default=None, ge=0, le=1, description="Share of words that the messages hold.")
    hedge_after_s: float | None = Field(default=None, gt=0, description="Seconds until the next is asked as well.")


class RouteSettings(Section):
    """``[route]``: models behind names; needs ``route`` in ``[pipeline].middleware``."""

    models: dict[str, DeploymentSettings] = Field(default_factory=dict, description="Where models run.")
    aliases: dict[str, AliasSettings] = Field(default_factory=dict, description="Names for them.")
    embedder: bool = Field(default=False, description="Ask the embedder where words do not decide.")
    thresholds: Path | None = Field(default=None, description="What `chainops route calibrate` has written.")


class RetrySettings(Section):
    """``[retry]``: calls made again; needs ``retry`` in ``[pipeline].middleware``."""

    attempts: int = Field(default=3, ge=1, description="Of one call, the first included.")
    first_s: float = Field(default=0.5, ge=0, description="Bound of the first pause.")
    max_s: float = Field(default=20.0, ge=0, description="Bound of all pauses.")
    timeout_s: float | None = Field(default=None, gt=0, description="Seconds that one attempt may take.")
    idempotent: tuple[str, ...] = Field(default=(), description="Globs on tools that may be called again.")
    breaker: bool = Field(default=True, description="Circuit breakers for models outside of [route].")
