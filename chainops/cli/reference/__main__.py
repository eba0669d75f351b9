"""``python -m chainops.cli.reference``: write the pages; ``--check``: exit code 1 where one is stale."""

from __future__ import annotations

import sys

from chainops.cli.reference import FOLDER, stale, write


def main() -> int:
    """Write or check, and say which pages."""
    checks = "--check" in sys.argv[1:]
    changed = stale() if checks else write()
    for name in changed:
        sys.stdout.write(f"{FOLDER / name}{' is stale: make reference' if checks else ''}\n")
    return 1 if checks and changed else 0


if __name__ == "__main__":
    sys.exit(main())
