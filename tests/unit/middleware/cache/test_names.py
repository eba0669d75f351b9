"""Answers of a model that is only a name: they must not outlive the models that gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import chainops
from chainops import App, Pipeline
from chainops.gateway import Alias, Deployment, Gateway
from chainops.middleware.cache import Cache
from chainops.middleware.route import Route
from chainops.testing import ScriptedModel, model_call


class Fixed(ScriptedModel):
    """At temperature 0, and of some version."""

    temperature: float | None = 0.0
    version: str = "1"

    def chainops_identity(self) -> dict[str, Any]:
        return {"version": self.version}


def desk(tmp_path: Path, *models: Fixed, cache: Cache | None = None) -> tuple[Pipeline, Gateway]:
    deployments = [Deployment(f"m{i}", model) for i, model in enumerate(models)]
    gateway = Gateway(deployments, [Alias("desk", deployments=tuple(d.name for d in deployments))])
    return Pipeline([cache or Cache(tmp_path, stands_for=gateway.stands_for), Route(gateway)]), gateway


async def ask(pipeline: Pipeline, name: str = "desk") -> str:
    return str((await pipeline.run(model_call("hi", model=chainops.model(name), name=name))).text)


async def test_a_name_whose_models_are_at_temperature_0_is_answered_from_the_cache(tmp_path: Path) -> None:
    model = Fixed(["one", "two"])
    pipeline, _ = desk(tmp_path, model)
    assert [await ask(pipeline), await ask(pipeline)] == ["one", "one"]
    assert len(model.calls) == 1


@pytest.mark.parametrize("other", [{"temperature": 0.7}, {"temperature": None}])
async def test_one_model_behind_a_name_that_may_answer_otherwise_is_enough_to_ask_again(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    first = Fixed(["one", "two"])
    pipeline, _ = desk(tmp_path, first, Fixed(["x"], **other))
    assert [await ask(pipeline), await ask(pipeline)] == ["one", "two"]


async def test_another_model_behind_the_name_is_asked_and_the_old_one_s_answers_stay_its_own(tmp_path: Path) -> None:
    old, new = Fixed(["old", "x"]), Fixed(["new", "x"], version="2")
    for model, said in ((old, "old"), (new, "new"), (old, "old")):
        pipeline, _ = desk(tmp_path, model)
        assert await ask(pipeline) == said
    assert (len(old.calls), len(new.calls)) == (1, 1)


async def test_a_model_that_cannot_be_made_is_no_reason_for_the_cache_to_break_the_call(tmp_path: Path) -> None:
    def broken() -> Any:
        raise RuntimeError("no such server")

    gateway = Gateway([Deployment("m", Fixed(["one"])), Deployment("bad", broken)], [Alias("desk", ("m", "bad"))])
    pipeline = Pipeline([Cache(tmp_path, stands_for=gateway.stands_for), Route(gateway)])
    assert await ask(pipeline) == "one"


def test_names_in_names_and_tiers_are_all_looked_behind_and_other_models_are_no_names() -> None:
    models = {name: Fixed([name]) for name in "abc"}
    gateway = Gateway(
        [Deployment(name, model) for name, model in models.items()],
        [Alias("inner", ("a",), fallbacks=("b",)), Alias("outer", tiers=("inner", "c"))],
    )
    assert gateway.stands_for(chainops.model("outer")) == tuple(models.values())
    assert gateway.stands_for(chainops.model("inner")) == (models["a"], models["b"])
    assert gateway.stands_for(chainops.model("c")) == (models["c"],)
    assert gateway.stands_for(chainops.model("zzz")) == () == gateway.stands_for(models["a"])


def test_an_application_tells_both_caches_what_names_mean(tmp_path: Path, embedder: Any) -> None:
    with App(
        pipeline={"middleware": ["semantic_cache", "cache", "route"]},
        cache={"directory": str(tmp_path)},
        semantic_cache={"directory": str(tmp_path)},
        route={"models": {"m": {"factory": "tests.nowhere:x"}}},
    ) as app:
        layers = {layer.name: layer for layer in app.pipeline.middleware}
        gateway = layers["route"].gateway  # type: ignore[attr-defined]
        assert layers["cache"].asking.stands_for == gateway.stands_for  # type: ignore[attr-defined]
        assert layers["semantic_cache"].stands_for == gateway.stands_for  # type: ignore[attr-defined]
