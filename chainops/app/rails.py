"""The rails of an application: what ``[rails]`` names, each with its policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.errors import SetupError
from chainops.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chainops.embedding import Embedder
    from chainops.middleware.rails import Rail, Rails
    from chainops.middleware.rails.nemo import Dialog
    from chainops.store.cache import Tiers

__all__ = ["build", "jailbreak"]


def build(settings: Settings, model: BaseChatModel | None = None) -> Rails:
    """The layer ``rails``.

    Args:
        model: what self-checks ask, in place of ``[rails].model``.

    Raises:
        SetupError: no rail (``setup.rails_empty``), a policy for none, or one that could not judge.
    """
    from chainops.middleware.rails import Rails, Strikes

    section = settings.rails
    if model is None and section.model is not None:
        model = _local(section.model)
    dialog = _dialog(settings, model)
    rails = [*_own(settings), *_nemo(settings, model, needed=dialog is None)]
    if section.jailbreak:
        rails.append(jailbreak(settings, rails, model))
    rails += _learned(settings)
    names = {rail.name for rail in rails}
    if unknown := [name for name in section.policy if name not in names]:
        raise SetupError(
            f"[rails].policy names {unknown[0]!r}, which is no rail",
            hint=f"Rails: {', '.join(sorted(names)) or 'none'}.",
            code="setup.rail",
        )
    strikes = None if section.strikes is None else Strikes(section.strikes, wait_s=section.strike_wait_s)
    return Rails(
        rails,
        strikes=strikes,
        dialog=dialog,
        on_block=section.on_block,
        refusal=section.refusal,
        stream=section.stream,
        fields=section.fields,
    )


def _options(settings: Settings, name: str) -> dict[str, Any]:
    return {"policy": settings.rails.policy.get(name, "block"), "on_error": settings.rails.on_error}


def _own(settings: Settings) -> list[Rail]:
    from chainops.middleware.rails import Canary, DenyList, Egress, PatternRail

    rails: list[Rail] = []
    if settings.rails.deny:
        rails.append(DenyList("deny", settings.rails.deny, **_options(settings, "deny")))
    if settings.rails.patterns:
        rails.append(PatternRail("patterns", settings.rails.patterns, **_options(settings, "patterns")))
    if settings.rails.canary:
        rails.append(Canary(**_options(settings, "canary")))
    if settings.rails.egress:
        rails.append(Egress(hosts=settings.rails.hosts, **_options(settings, "egress")))
    return rails


def _learned(settings: Settings) -> list[Rail]:
    from chainops.app.embedder import embedder_of

    section = settings.rails
    rails: list[Rail] = []
    if section.indirect_injection:
        from chainops.middleware.rails.indirect import IndirectInjection

        rails.append(IndirectInjection(_embedder(settings), **_options(settings, "indirect_injection")))
    if section.toxicity:
        from chainops.middleware.rails.toxicity import Toxicity

        rails.append(Toxicity(embedder_of(settings), **_options(settings, "toxicity")))
    if section.classifiers:
        from chainops.middleware.rails.classifier import Classifier

        rails += [Classifier(n, folder, **_options(settings, n)) for n, folder in section.classifiers.items()]
    return rails


def _embedder(settings: Settings) -> Embedder:
    from chainops.app.embedder import embedder_of

    embedder = embedder_of(settings)
    if embedder is None:
        raise SetupError(
            "Dialog rails, jailbreak and indirect_injection need an embedder, and there is none",
            hint="chainops embedder export, or set [embeddings].path",
            code="setup.embedder_missing",
        )
    return embedder


def jailbreak(settings: Settings, others: Sequence[Rail] = (), model: BaseChatModel | None = None) -> Rail:
    """The jailbreak rail with the application's embedder.

    Args:
        others: among them the one that gives a second opinion.
        model: gives it where no rail is named: NeMo's ``self check input``, else ``SelfCheck``.

    Raises:
        SetupError: there is no embedder (``setup.embedder_missing``), or no such other rail (``setup.rail``).
    """
    from chainops.middleware.rails.jailbreak import Jailbreak

    section, embedder = settings.rails, _embedder(settings)
    second = next((rail for rail in others if rail.name == section.second_opinion), None)
    if section.second_opinion is not None and second is None:
        raise SetupError(
            f"[rails].second_opinion names {section.second_opinion!r}, which is no rail",
            hint=f"Rails: {', '.join(rail.name for rail in others) or 'none'}.",
            code="setup.rail",
        )
    if second is None and model is not None:
        from chainops.middleware.rails.self_check import SelfCheck

        second = next((rail for rail in others if rail.name.startswith("self check input")), None)
        second = second or SelfCheck(model, timeout_s=section.timeout_s)
    options = _options(settings, "jailbreak") | {"flag": section.jailbreak_flag, "block": section.jailbreak_block}
    return Jailbreak(embedder, second=second, **options)


def _local(file: Path) -> BaseChatModel:
    from chainops.engines.llama import ChatLlama

    return ChatLlama(model_path=str(file))


def _cache(settings: Settings) -> Tiers | None:
    """The application's cache, where it has one, for what guard models answered."""
    if "cache" not in settings.pipeline.middleware:
        return None
    from chainops.store.cache import open_tiers

    return open_tiers(settings.cache.directory if settings.cache.on_disk else None, early=0)


def _dialog(settings: Settings, model: BaseChatModel | None) -> Dialog | None:
    section = settings.rails
    if section.config is None or not section.dialog:
        return None
    from chainops.middleware.rails.nemo.dialog import Dialog, has_dialog

    if not has_dialog(section.config):
        return None
    return Dialog(section.config, _embedder(settings), model=model, timeout_s=section.timeout_s)


def _nemo(settings: Settings, model: BaseChatModel | None, *, needed: bool) -> list[Rail]:
    section = settings.rails
    if section.config is None:
        return []
    from chainops.middleware.rails.nemo import nemo_rails

    models = {kind: _local(file) for kind, file in section.models.items()}
    try:
        found = nemo_rails(
            section.config,
            model=model,
            models=models,
            cache=_cache(settings) if models else None,
            on_error=section.on_error,
            timeout_s=section.timeout_s,
        )
    except SetupError as error:
        if needed or error.code != "setup.rails_empty":
            raise
        return []  # a folder of dialog rails alone
    for rail in found:
        rail.policy = section.policy.get(rail.name, "block")
    return found
