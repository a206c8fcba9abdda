"""Frozen dataclasses with some fields changed, without calling `__init__`: several are made of every alert."""

from __future__ import annotations

from operator import is_
from typing import Any, TypeVar

T = TypeVar("T")


def replace(noun: T, /, **changes: Any) -> T:
    """Make a copy of a frozen dataclass with some fields changed, as `dataclasses.replace` does at five times the cost.

    It is the noun itself where every field is the same object already. For nouns without slots and `__post_init__`.
    What a `cached_property` of theirs has computed is not copied.
    """
    given = noun.__dict__
    if all(map(is_, map(given.get, changes), changes.values())) and changes.keys() <= given.keys():
        return noun
    fields = noun.__dataclass_fields__  # type: ignore[attr-defined]
    assert changes.keys() <= fields.keys(), f"no such field: {changes.keys() - fields.keys()}"  # noqa: S101
    made: T = object.__new__(type(noun))
    values = given if len(given) == len(fields) else {name: given[name] for name in fields}
    made.__dict__.update(values, **changes)
    return made
