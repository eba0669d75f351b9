"""``python -m chainops``."""

from chainops.cli import main

main()
