"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DEFAULT_DB", "Db", "Json", "ModelsDb", "PromptsDb", "Who"]

DEFAULT_DB = Path("chainops.db")
Db = Annotated[Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The trace file.")]
PromptsDb = Annotated[Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The file with the prompts.")]
ModelsDb = Annotated[
    Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The file with the registered models.")
]
Who = Annotated[str | None, typer.Option("--author", help="Who does it; else the user of this machine.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
