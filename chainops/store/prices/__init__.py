"""Price books among the artifacts: reading, seeding, adding prices."""

from chainops.store.prices.books import KIND, OWN, PriceBooks, Prices
from chainops.store.prices.change import add_price, entry_of, import_book, read_book
from chainops.store.prices.seed import SNAPSHOT, snapshot

__all__ = [
    "KIND",
    "OWN",
    "SNAPSHOT",
    "PriceBooks",
    "Prices",
    "add_price",
    "entry_of",
    "import_book",
    "read_book",
    "snapshot",
]
