"""Where the files are that the wheel carries beside the code: migrations and recipes."""

from __future__ import annotations

from pathlib import Path

from chainops.errors import StoreError

__all__ = ["shipped"]

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(name: str) -> Path:
    """The folder ``name`` ("migrations", "recipes"): from the installed package, else from the source checkout.

    Raises:
        StoreError: it is in neither place (``store.shipped``).
    """
    places = (_PACKAGE / "_shipped" / name, _PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise StoreError(
        f"The folder {name!r} is neither in {places[0]} nor in {places[1]}",
        hint="Install chainops again: pip install --force-reinstall chainops",
        code="store.shipped",
    )
