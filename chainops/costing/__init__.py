"""What things cost: prices, money as whole micro-units, and plans. Pure arithmetic; nothing here reads or writes."""

from chainops.costing.book import Price, PriceBook, check_book
from chainops.costing.money import UNIT, amount, micro_of
from chainops.costing.rates import Unpriced, Usage, cost_micro

__all__ = ["UNIT", "Price", "PriceBook", "Unpriced", "Usage", "amount", "check_book", "cost_micro", "micro_of"]
