"""Cost layers on price books of their own, without a graph."""

import pytest
from langchain_core.messages import AIMessage

from chainops.middleware.cost import Cost
from chainops.store.prices import add_price, entry_of


@pytest.fixture
def db(tmp_path):
    return tmp_path / "chainops.db"


@pytest.fixture
def price(db):
    """``price("gpt", input="1", output="2")``: a price in the book ``own``."""

    def add(model, *, currency="USD", book="own", **rates):
        return add_price(db, book, entry_of(model, **rates), currency=currency, source="test", author="a")

    return add


@pytest.fixture
def cost(db):
    return lambda **options: Cost(db, **{"books": ["own"], **options})


def answer(text="ok", *, tokens=(1000, 100), meta=None, **details):
    usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
    return AIMessage(text, usage_metadata={**usage, **details}, response_metadata=meta or {})
