"""``chainops route``: where a question would go and why, and where the tiers should begin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.options import Json
from chainops.cli.trace_io import print_json, print_rich

if TYPE_CHECKING:
    from chainops.middleware.route.calibrate import Judged

app = typer.Typer(no_args_is_help=True, help="Models behind names: list, explain, calibrate.")

Config = Annotated[Path | None, typer.Option("--settings", "-s", help="The settings file; else chainops.toml here.")]


@app.command("list")
def list_(settings: Config = None, as_json: Json = False) -> None:
    """The models and aliases of the settings."""
    from rich.table import Table

    from chainops.settings import load_settings

    route = load_settings(settings).route
    models = {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in route.models.items()}
    aliases = {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in route.aliases.items()}
    if as_json:
        print_json({"models": models, "aliases": aliases})
        return
    if not models:
        typer.echo("The settings name no models: [route.models.<name>].", err=True)
        return
    table = Table("name", "what it is")
    for name, found in {**models, **aliases}.items():
        table.add_row(name, ", ".join(f"{key} = {value}" for key, value in found.items()))
    print_rich(table)


@app.command()
def explain(
    text: Annotated[str, typer.Argument(help="A question.")],
    alias: Annotated[str, typer.Option("--alias", "-a", help="An alias with tiers.")] = "",
    settings: Config = None,
    as_json: Json = False,
) -> None:
    """How difficult a question looks and why; with --alias, whom it would go to."""
    import asyncio

    from chainops.middleware.route.decide import Decider
    from chainops.middleware.route.difficulty import WEIGHTS, Meaning, difficulty
    from chainops.settings import load_settings

    hard = difficulty(text)
    report: dict[str, Any] = {"difficulty": round(hard.score, 3)}
    if alias:
        from chainops.app.embedder import embedder_of
        from chainops.app.gateway import gateway_of

        loaded = load_settings(settings)
        embedder = embedder_of(loaded) if loaded.route.embedder else None
        decider = Decider(gateway_of(loaded), Meaning(embedder) if embedder is not None else None)
        decision = asyncio.run(decider.decide(alias, _call(text)))
        report |= decision.notes()
        report["plan"] = [deployment.name for deployment in decision.plan]
        report["thresholds"] = list(decision.alias.steps) if decision.alias.tiers else []
    report["features"] = {name: round(value, 3) for name, value in hard.features.items()}
    if as_json:
        print_json(report)
        return
    typer.echo(f"difficulty {report['difficulty']:.3f}  (0: any model, 1: the best)")
    for name, value in hard.features.items():
        if value:
            typer.echo(f"  {name:8} {value:.2f} x {WEIGHTS[name]:+.1f}")
    if alias:
        where = (
            f" (tiers begin at {', '.join(f'{t:.3g}' for t in report['thresholds'])})" if report["thresholds"] else ""
        )
        typer.echo(f"{alias}: {report.get('tier') or report['plan'][0]}, by {report['reason']}{where}")
        typer.echo(f"asked in this order: {', '.join(report['plan'])}")


@app.command()
def calibrate(
    alias: Annotated[str, typer.Argument(help="An alias with two tiers.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help='JSON Lines with "text" and "good": did the small model do well?'),
    ] = None,
    score: Annotated[
        str, typer.Option("--score", help="Without --labels: the score in the trace that judges.")
    ] = "quality",
    least: Annotated[float, typer.Option("--least", help="From this value a score is good.")] = 0.5,
    quality: Annotated[
        float, typer.Option("--quality", min=0.01, max=0.9999, help="Share of answers that must be good.")
    ] = 0.95,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.9999, help="How sure that must be.")
    ] = 0.95,
    out: Annotated[Path | None, typer.Option("--out", help="Where to keep it; else [route].thresholds.")] = None,
    db: Annotated[Path | None, typer.Option("--db", help="The trace file; else [trace].path.")] = None,
    settings: Config = None,
    as_json: Json = False,
) -> None:
    """Find the difficulty up to which the small model is good enough, on calls of your own."""
    from dataclasses import asdict

    from chainops.errors import SetupError
    from chainops.middleware.route.calibrate import calibrate as find
    from chainops.middleware.route.calibrate import write_thresholds
    from chainops.settings import load_settings

    loaded = load_settings(settings)
    wanted = loaded.route.aliases.get(alias)
    if wanted is None or len(wanted.tiers) != 2:
        raise SetupError(
            f"{alias!r} is no alias with two tiers", hint="chainops route list shows the aliases.", code="setup.route"
        )
    judged = _labelled(labels) if labels else _traced(db or loaded.trace.path, alias, wanted.tiers[0], score, least)
    found = find(judged, quality=quality, confidence=confidence)
    target = out or loaded.route.thresholds
    if target is not None:
        write_thresholds(target, alias, found)
    if as_json:
        print_json({"alias": alias, **asdict(found), "written": str(target) if target else None})
        return
    typer.echo(f"{alias}: {wanted.tiers[0]} below difficulty {found.threshold:.3f}, {wanted.tiers[1]} from there on")
    typer.echo(
        f"{found.share:.1%} of {found.judged} questions go to {wanted.tiers[0]}; {found.good:.1%} of its answers are"
        f" good, with confidence {confidence:.0%} at least {found.lower:.1%} (asked: {quality:.1%})"
    )
    typer.echo(f"with {wanted.tiers[0]} for everything: {found.small_everywhere:.1%} good")
    typer.echo(f"written to {target}" if target else "not kept: give --out, or set [route].thresholds", err=True)


def _call(text: str) -> Any:
    from langchain_core.messages import HumanMessage

    from chainops.calls import ModelCall, RunContext

    async def nobody(call: Any) -> Any:
        raise AssertionError("a question that is explained is not asked")

    run = RunContext(run_id="explain")
    return ModelCall(run=run, kind="model", name="explain", engine=nobody, messages=(HumanMessage(text),))


def _labelled(path: Path) -> list[Judged]:
    import json

    from chainops.errors import SetupError
    from chainops.middleware.route.calibrate import Judged
    from chainops.middleware.route.difficulty import difficulty

    found: list[Judged] = []
    try:
        for line in path.read_text("utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                found.append(Judged(difficulty(str(row["text"])).score, _is_true(row["good"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{path} cannot be read, in or after line {len(found) + 1}: {error!r}",
            hint='One JSON object per line: {"text": "...", "good": true}.',
            code="setup.route",
        ) from error
    return found


def _is_true(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f'"good" is {value!r}, not true or false')


def _traced(db: Path, alias: str, tier: str, score: str, least: float) -> list[Judged]:
    from chainops.errors import SetupError
    from chainops.middleware.route.calibrate import Judged
    from chainops.store.routed import routed_calls

    found = [Judged(call.difficulty, call.value >= least) for call in routed_calls(db, alias, tier, score)]
    if not found:
        raise SetupError(
            f"{db} has no call of {alias!r} that {tier!r} answered with a score {score!r}",
            hint="Record scores with call.recorder.score or trace.score, or give --labels FILE.",
            code="setup.route",
        )
    return found
