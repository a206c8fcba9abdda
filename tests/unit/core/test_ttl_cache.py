from __future__ import annotations

import asyncio

import pytest

from wxbridge.core.ttl_cache import TTLCache


async def test_what_several_ask_for_is_made_once_and_again_when_it_is_old() -> None:
    now, made = [0.0], []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0)
        if len(made) == 2:
            raise ValueError("once")
        return len(made)

    cache = TTLCache[int](5.0, max_entries=2, clock=lambda: now[0])
    assert await asyncio.gather(*(cache.get_or_create("a", make) for _ in range(3))) == [1, 1, 1]
    now[0] = 5.0
    for _ in range(2):
        with pytest.raises(ValueError, match="once"):
            await cache.get_or_create("a", make)
    now[0] = 10.0
    assert await cache.get_or_create("a", make) == 3
    assert [await cache.get_or_create(key, make) for key in "bca"] == [4, 5, 6], "the oldest of three was forgotten"


async def test_a_failure_may_be_kept_for_less_long() -> None:
    now, made = [0.0], []

    async def make() -> int:
        made.append(1)
        if len(made) == 1:
            raise ValueError("once")
        return len(made)

    cache = TTLCache[int](5.0, clock=lambda: now[0], failure_ttl_seconds=0.5)
    for _ in range(2):
        with pytest.raises(ValueError, match="once"):
            await cache.get_or_create("a", make)
    now[0] = 0.5
    assert [await cache.get_or_create("a", make) for _ in range(2)] == [2, 2]
