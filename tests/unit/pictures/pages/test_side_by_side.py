"""How many pages are shot side by side."""

from __future__ import annotations

import pytest

from wxbridge.core.memory import read_free_bytes
from wxbridge.pictures.pages.browser import MAX_SHOTS, count_shots

MIB = 2**20


@pytest.mark.parametrize(
    ("free", "pages"), [(0, 2), (200 * MIB, 1), (1000 * MIB, 1), (1500 * MIB, 2), (64 * 1024 * MIB, MAX_SHOTS)]
)
def test_as_many_pages_as_memory_allows(free: int, pages: int) -> None:
    assert count_shots(free) == pages


def test_this_machine_says_how_much_memory_is_free() -> None:
    assert read_free_bytes() > 0
