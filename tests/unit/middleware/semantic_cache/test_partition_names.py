"""Which questions may answer each other when the model is only a name."""

from __future__ import annotations

from typing import Any

import chainops
from chainops.middleware.semantic_cache.partition import partition_of
from chainops.testing import ScriptedModel, model_call


class Fixed(ScriptedModel):
    """Of some version."""

    version: str = "1"

    def chainops_identity(self) -> dict[str, Any]:
        return {"version": self.version}


def test_answers_stay_with_the_models_that_stood_behind_the_name() -> None:
    call = model_call("hi", model=chainops.model("desk"), name="desk")
    first, second = Fixed(["x"]), Fixed(["x"], version="2")
    keys = [partition_of(call, "e", None, {}, models) for models in ((first,), (second,), (first, second), ())]
    assert len(set(keys)) == 4
    assert partition_of(call, "e", None, {}, (Fixed(["y"]),)) == keys[0]
