"""The route middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from chainops.calls import Kind, ModelCall, ModelNext, ModelResult
from chainops.errors import CallError, SetupError, is_control_flow
from chainops.gateway import Deployment, Gateway
from chainops.gateway.failures import may_work_elsewhere
from chainops.middleware.route.cascade import why_not_enough
from chainops.middleware.route.decide import Decider, Decision
from chainops.middleware.route.difficulty import Meaning
from chainops.middleware.route.held import Chunks
from chainops.pipeline import Middleware

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["Route", "RouteFailed"]


class RouteFailed(CallError):
    """Every deployment of an alias failed; the last error is the cause, all of them stand in the message."""

    default_code = "route.failed"
    retryable: ClassVar[bool] = True


class Route(Middleware):
    """Sends model calls to deployments, and to the next one when one fails.

    A call is routed when its node says so (``{"route": {"model": "big"}}``), or when the model that the node calls has
    a name that the gateway knows (``chainops.model("chat")``, or any model of that name); all others pass. What is
    decided, and why, stands on the span. A stream goes to another deployment only while nothing of it has left; an
    answer that a cascade may reject is kept back until it is accepted.

    Args:
        gateway: deployments and aliases.
        embedder: asked about a question that the words leave between two tiers; None: words alone decide.

    Raises:
        SetupError: code ``setup.route``, for a node that names an unknown model.
    """

    name: ClassVar[str] = "route"
    inside: ClassVar[tuple[str, ...]] = ("trace", "limits", "prompts", "cache", "semantic_cache", "rails", "pii")
    outside: ClassVar[tuple[str, ...]] = ("retry",)
    kinds: ClassVar[frozenset[Kind]] = frozenset({"model"})

    def __init__(self, gateway: Gateway, embedder: Embedder | None = None) -> None:
        self.gateway = gateway
        self.decider = Decider(gateway, Meaning(embedder) if embedder is not None else None)

    def describe(self) -> Mapping[str, Any]:
        """The names, and what they stand for."""
        from dataclasses import asdict

        aliases = {name: asdict(alias) for name, alias in self.gateway.aliases.items()}
        return {"deployments": sorted(self.gateway.deployments), "aliases": aliases}

    def close(self) -> None:
        """Release the models."""
        self.gateway.close()

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Decide, ask, and go on to the next one while that helps."""
        name = self._name(call)
        if name is None:
            return await call_next(call)
        decision = await self.decider.decide(name, call)
        if decision.alias.hedge_after_s is not None and not call.streaming and len(decision.plan) > 1:
            return await self._hedged(call, call_next, decision, decision.alias.hedge_after_s)
        return await self._in_turn(call, call_next, decision)

    async def _in_turn(self, call: ModelCall, call_next: ModelNext, decision: Decision) -> ModelResult:
        errors: list[tuple[str, Exception]] = []
        rejected: list[str] = []
        spare: tuple[ModelResult, Chunks | None] | None = None
        for i, deployment in enumerate(decision.plan):
            chunks = Chunks(call.emit, hold=i < decision.held) if call.streaming else None
            left = len(decision.plan) - i - 1
            asked = self._towards(call, deployment, decision, left, tries=i, chunks=chunks)
            try:
                result = await call_next(asked)
            except Exception as error:
                if is_control_flow(error) or (chunks is not None and chunks.left) or not may_work_elsewhere(error):
                    raise
                errors.append((deployment.name, error))
                continue
            why = why_not_enough(decision.alias, asked, result) if i < decision.held else ""
            if not why:
                if chunks is not None:
                    await chunks.release()
                if errors or rejected:
                    self._report(call, errors, rejected)
                return result
            rejected.append(f"{deployment.name}: {why}")
            spare = result, chunks
        self._report(call, errors, rejected)
        if spare is not None:  # every larger model failed: the answer that was not liked is better than none
            if spare[1] is not None:
                await spare[1].release()
            return spare[0]
        raise self._failed(decision, errors)

    async def _hedged(self, call: ModelCall, call_next: ModelNext, decision: Decision, after_s: float) -> ModelResult:
        """The first answer of deployments that are asked one after the other, ``after_s`` apart."""
        waiting = list(decision.plan)
        tasks: dict[asyncio.Task[ModelResult], Deployment] = {}
        errors: list[tuple[str, Exception]] = []
        try:
            while tasks or waiting:
                if waiting:
                    deployment = waiting.pop(0)
                    asked = self._towards(call, deployment, decision, len(waiting), tries=len(tasks), chunks=None)
                    tasks[asyncio.ensure_future(call_next(asked))] = deployment
                done, _ = await asyncio.wait(
                    tasks, timeout=after_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    deployment = tasks.pop(task)
                    error = task.exception()
                    if error is None:
                        call.annotate(self.name, deployment=deployment.name, hedged=len(decision.plan) - len(waiting))
                        self._report(call, errors, [])
                        return task.result()
                    if not isinstance(error, Exception) or is_control_flow(error) or not may_work_elsewhere(error):
                        raise error
                    errors.append((deployment.name, error))
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.gather(*tasks, return_exceptions=True)
        raise self._failed(decision, errors)

    def _towards(
        self, call: ModelCall, deployment: Deployment, decision: Decision, left: int, *, tries: int, chunks: Any
    ) -> ModelCall:
        model = deployment.model
        notes = decision.notes() if not tries else {}
        call.annotate(self.name, **notes, deployment=deployment.name, model=deployment.model_name, left=left)
        params = call.params
        if decision.alias.min_logprob is not None and "logprobs" not in params:
            params = {**params, "logprobs": True}
        # the model stays the name that was asked for, unless both speak alike: then parameters go along untouched
        return call.replace(
            engine=deployment.engine,
            name=deployment.model_name,
            params=params,
            model=model if type(call.model) is type(model) else call.model,
            emit=call.emit if chunks is None else chunks,
        )

    def _name(self, call: ModelCall) -> str | None:
        wanted = call.settings.metadata.get(self.name)
        if wanted is None:
            return call.name if call.name in self.gateway else None
        name = wanted.get("model") if isinstance(wanted, Mapping) else wanted
        if not isinstance(name, str):
            raise SetupError(
                f"The setting 'route' of {call.path} is {wanted!r}",
                hint='Write {"route": {"model": "<name>"}}.',
                code="setup.route",
            )
        return name

    def _report(self, call: ModelCall, errors: list[tuple[str, Exception]], rejected: list[str]) -> None:
        if errors:
            call.annotate(self.name, failed=[f"{name}: {_brief(error)}" for name, error in errors])
        if rejected:
            call.annotate(self.name, rejected=rejected)

    def _failed(self, decision: Decision, errors: list[tuple[str, Exception]]) -> Exception:
        if len(errors) == 1:
            return errors[0][1]
        lines = "; ".join(f"{name}: {_brief(error)}" for name, error in errors)
        failed = RouteFailed(
            f"All {len(errors)} deployments of {decision.alias.name!r} failed: {lines}",
            hint="Look at the servers, or give the alias another fallback.",
        )
        failed.__cause__ = errors[-1][1]
        return failed


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
