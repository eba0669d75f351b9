"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DEFAULT_DB", "Db", "Json"]

DEFAULT_DB = Path("chainops.db")
Db = Annotated[Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The trace file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
