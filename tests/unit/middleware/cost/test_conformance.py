"""The cost layer is a middleware like any other."""

import pytest

from chainops.middleware.cost import Cost
from chainops.testing import MiddlewareConformance


class TestCost(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def _db(self, tmp_path):
        self.db = tmp_path / "chainops.db"

    def make(self):
        return Cost(self.db, books=["own"])
