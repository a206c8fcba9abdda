"""A database that an earlier commit wrote opens in this one: what waits, what was sent and silences are kept."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import REPOSITORY
from wxbridge import parts
from wxbridge.cli import outbox, silences
from wxbridge.config.schema import Config
from wxbridge.core.schema import SCHEMA_VERSION
from wxbridge.delivery.outbox import Outbox

STORED = sorted((REPOSITORY / "tests" / "payloads" / "databases").glob("*.sql"))
"""Dumps by the version of their schema; never changed, a new version brings one more."""


@pytest.mark.parametrize("dump", STORED, ids=lambda path: path.stem)
def test_a_database_of_an_earlier_commit_opens_with_all_that_is_in_it(
    dump: Path, read: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read("targets: {ops: {channel: console}}\nroutes: [{to: ops}]\n")
    monkeypatch.setenv("WXBRIDGE_CONFIG", str(config.path))
    config.state_dir.mkdir()
    with closing(sqlite3.connect(config.state_dir / "wxbridge.db")) as database:
        database.executescript(dump.read_text(encoding="utf-8"))
    rows = json.loads(CliRunner().invoke(outbox.app, ["list", "--json"]).stdout)
    assert [(row["id"], row["state"], row["body"]) for row in rows] == [
        (2, "queued", "waits still: 等待"), (1, "sent", "sent long ago"),
    ]  # fmt: skip
    (silence,) = json.loads(CliRunner().invoke(silences.app, ["list", "--json"]).stdout)
    assert (silence["matchers"], silence["by"]) == (['alertname="DiskFull"'], "张三")

    async def work() -> list[str]:
        database = parts.open_database(config)
        try:
            assert (
                await database.read(lambda c: c.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
                == SCHEMA_VERSION
            )
            return [message.body.text for message in await Outbox(database).list_messages(limit=9)]  # type: ignore[union-attr]
        finally:
            database.close()

    assert len(asyncio.run(work())) == 2


def test_each_version_from_the_first_that_was_kept_has_its_copy() -> None:
    assert {"0004", SCHEMA_VERSION} <= {path.stem for path in STORED}, "store one of the new schema too"
