"""``chainops cost``: prices, and what was spent."""

from __future__ import annotations

import typer

from chainops.cli import cost_prices
from chainops.cli.cost_budgets import budgets
from chainops.cli.cost_plan import plan
from chainops.cli.cost_spent import by, daily, savings, top

app = typer.Typer(no_args_is_help=True, help="What model calls cost.")
app.add_typer(cost_prices.app, name="prices")
for _command in (daily, by, top, savings, plan, budgets):
    app.command()(_command)
