"""A NeMo folder becomes rails, or a ``SetupError``: whatever would pass everything at run time is refused here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.errors import SetupError
from chainops.middleware.rails.nemo import traps
from chainops.middleware.rails.nemo.engine import Engine, engine
from chainops.middleware.rails.nemo.model import ChatModelForNemo, cache_for_nemo
from chainops.middleware.rails.nemo.rail import NemoRail
from chainops.middleware.rails.nemo.retrieval import retrieval_rails
from chainops.middleware.rails.rail import OnError, Rail
from chainops.middleware.rails.verdict import Place, Policy

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chainops.store.cache import Tiers

__all__ = ["nemo_rails", "read"]


def nemo_rails(
    folder: str | Path,
    *,
    model: BaseChatModel | None = None,
    models: Mapping[str, BaseChatModel] | None = None,
    cache: Tiers | None = None,
    policy: Mapping[str, Policy] | None = None,
    on_error: OnError = "block",
    timeout_s: float = 30.0,
) -> list[Rail]:
    """The input, output and retrieval rails of a NeMo Guardrails ``config.yml`` folder.

    Input flows stand at input, tool results and documents; output flows at output and tool calls. Code in the folder
    is never run, and nothing is sent anywhere. Blocks while NeMo is imported and the folder is read.

    Args:
        folder: with a ``config.yml``, or such a file.
        model: what NeMo calls the main model; asked by flows such as ``self check input``.
        models: by NeMo's type of model (``content_safety`` ...), for flows that name one.
        cache: keeps what guard models answered.
        policy: by name of a flow; ``block`` for those that it leaves out.
        on_error: for all of them. timeout_s: for flows that ask a model.

    Raises:
        SetupError: ``setup.nemo``: it cannot be read, has no rail, or has one that could not judge here.
    """
    nemo = engine()
    path = Path(folder)
    config = read(nemo, path)
    traps.settings(config, path)
    types = {name: ChatModelForNemo(m) for name, m in {**({"main": model} if model else {}), **(models or {})}.items()}
    caches = {name: cache_for_nemo(cache, name) for name in types} if cache is not None else None
    dependencies = nemo.Dependencies(
        llms=types, llm_task_manager=nemo.TaskManager(config), config=config, model_caches=caches
    )
    options: dict[str, Any] = {"on_error": on_error, "timeout_s": timeout_s}
    found: list[Rail] = []
    wanted = dict(policy or {})
    for flow, output in _flows(config):
        own = {**options, "policy": wanted.pop(flow, "block")}
        found.append(_compiled(nemo, flow, output, dependencies, path, own))
    for flow, rail in retrieval_rails(nemo, config, path, options):
        rail.policy = wanted.pop(flow, "block")
        found.append(rail)
    if wanted:
        raise traps.wrong(path, f"has no flow {next(iter(wanted))!r}, for which a policy is given")
    if not found:
        raise SetupError(
            f"{path} has no input, output or retrieval rail, so everything would pass",
            hint="Name flows under rails.input.flows or rails.output.flows.",
            code="setup.rails_empty",
        )
    return found


def read(nemo: Engine, path: Path) -> Any:
    if not path.exists():
        raise traps.wrong(path, "is not there")
    try:
        with warnings.catch_warnings():  # NeMo warns of fields of its own that nobody here has set
            warnings.simplefilter("ignore")
            config = nemo.Config.from_path(str(path))
    except Exception as error:  # noqa: BLE001 - NeMo raises whatever its YAML, Colang and pydantic do
        raise traps.wrong(path, f"cannot be read: {type(error).__name__}: {error}") from None
    if str(config.colang_version).startswith("2"):
        raise traps.wrong(path, "is written in Colang 2", "Write it in Colang 1.0; see the page on rails.")
    return config


def _flows(config: Any) -> Iterator[tuple[str, bool]]:
    seen: set[tuple[str, bool]] = set()
    for section, output in ((config.rails.input, False), (config.rails.output, True)):
        for flow in section.flows:
            if (flow, output) not in seen:
                seen.add((flow, output))
                yield flow, output


def _compiled(
    nemo: Engine, flow: str, output: bool, dependencies: Any, path: Path, options: dict[str, Any]
) -> NemoRail:
    direction = nemo.Direction.OUTPUT if output else nemo.Direction.INPUT
    try:
        rail = nemo.compile(flow, direction, dependencies, catalog=nemo.catalog)
    except nemo.CompilationError as error:
        raise traps.wrong(path, f"has a flow that cannot run: {error}") from None
    asks = traps.flow(nemo, rail, output, dependencies, path)
    places: Sequence[Place] = ("output", "tool_call") if output else ("input", "tool_result", "retrieval")
    rewrites = rail.transform_target is not None
    clean = traps.clean(nemo, rail, output, dependencies.config)
    return NemoRail(flow, rail, output=output, asks=asks, rewrites=rewrites, clean=clean, places=places, **options)
