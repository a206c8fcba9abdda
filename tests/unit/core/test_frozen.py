from __future__ import annotations

import dataclasses
from functools import cached_property

import pytest

from wxbridge.core.frozen import replace


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 0

    @cached_property
    def double(self) -> int:
        return 2 * self.x


def test_a_copy_has_the_changes_and_nothing_that_was_computed_of_the_old_fields() -> None:
    point = Point(1, 2)
    assert point.double == 2
    moved = replace(point, x=3)
    assert (moved, moved.double, point) == (dataclasses.replace(point, x=3), 6, Point(1, 2))
    assert hash(moved) == hash(Point(3, 2))


def test_nothing_is_copied_where_nothing_changes() -> None:
    point = Point(1, 2)
    assert replace(point, x=point.x) is point


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(AssertionError, match="no such field"):
        replace(Point(1), z=1)
