"""The commands about answers by meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.options import Json
from chainops.cli.trace_io import print_json
from chainops.errors import SetupError

if TYPE_CHECKING:
    from chainops.middleware.semantic_cache.calibrate import Observation
    from chainops.store.semantic import SemanticFile

__all__ = ["DEFAULT_DIR", "Dir", "calibrate", "semantic_file", "semantic_lines"]

Dir = Annotated[Path, typer.Option("--dir", envvar="CHAINOPS_CACHE__DIRECTORY", help="The directory of the cache.")]
DEFAULT_DIR = Path("chainops-cache")
STEP = 256


@contextmanager
def semantic_file(directory: Path) -> Iterator[SemanticFile | None]:
    """The file of the semantic cache in ``directory``; None where there is none."""
    from chainops.store.semantic import SemanticFile

    if not (directory / "semantic.db").is_file():
        yield None
        return
    with closing(SemanticFile(directory)) as found:
        yield found


def semantic_lines(figures: dict[str, Any]) -> list[str]:
    """What the semantic cache did, for people."""
    ratio = "-" if figures["hit_ratio"] is None else f"{figures['hit_ratio']:.1%}"
    lines = [
        f"by meaning: {figures['entries']} answers, {figures['hits']} hits ({ratio}), {figures['refused']} refused",
        f"  saved {figures['saved_tokens']:,} tokens, {figures['saved_ms'] / 1e3:,.1f} s, "
        f"{figures['saved_micro'] / 1e6:,.2f} of the currency",
    ]
    if found := figures["calibration"]:
        lines.append(
            f"  wrong hits: at most {found['upper']:.2%} with confidence {found['confidence']:.0%} "
            f"({found['wrong']} of {found['hits']}, from {found['source']}); threshold {found['threshold']:.3f}"
        )
    if figures["shadow_pairs"]:
        lines.append(f"  shadow: {figures['shadow_same']} of {figures['shadow_pairs']} answers were the same")
    return lines


def calibrate(
    file: Annotated[
        Path | None, typer.Argument(help="Labelled questions (JSONL or CSV with text and label); else shadow data.")
    ] = None,
    bound: Annotated[
        float, typer.Option("--bound", min=0.0001, max=0.5, help="Share of hits that may be wrong.")
    ] = 0.01,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.9999, help="How sure that must be.")
    ] = 0.95,
    embedder: Annotated[Path | None, typer.Option("--embedder", help="The folder of the embedder.")] = None,
    directory: Dir = DEFAULT_DIR,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be found.")] = False,
    as_json: Json = False,
) -> None:
    """Find the threshold of the semantic cache for a bound on wrong answers, and keep it."""
    import time
    from dataclasses import asdict

    from chainops.engines.embeddings import embedder as shared
    from chainops.middleware.semantic_cache.calibrate import find_threshold
    from chainops.store.semantic import SemanticFile
    from chainops.store.semantic.file import Calibration

    model = shared(embedder)
    seen = _labelled(file, model) if file is not None else _shadow(directory, model.identity)
    found = find_threshold(seen, bound, confidence)
    source = file.name if file is not None else "shadow data"
    kept = Calibration(
        embedder=model.identity, bound=bound, confidence=confidence, source=source, created=time.time(), **asdict(found)
    )
    if not dry_run:
        with closing(SemanticFile(directory)) as store:
            store.calibrate(kept)
    row = {**asdict(kept), "hit_rate": found.hits / found.asked if found.asked else 0.0}
    if as_json:
        print_json(row)
        return
    typer.echo(f"threshold {found.threshold:.3f}: {row['hit_rate']:.1%} of {found.asked} questions would be answered,")
    sure = f"with confidence {confidence:.0%} at most {found.upper:.2%} (asked: {bound:.2%})"
    typer.echo(f"{found.wrong} of {found.hits} wrongly; {sure}")
    typer.echo("nothing was kept" if dry_run else f"kept in {directory}", err=True)


def _labelled(file: Path, model: Any) -> list[Observation]:
    import sys

    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from chainops.middleware.semantic_cache.labelled import observe, read_labelled

    questions = read_labelled(file)
    if len(questions) < 4:
        raise SetupError(
            f"{file} has {len(questions)} questions", hint="Give some hundred at least.", code="setup.calibration"
        )
    steps = range(0, len(questions), STEP)
    shown = track(steps, "embedding", console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    vectors = [model.embed_sync([text for text, _ in questions[i : i + STEP]]) for i in shown]
    return observe(questions, np.concatenate(vectors))


def _shadow(directory: Path, identity: str) -> list[Observation]:
    from chainops.middleware.semantic_cache.calibrate import Observation

    with semantic_file(directory) as store:
        pairs = store.pairs(identity) if store is not None else []
    if not pairs:
        raise SetupError(
            f"There is no shadow data of this embedder in {directory}",
            hint='Run with semantic_cache = "shadow" for a while, or give labelled questions.',
            code="setup.calibration",
        )
    return [Observation(pair.score, pair.same) for pair in pairs]
