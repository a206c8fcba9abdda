"""Who leads, of several bridges on one PostgreSQL: one at a time, whatever becomes of processes and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import pytest

from tests.fakes import postgresql
from tests.fakes.postgresql import shared_cluster
from tests.fakes.wire import Wire
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import Offline
from wxbridge.core.leadership import (
    Leadership,
    NotLeading,
    ensure_leading,
    list_bridges,
    note_changed,
    read_leader,
    send_only_while,
)
from wxbridge.core.schema import remember_fact
from wxbridge.core.shared_leadership import SharedLeadership

PATIENCE = 30.0
"""Seconds that a busy machine may take for what takes a moment."""
MODULE = "wxbridge.core.shared_leadership"


class Bridge:
    """What takes part in the choice."""

    def __init__(self, url: str, port: int, clock: SystemClock | None = None) -> None:
        self.database = Database.open(url)
        self.leadership = SharedLeadership(url, sender=self.database.sender, clock=clock)
        self.database.fence = self.leadership.fence
        self.heard: list[Collection[str]] = []
        self._port = port
        self._news = asyncio.Event()

    def start(self) -> None:
        self.leadership.start(url=f"http://127.0.0.1:{self._port}", on_role=self._news.set, on_changes=self._hear)

    def _hear(self, keys: Collection[str]) -> None:
        self.heard.append(tuple(keys))
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def leads(self, *, is_leading: bool = True) -> None:
        await self.until(lambda: self.leadership.is_leading is is_leading)

    async def claim(self) -> None:
        """Store what only who leads may."""
        await self.database.run(lambda c: remember_fact(c, "claimed", 1, 0.0), is_leaders=True)

    async def close(self) -> None:
        await asyncio.to_thread(self.leadership.close)
        await asyncio.to_thread(self.database.close)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Bridge]]:
    with postgresql.DATABASES.on_postgresql():
        url = postgresql.database_url(tmp_path)
        made: list[Bridge] = []

        def make_one(clock: SystemClock | None = None, address: str = url) -> Bridge:
            made.append(Bridge(address, 8001 + len(made), clock))
            return made[-1]

        yield make_one
        for each in made:
            await each.close()


def test_the_only_bridge_on_its_database_leads() -> None:
    alone = Leadership()
    assert (alone.is_leading, alone.may_send(), alone.role, alone.leader) == (True, True, "leader", None)
    ensure_leading()


async def test_one_leads_and_the_next_as_soon_as_it_is_gone(make: Callable[..., Bridge]) -> None:
    one, other = make(), make()
    one.start()
    await one.leads()
    other.start()
    await other.until(lambda: bool(other.heard))
    assert (other.leadership.role, other.leadership.may_send()) == ("standby", False)
    await one.claim()
    with pytest.raises(NotLeading):
        await other.claim()
    leader, names = await other.database.read(lambda c: (read_leader(c), list_bridges(c)))
    assert leader == one.leadership.leader
    assert leader.epoch == 1
    assert [name.rpartition(":")[2] for name in names] == ["8001", "8002"]

    await asyncio.to_thread(one.leadership.close)
    await other.leads()
    assert other.leadership.epoch == 2
    await other.claim()
    with pytest.raises(NotLeading):
        await one.claim()


async def test_whose_session_ends_leads_no_more_and_its_claims_are_refused(make: Callable[..., Bridge]) -> None:
    one = make()
    one.start()
    await one.leads()
    name = one.database._engine.connect().exec_driver_sql("SELECT current_database()").scalar()
    shared_cluster().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{name}' AND application_name LIKE 'wxbridge _%:8001'"
    )
    await one.leads(is_leading=False)
    assert not one.leadership.may_send()
    await one.leads()
    assert one.leadership.epoch == 2


async def test_who_was_counted_out_stores_nothing_though_it_believes_to_lead(make: Callable[..., Bridge]) -> None:
    one = make()
    one.start()
    await one.leads()
    await one.claim()
    # As another would that leads by now.
    about = {"epoch": 2, "name": "other", "url": ""}
    await one.database.run(lambda c: remember_fact(c, "leader", about, 0.0))
    assert one.leadership.is_leading
    with pytest.raises(NotLeading, match="another bridge leads by now"):
        await one.claim()


async def test_who_was_stopped_past_its_lease_sends_nothing_until_the_database_has_answered(
    make: Callable[..., Bridge], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(f"{MODULE}.BEAT_SECONDS", 1000.0)
    one = make(SystemClock(boot=lambda: now[0]))
    one.start()
    await one.leads()
    send_only_while(one.leadership.may_send)
    ensure_leading()
    now[0] += 7.9
    ensure_leading()
    # The process was stopped, or the machine slept: nothing has been asked meanwhile.
    now[0] += 0.2
    with pytest.raises(Offline, match="does not lead"):
        ensure_leading()
    assert one.leadership.is_leading
    one.leadership._closing.set()
    await one.database.run(lambda c: remember_fact(c, "wake", 1, 0.0))
    shared_cluster().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'wxbridge _%:8001'"
    )


async def test_who_is_cut_off_stops_before_another_begins(
    make: Callable[..., Bridge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("LEASE_SECONDS", 1.5), ("SESSION_TIMEOUT_SECONDS", 4), ("BEAT_TIMEOUT_SECONDS", 20.0),
                          ("BEAT_SECONDS", 0.2)):  # fmt: skip
        monkeypatch.setattr(f"{MODULE}.{name}", seconds)
    async with Wire(shared_cluster().port) as wire:
        name = postgresql.database_url(tmp_path).rpartition("/")[2]
        one = await asyncio.to_thread(make, None, shared_cluster().url(name, port=wire.port))
        other = await asyncio.to_thread(make)
        one.start()
        await one.leads()
        other.start()
        await other.until(lambda: bool(other.heard))
        wire.cut()
        await other.leads()
        # It has not even heard of it, and sends nothing.
        assert one.leadership.is_leading
        assert not one.leadership.may_send()
        wire.mend()
        await one.leads(is_leading=False)


async def test_each_hears_what_the_others_write_and_not_itself(make: Callable[..., Bridge]) -> None:
    one, other = make(), make()
    one.start()
    other.start()
    await one.until(lambda: ("*",) in one.heard)
    await other.until(lambda: ("*",) in other.heard)
    one.heard.clear()
    await one.database.run(lambda c: note_changed(c, ("a", "b")))
    await other.until(lambda: ("a", "b") in other.heard)
    assert ("a", "b") not in one.heard
