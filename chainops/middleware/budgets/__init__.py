"""How much may be spent: :class:`Budgets`."""

from chainops.middleware.budgets.middleware import Budgets
from chainops.middleware.budgets.rules import Budget

__all__ = ["Budget", "Budgets"]
