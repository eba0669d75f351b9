"""``chainops cost plan``: what something will cost, exactly."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.trace_io import print_json, print_rich

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chainops.costing.plan import PlanResult

__all__ = ["plan"]


def plan(
    source: Annotated[str, typer.Argument(help="A plan in TOML, or an example by its name; nothing lists them.")] = "",
    db: Annotated[
        Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The price books, for prices by model.")
    ] = Path("chainops.db"),
    show: Annotated[bool, typer.Option("--show", help="Print the plan itself, to begin with.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 where a printed figure or a corpus is off.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What something will cost: calls, vectors, fine-tuning, hosting; tokens behind every line, nothing rounded."""
    from chainops.costing.plan import compute, read_plan, shipped_plans

    if not source:
        shipped = {name: read_plan(name).title for name in shipped_plans()}
        print_json(shipped) if as_json else typer.echo(
            "\n".join(f"{name:16} {title}" for name, title in shipped.items())
        )
        return
    made = read_plan(source)
    if show:
        typer.echo(shipped_plans().get(source) or Path(source).read_text(encoding="utf-8-sig"), nl=False)
        return
    result = compute(made, _prices(db, made.currency))
    print_json(_json(result)) if as_json else print_rich(_view(result))
    if check and result.warnings:
        raise typer.Exit(1)


def _prices(db: Path, currency: str) -> Callable[[str], tuple[Fraction, Fraction]]:
    """For one token read and one written, from the price books."""

    def resolve(model: str) -> tuple[Fraction, Fraction]:
        from chainops.cli.cost_prices_io import price_of
        from chainops.errors import SetupError

        price = price_of(db, model, None, None)
        if price is None or price.currency != currency or not price.rates.keys() & {"input", "output"}:
            said = "no price by token" if price is None else f"a price in {price.currency}, not by token in {currency}"
            raise SetupError(
                f"The price books have {said} for {model!r}",
                hint=f"chainops cost prices add {model} --input ... --currency {currency}; or write it into the plan.",
                code="cost.plan",
            )
        rates = [price.rates.get(key, 0) for key in ("input", "output")]
        one_in, one_out = (Fraction(rate["base"] if isinstance(rate, dict) else rate, 10**12) for rate in rates)
        return one_in, one_out

    return resolve


def _json(result: PlanResult) -> dict[str, Any]:
    """Figures as text: decimals to the last digit."""
    from chainops.costing.plan.number import exact

    def text(value: Fraction | None) -> str | None:
        return None if value is None else f"{exact(value):f}"

    memory, even = result.memory, result.break_even
    return {
        "title": result.title,
        "currency": result.currency,
        "lines": [
            {
                "name": line.name,
                "calls": text(line.calls),
                "tokens_in": text(line.tokens_in),
                "tokens_out": text(line.tokens_out),
                "unit": text(line.unit),
                "cost": text(line.cost),
                "printed": line.printed,
            }
            for line in result.lines
        ],
        "total": text(result.total),
        "printed": result.printed,
        "memory": memory
        and {
            "gb": text(memory.gb),
            "gib": round(float(memory.gib), 2),
            "has_gib": text(memory.has_gib),
            "gpus": memory.gpus,
            "needed": memory.needed,
            "fits": memory.fits,
        },
        "break_even": even and {"host": even.host, "calls": even.calls, "unit": text(even.unit)},
        "warnings": result.warnings,
    }


def _view(result: PlanResult) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from chainops.costing.plan.number import shown

    table = Table(box=None, title=Text(result.title), title_justify="left")
    table.add_column("")
    for name in ("calls", "tokens in", "tokens out", "one call", f"cost {result.currency}", "printed"):
        table.add_column(name, justify="right")
    for line in result.lines:
        calls = "" if line.calls is None else shown(line.calls)
        tokens = [f"{round(count):,}" if count else "" for count in (line.tokens_in, line.tokens_out)]
        unit = "" if line.unit is None else shown(line.unit)
        table.add_row(line.name, calls, *tokens, unit, shown(line.cost, 2), line.printed or "")
    totals = [
        f"{round(sum(column)):,}" if sum(column) else ""
        for column in zip(*((line.tokens_in, line.tokens_out) for line in result.lines), strict=True)
    ]
    table.add_row("total", "", *totals, "", shown(result.total, 2), result.printed or "", style="bold")
    more = []
    if (memory := result.memory) is not None:
        fits = "fits into" if memory.fits else "does not fit into"
        size = f"{float(memory.gb):.1f} GB = {float(memory.gib):.1f} GiB"
        more.append(
            f"memory: {size} {fits} {memory.gpus} GPUs with {shown(memory.has_gib)} GiB; {memory.needed} are needed"
        )
    if (even := result.break_even) is not None:
        more.append(f"break-even: {even.host!r} is cheaper from {even.calls:,} calls on, at {shown(even.unit)} each")
    return Group(table, *map(Text, more), *(Text(f"warning: {each}", style="yellow") for each in result.warnings))
