"""Budgets around the cost layer, on files of their own."""

import pytest

from chainops import Pipeline
from chainops.calls import RunContext
from chainops.middleware.budgets import Budgets
from chainops.middleware.cost import Cost
from chainops.store.prices import add_price, entry_of
from chainops.testing import ScriptedModel, model_call

from ..cost.conftest import answer


class Clock:
    def __init__(self, now=1_795_262_400.0):  # 2026-11-21 12:00 UTC
        self.now = now

    def __call__(self):
        return self.now


class Desk:
    """A model that costs 1 USD for a million tokens in and 2 for a million out, behind budgets."""

    def __init__(self, budgets, cost, model):
        self.budgets, self.cost, self.model = budgets, cost, model
        self.handler = Pipeline([budgets, cost]).around_model(model)

    def call(self, user=None, tenant=None, chain="test", **fields):
        metadata = {
            k: v for k, v in {"user": user, "tenant": tenant, **fields.pop("metadata", {})}.items() if v is not None
        }
        run = RunContext(run_id="r", graph=chain, metadata=metadata)
        return model_call(**{"run": run, "params": {"max_tokens": 100}, "model": self.model, **fields})

    async def ask(self, *who, **fields):
        call = self.call(*who, **fields)
        await self.handler(call)
        return call.guard.marks.notes

    def accounts(self):
        self.budgets.file.flush()
        return {(a.scope, a.key, a.span): a for a in self.budgets.file.accounts()}

    def only(self):
        (account,) = self.accounts().values()
        return account


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def desk(tmp_path, clock):
    """``desk(*rules, script=[...], **options)``."""
    made = []
    db = tmp_path / "chainops.db"
    add_price(db, "own", entry_of("scripted", input="1", output="2"), currency="USD", source="test", author="a")

    def make(*rules, script=None, model=None, **options):
        model = model or ScriptedModel(script or [answer()], repeat=True)
        options = {"prices": db, "books": ["own"], "clock": clock, **options}
        budgets = Budgets(rules, options.pop("path", tmp_path / "budgets.db"), **options)
        made.append(budgets)
        cost = {k: options[k] for k in ("currency", "rates") if k in options}
        return Desk(budgets, Cost(db, books=["own"], **cost), model)

    yield make
    for budgets in made:
        budgets.close()
