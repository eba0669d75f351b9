"""By which names a call's model may stand in a price book, and who answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainops.calls import ModelCall, ModelResult

EMPTY: Mapping[str, Any] = {}

__all__ = ["SELLERS", "context_of", "names_of", "route_of", "seller_of"]

SELLERS: Mapping[str, str] = {
    "google_genai": "google",
    "google-genai": "google",
    "google_vertexai": "google",
    "google_anthropic_vertex": "google",
    "azure_openai": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "amazon_bedrock": "aws",
    "anthropic_bedrock": "aws",
    "mistralai": "mistral",
    "xai": "x-ai",
    "moonshot": "moonshotai",
}
"""LangChain's names of providers, where a price book has another one."""

ON_PREM = frozenset({"llama.cpp", "llamacpp", "chat-llamacpp", "ollama", "vllm", "huggingface", "localai", "lmstudio"})
"""Who runs a model oneself: a list price of the same model elsewhere says nothing."""


def route_of(call: ModelCall) -> Mapping[str, Any]:
    """What a router noted on the call, read before the call is made: another attempt may go elsewhere."""
    marks = call.guard.marks
    note = marks.notes.get("route") if marks is not None else None
    return dict(note) if note else {}


def names_of(call: ModelCall, route: Mapping[str, Any], result: ModelResult | None) -> tuple[str, ...]:
    """The names, the most particular first: deployment, what answered, what was asked for."""
    meta = _meta(result)
    found = (
        route.get("deployment"),
        meta.get("model_name"),
        meta.get("model"),
        route.get("model"),
        getattr(call.model, "model_name", None),
        getattr(call.model, "model", None),
        call.name,
        route.get("alias"),
    )
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str) and name))


def seller_of(
    call: ModelCall, result: ModelResult | None, route: Mapping[str, Any] = EMPTY, servers: Mapping[str, str] = EMPTY
) -> str | None:
    """Who answered, as price books name them, or the address of the server; "" for a model of one's own, None where
    nothing tells. ``servers``: addresses by name of deployment.
    """
    url = servers.get(str(route.get("deployment"))) or getattr(call.model, "openai_api_base", None)
    if isinstance(url, str) and url:
        return url  # many servers speak OpenAI's language, and call themselves so
    told = _meta(result).get("model_provider")
    if not isinstance(told, str) or not told:
        told = _asked(call.model)
    if told is None:
        return None
    name = told.lower()
    if name in ON_PREM:
        return ""
    return SELLERS.get(name, name)


def context_of(result: ModelResult | None) -> dict[str, str]:
    """What changes the price of single calls: the service tier."""
    tier = _meta(result).get("service_tier")
    return {"service_tier": tier} if isinstance(tier, str) else {}


def _asked(model: Any) -> str | None:
    """What LangChain says of the model object; for most classes only the name of the class, which says nothing."""
    kind = getattr(model, "_llm_type", None)
    if not isinstance(kind, str):
        return None
    for known in (*SELLERS, *ON_PREM, "openai", "anthropic", "groq", "cohere", "deepseek", "together", "fireworks"):
        if kind in (known, f"{known}-chat", f"chat-{known}", f"{known}_chat"):
            return known
    return None


def _meta(result: ModelResult | None) -> Mapping[str, Any]:
    return (result.message.response_metadata or {}) if result is not None else {}
