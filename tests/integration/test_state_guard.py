"""The state directory is deleted, in part or whole, while a bridge runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from wxbridge import app
from wxbridge.config.schema import Config
from wxbridge.core.errors import AlreadyRunning
from wxbridge.core.state_lock import hold_state_dir, is_held
from wxbridge.delivery import state_guard

CONFIG = """\
server: {listen: "127.0.0.1:0"}
targets: {a: {channel: console, pace: {chat: 1/h}}}
routes: [{to: [a]}]
"""
SECONDS = 20


@pytest.fixture(autouse=True)
def _umask() -> Any:
    before = os.umask(0o022)
    yield
    os.umask(before)


@asynccontextmanager
async def up(config: Config) -> AsyncIterator[tuple[app.App, Callable[[str], Awaitable[int]]]]:
    async with asyncio.timeout(SECONDS), app.running(config) as bridge, aiohttp.ClientSession() as session:

        async def post(title: str) -> int:
            async with session.post(
                f"{bridge.url}/hooks/grafana", json={"title": title, "state": "alerting"}
            ) as answer:
                return answer.status

        yield bridge, post


async def titles(config: Config) -> set[str]:
    async with up(config) as (bridge, _):
        return {getattr(row.body, "text", "").splitlines()[0] for row in await bridge.outbox.list_messages()}


@pytest.mark.parametrize("what", ["the directory", "the database", "all of its files"])
async def test_what_is_deleted_is_saved_back_and_nothing_is_lost(read: Callable[..., Config], what: str) -> None:
    config = read(CONFIG)
    state = config.state_dir
    with capture_logs() as logs:
        async with up(config) as (_, post):
            assert await post("first") == 202
            if what == "the directory":
                shutil.rmtree(state)
            for path in list(state.glob("wxbridge.db*" if what == "all of its files" else "wxbridge.db")):
                path.unlink()
            assert await post("refused") == 503, "nothing is accepted that would be lost"
            while await post("later") != 202:  # noqa: ASYNC110 - asked from outside
                await asyncio.sleep(0.1)
            with pytest.raises(AlreadyRunning), hold_state_dir(state):
                pass
    assert {"🔥 first", "🔥 later"} <= await titles(config)
    loud = [entry["event"] for entry in logs if entry["log_level"] == "critical"]
    assert [line for line in loud if "was deleted or replaced" in line] == loud[:1]


async def test_a_file_that_is_put_in_the_database_s_place_is_left_alone(read: Callable[..., Config]) -> None:
    config = read(CONFIG)
    path = config.state_dir / "wxbridge.db"
    async with up(config) as (bridge, post):
        path.unlink()
        path.write_bytes(b"somebody else's")
        await asyncio.sleep(2.5 * state_guard.STATE_CHECK_SECONDS)
        assert await post("a") == 503
        async with aiohttp.ClientSession() as session, session.get(f"{bridge.url}/readyz") as answer:
            assert answer.status == 503
        assert path.read_bytes() == b"somebody else's"


async def test_a_deleted_lock_lets_no_second_bridge_run_beside_the_first(read: Callable[..., Config]) -> None:
    config = read(CONFIG)
    lock = config.state_dir / "bridge.lock"
    async with up(config) as (_, post):
        lock.unlink()
        assert is_held(config.state_dir)
        with pytest.raises(AlreadyRunning), hold_state_dir(config.state_dir):
            pass
        while not lock.exists() or lock.read_text() != str(os.getpid()):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
        assert await post("a") == 202
    assert not is_held(config.state_dir)


async def test_the_state_is_for_us_alone_whatever_the_umask_and_whatever_it_was(read: Callable[..., Config]) -> None:
    config = read(CONFIG)
    config.state_dir.mkdir(mode=0o755)
    os.umask(0)
    async with up(config) as (bridge, post):
        assert await post("a") == 202
        bridge.picture_store.directory.mkdir(exist_ok=True)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (config.state_dir, *below(config.state_dir))}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    assert {"wxbridge.db", "wxbridge.db-wal", "bridge.lock", "pictures"} <= modes.keys()


def below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))
