"""`wxbridge backup` beside a running bridge, and `wxbridge restore` on another machine."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bridge_harness import BridgeHarness
from wxbridge.cli import sample_alerts

BODY = json.loads(sample_alerts.SAMPLES["generic"].body())


def alert(name: str) -> dict[str, Any]:
    return {"title": name, "status": "firing", "severity": "warning", "image": BODY["image"]}


async def outbox(harness: BridgeHarness) -> dict[int, str]:
    code, out, err = await harness.command("outbox", "list", "--json", "--limit", "1000")
    assert code == 0, err
    return {row["id"]: row["state"] for row in json.loads(out)}


def state_of(harness: BridgeHarness) -> Path:
    return harness.directory / "state"


async def test_what_waited_is_sent_after_a_restore_and_what_was_sent_is_not_sent_again(
    harness: BridgeHarness,
) -> None:
    bridge = await harness.bridge()
    await bridge.post(alert("sent before"), "/hooks/generic")
    await harness.until(lambda: len(harness.room()) == 2)
    await harness.simulator.gateway.kill()
    file = harness.directory / "state.backup"

    # While alerts come in: what was acknowledged before it began is in it.
    acknowledged: list[str] = []
    some, done = asyncio.Event(), asyncio.Event()

    async def post() -> None:
        while not done.is_set():
            name = f"waited {len(acknowledged)}"
            status, _ = await bridge.post(alert(name), "/hooks/generic")
            assert status == 202
            acknowledged.append(name)
            if len(acknowledged) == 3:
                some.set()

    posting = asyncio.create_task(post())
    await some.wait()
    promised = list(acknowledged)
    code, _, err = await harness.command("backup", str(file))
    done.set()
    await posting
    assert code == 0, err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in harness.directory.glob(".state.backup*")] == []

    code, _, err = await harness.command("restore", str(file))
    assert code in (1, 2), "a bridge runs on it"
    assert "another bridge" in err
    await bridge.kill()
    code, _, err = await harness.command("restore", str(file))
    assert code in (1, 2), "there is a state"
    assert str(state_of(harness).name) in err
    before = await outbox(harness)

    state_of(harness).rename(harness.directory / "gone")
    code, _, err = await harness.command("restore", str(file))
    assert code == 0, err
    after = await outbox(harness)
    assert {number: before[number] for number in after} == after
    await harness.simulator.gateway.restart()
    bridge = await harness.bridge()
    await harness.until(lambda: all(any(name in text for text in harness.room()) for name in promised))
    assert sum("sent before" in text for text in harness.room()) == 1
    await harness.until(lambda: sum(text.startswith("[") for text in harness.room()) > len(promised))


async def test_an_older_backup_is_replaced_and_nothing_else_is(harness: BridgeHarness) -> None:
    harness.write()
    await harness.command("status")
    file = harness.directory / "b"
    for _ in range(2):
        code, _, err = await harness.command("backup", str(file))
        assert code == 0, err
    precious = harness.directory / "jobs.yaml"
    text = precious.read_text(encoding="utf-8")
    code, _, err = await harness.command("backup", str(precious))
    assert code == 1
    assert "jobs.yaml" in err
    assert precious.read_text(encoding="utf-8") == text
    for nowhere in (harness.directory / "no" / "folder" / "b", harness.directory):
        code, _, err = await harness.command("backup", str(nowhere))
        assert code == 1
        assert str(nowhere) in err
        assert "Traceback" not in err


PICTURE = b"begin of it" + bytes(range(256)) * 400
"""Several pages of a database."""


def keep_picture(harness: BridgeHarness) -> None:
    """Have a picture that is there however soon those of alerts are sent."""
    folder = state_of(harness) / "pictures"
    folder.mkdir(exist_ok=True)
    (folder / "kept.png").write_bytes(PICTURE)


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def cut_off_the_end(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_picture(file: Path) -> None:
    data = bytearray(file.read_bytes())
    begin = data.index(b"begin of it") + 400
    data[begin : begin + 64] = bytes(each ^ 0xFF for each in data[begin : begin + 64])
    file.write_bytes(data)


def flip_a_text(file: Path) -> None:
    data = file.read_bytes()
    assert b"disk full on db-1" in data
    file.write_bytes(data.replace(b"disk full on db-1", b"disk fine on db-1"))


def make_newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")


def replace(file: Path) -> None:
    file.write_text("no backup", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage, "damaged"),
        (cut_off_the_end, "damaged: its end is missing"),
        (flip_a_picture, "damaged: what it holds"),
        (flip_a_text, "damaged: what it holds"),
        (make_newer, "newer"),
        (replace, "no backup"),
        (Path.unlink, "cannot be read"),
    ],
)
async def test_what_is_no_whole_backup_is_refused_and_leaves_nothing_behind(
    harness: BridgeHarness,
    spoil: Callable[[Path], None],
    words: str,
) -> None:
    bridge = await harness.bridge()
    await bridge.post(alert("disk full on db-1"), "/hooks/generic")
    keep_picture(harness)
    file = harness.directory / "b"
    assert (await harness.command("backup", str(file)))[0] == 0
    assert await bridge.stop() == 0
    state_of(harness).rename(harness.directory / "gone")
    spoil(file)
    code, _, err = await harness.command("restore", str(file))
    assert code == 1
    assert words in err
    assert str(file) in err
    assert not list(state_of(harness).glob("**/*.db"))
    assert not list(state_of(harness).glob("**/*.png"))


async def test_a_plain_copy_of_the_database_is_taken_back_too(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await bridge.post({"title": "a"}, "/hooks/generic")
    await harness.until(harness.room)
    assert await bridge.stop() == 0
    before = await outbox(harness)
    copy = harness.directory / "copy.db"
    with (
        closing(sqlite3.connect(state_of(harness) / "wxbridge.db")) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    state_of(harness).rename(harness.directory / "gone")
    # Who has only looked has no state yet.
    assert (await harness.command("status"))[0] == 1
    code, _, err = await harness.command("restore", str(copy))
    assert code == 0, err
    assert await outbox(harness) == before
    assert stat.S_IMODE((state_of(harness) / "wxbridge.db").stat().st_mode) == 0o600


async def test_a_backup_without_a_checksum_as_earlier_versions_wrote_it_is_taken_back(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await bridge.post(alert("a"), "/hooks/generic")
    assert await bridge.stop() == 0
    keep_picture(harness)
    file = harness.directory / "b"
    assert (await harness.command("backup", str(file)))[0] == 0
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE backup_about DROP COLUMN sha256")
    state_of(harness).rename(harness.directory / "gone")
    code, _, err = await harness.command("restore", str(file))
    assert code == 0, err
    assert (state_of(harness) / "pictures" / "kept.png").read_bytes() == PICTURE
