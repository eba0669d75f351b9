"""Deployments and aliases from settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chainops.errors import MissingExtra, SetupError
from chainops.gateway import Alias, Deployment, Gateway, Health, RouteRule
from chainops.settings import Settings
from chainops.settings.route import AliasSettings, DeploymentSettings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["gateway_of"]


def gateway_of(settings: Settings) -> Gateway:
    """The gateway that ``[route]`` describes. No model is made or loaded before it is asked."""
    from chainops.middleware.route.calibrate import read_thresholds

    found = read_thresholds(settings.route.thresholds) if settings.route.thresholds else {}
    deployments = [_deployment(settings, name, one) for name, one in settings.route.models.items()]
    aliases = [_alias(name, one, found.get(name)) for name, one in settings.route.aliases.items()]
    return Gateway(deployments, aliases)


def _deployment(settings: Settings, name: str, one: DeploymentSettings) -> Deployment:
    health = Health(name, trip_after=one.trip_after, trip_share=one.trip_share, open_s=one.open_s)
    return Deployment(name, _maker(settings, name, one), weight=one.weight, cost=one.cost, health=health)


def _alias(name: str, one: AliasSettings, thresholds: tuple[float, ...] | None) -> Alias:
    options: dict[str, Any] = {**one.model_dump(exclude={"rules"}), "thresholds": one.thresholds or thresholds}
    return Alias(name, rules=tuple(RouteRule(**rule.model_dump()) for rule in one.rules), **options)


def _maker(settings: Settings, name: str, one: DeploymentSettings) -> Callable[[], BaseChatModel]:
    if one.file is not None:
        return lambda: _llama(one)
    if one.url is not None:
        return lambda: _server(name, one)
    if one.engine is not None:
        return lambda: _plugin(settings, one)
    return lambda: _factory(name, one)


def _llama(one: DeploymentSettings) -> BaseChatModel:
    from chainops.engines.llama import ChatLlama

    return ChatLlama(model_path=str(one.file), **one.options)


def _server(name: str, one: DeploymentSettings) -> BaseChatModel:
    try:
        from chainops.engines.servers import server_model
    except ImportError as error:
        raise MissingExtra("openai", package="langchain-openai", needed_for=f"Model {name!r} with a url") from error
    key = os.environ.get(one.key_env, "") if one.key_env else "none"
    if not key:
        raise SetupError(
            f"Model {name!r} takes its key from the environment variable {one.key_env}, which is not set",
            hint=f"Set {one.key_env}.",
            code="setup.route",
        )
    return server_model(str(one.url), one.model or name, key=key, **one.options)


def _plugin(settings: Settings, one: DeploymentSettings) -> BaseChatModel:
    from chainops.app.plugins import engine_of

    return engine_of(settings, one.engine or "", one.model)


def _factory(name: str, one: DeploymentSettings) -> BaseChatModel:
    from langchain_core.language_models import BaseChatModel

    module, _, attribute = (one.factory or "").partition(":")
    try:
        made: Any = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SetupError(
            f"Model {name!r} comes from {one.factory!r}, which cannot be imported: {error}",
            hint='Write "module:name" of something that can be imported here.',
            code="setup.route",
        ) from error
    if not isinstance(made, BaseChatModel):
        made = made(**one.options)
    if not isinstance(made, BaseChatModel):
        raise SetupError(
            f"Model {name!r}: {one.factory!r} made a {type(made).__name__}, not a LangChain chat model",
            hint="Return a chat model.",
            code="setup.route",
        )
    return made
