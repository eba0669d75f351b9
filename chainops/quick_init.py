"""A faster ``__init__`` for frozen dataclasses with slots."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

__all__ = ["quick_init"]

T = TypeVar("T")


def quick_init(cls: type[T]) -> type[T]:
    """Give a frozen dataclass an ``__init__`` that fills its slots directly.

    The one that dataclasses generate looks ``object.__setattr__`` up for every field: 3.4 us for a NodeCall against
    1.4 us, once per node of every run.
    """
    scope: dict[str, Any] = {"MISSING": dataclasses.MISSING}
    parameters, body = [], []
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        scope[f"set_{f.name}"] = getattr(cls, f.name).__set__
        value = f.name
        if f.default_factory is not dataclasses.MISSING:
            scope[f"make_{f.name}"] = f.default_factory
            value = f"make_{f.name}() if {f.name} is MISSING else {f.name}"
            parameters.append(f"{f.name}=MISSING")
        elif f.default is not dataclasses.MISSING:
            scope[f"default_{f.name}"] = f.default
            parameters.append(f"{f.name}=default_{f.name}")
        else:
            parameters.append(f.name)
        body.append(f"    set_{f.name}(self, {value})")
    exec("\n".join([f"def __init__(self, *, {', '.join(parameters)}):", *body]), scope)  # noqa: S102 - as dataclasses does
    cls.__init__ = scope["__init__"]  # type: ignore[method-assign]
    return cls
