"""A database that refuses: nothing is lost, nothing is said to be sent, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import sqlite3

import pytest

from tests.integration.delivery.delivery_harness import Room, picture
from tests.support import wait_until
from wxbridge.core import database
from wxbridge.core.errors import Permanent, StorageError, Transient
from wxbridge.core.model import MessageState

pytestmark = pytest.mark.skipif("WXBRIDGE_DATABASE" in os.environ, reason="it is SQLite that is locked, or full")


def pragma(w, text):
    def ask(connection):
        result = connection.exec_driver_sql(f"PRAGMA {text}")
        return result.scalar() if result.returns_rows else None

    return w.database.read(ask)


class Trouble:
    """A database that refuses to be written to, in one of the ways that there are."""

    def __init__(self, w, way) -> None:
        self.w, self.way = w, way

    async def begin(self) -> None:
        if self.way == "locked":
            await pragma(self.w, "busy_timeout=10")
            self.other = sqlite3.connect(self.w.directory / "wxbridge.db", isolation_level=None)
            self.other.execute("BEGIN IMMEDIATE")
        elif self.way == "read-only":
            await pragma(self.w, "query_only=ON")
        else:
            await pragma(self.w, f"max_page_count={await pragma(self.w, 'page_count')}")

    async def end(self) -> None:
        if self.way == "locked":
            self.other.execute("ROLLBACK")
            self.other.close()
        elif self.way == "read-only":
            await pragma(self.w, "query_only=OFF")
        else:
            await pragma(self.w, "max_page_count=1000000000")


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.01)


@pytest.fixture(params=["locked", "read-only", "full"])
def trouble(request, world):
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"), boss=Room())
    return Trouble(w, request.param)


async def fill(w):
    """Until the database takes no more."""
    for _ in range(100):
        try:
            await w.put("boss", "x" * 100_000)
        except StorageError as error:
            return error
    raise AssertionError("it takes whatever it is given")


async def test_what_cannot_be_stored_is_refused_and_taken_again_later(trouble) -> None:
    w = trouble.w
    await trouble.begin()
    assert "the database did not take it: " in str(await fill(w))
    before = len(await w.all())
    with pytest.raises(StorageError):
        await w.put("ops", "y" * 100_000)
    assert len(await w.all()) == before
    await trouble.end()
    await w.put("ops", "at last")
    await w.drain()
    assert w.channel.to("ops") == ["at last"]


@pytest.mark.parametrize("way", ["locked", "read-only"])
async def test_an_outcome_is_stored_once_the_database_takes_it_and_the_target_waits_meanwhile(world, way) -> None:
    w = world(ops=Room(), boss=Room())
    trouble = Trouble(w, way)
    (first,) = await w.put("ops", "first")
    await w.put("ops", "second")
    w.channel.gate = asyncio.Event()
    await w.begin()
    await trouble.begin()
    w.channel.gate.set()
    for _ in range(20):
        await asyncio.sleep(0.002)
    assert (await w.one(first)).state is MessageState.SENDING
    with pytest.raises(StorageError):
        await w.delivery.send_loops[0].round()
    assert w.channel.texts == ["first"]
    assert w.metrics.registry.get_sample_value("wxbridge_storage_errors_total") >= 1
    await trouble.end()
    await w.settle()
    assert (await w.one(first)).state is MessageState.SENT
    await w.drain()
    assert w.channel.texts == ["first", "second"]


@pytest.mark.parametrize(
    ("error", "state"), [(Permanent("no"), MessageState.FAILED_OVER), (Transient("busy"), MessageState.QUEUED)]
)
async def test_every_outcome_waits_for_the_database(world, error, state) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"))
    trouble = Trouble(w, "read-only")
    (message,) = await w.put("ops", "hello")
    w.channel.faults, w.channel.gate = [error], asyncio.Event()
    await w.begin()
    await trouble.begin()
    w.channel.gate.set()
    for _ in range(20):
        await asyncio.sleep(0.002)
    assert (await w.one(message)).state is MessageState.SENDING
    await trouble.end()
    await w.settle()
    assert (await w.one(message)).state is state


async def test_a_sent_message_whose_outcome_was_never_stored_is_repeated_marked_at_the_next_start(world) -> None:
    w = world()
    await w.put("ops", "hello")
    w.channel.gate = asyncio.Event()
    await w.begin()
    await Trouble(w, "read-only").begin()
    w.channel.gate.set()
    for _ in range(10):
        await asyncio.sleep(0.002)
    await w.crash()
    await w.drain()
    assert w.channel.texts == ["hello", "(possible repeat) hello"]


async def test_a_drawn_picture_waits_for_the_database(world) -> None:
    w = world()
    trouble = Trouble(w, "read-only")
    gate = asyncio.Event()

    async def slowly(_spec):
        await gate.wait()
        return b"\x89PNG"

    w.paint = slowly
    await w.put("ops", "text", picture("graph"))
    await w.delivery.render_loop.round()
    await trouble.begin()
    gate.set()
    for _ in range(10):
        await asyncio.sleep(0.002)
    await trouble.end()
    await w.drain()
    assert w.channel.texts == ["text", "[graph.png]"]
    assert len(w.drawings) == 1


async def test_looking_after_survives_whatever_goes_wrong(world, monkeypatch) -> None:
    w = world(ops=Room(expires_after="60s"))
    trouble = Trouble(w, "read-only")
    await w.put("ops", "hello", expires_after=60)
    w.clock.advance(100)
    await trouble.begin()
    await w.delivery.look_after(tidy=True)
    assert await w.states() == ["queued"]
    await trouble.end()

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("wxbridge.delivery.digests.merge_storms", broken)
    await w.delivery.look_after(tidy=True)
    assert await w.states() == ["expired"]
    assert len(w.told) == 1


async def test_the_loops_go_on_by_themselves_after_the_database_refused(world, monkeypatch) -> None:
    w = world()
    trouble = Trouble(w, "read-only")
    await w.put("ops", "hello")
    w.channel.gate = asyncio.Event()
    running = asyncio.create_task(w.delivery.run())
    await wait_until(lambda: w.channel.tried)
    await trouble.begin()
    w.channel.gate.set()
    for _ in range(10):
        await asyncio.sleep(0.002)
    await trouble.end()
    await wait_until(lambda: not w.delivery.send_loops[0].under_way)
    assert await w.states() == ["sent"]
    running.cancel()
    await asyncio.wait([running])
