"""The budgets are a middleware like any other."""

import pytest

from chainops.middleware.budgets import Budgets
from chainops.testing import MiddlewareConformance


class TestBudgets(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path):
        self.folder, self.made = tmp_path, []
        yield
        for each in self.made:
            each.close()

    def make(self):
        rule = {"per": ["user"], "period": "day", "hard": "1000000", "soft": "0.0001"}
        self.made.append(Budgets([rule], self.folder / "budgets.db", prices=None))
        return self.made[-1]
