"""Who did what: kept of each door, shown a page at a time, found by name and action whatever is kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from tests.integration.delivery.delivery_harness import OneConnection
from tests.support import free_port
from wxbridge import app
from wxbridge.cli import jobs, outbox, silences
from wxbridge.config.schema import Config
from wxbridge.core import audit, database
from wxbridge.core.audit import AuditAction, AuditDoor, AuditEntry, AuditLog
from wxbridge.core.schema import audit as table

TOKENS = {"小李": "read", "老王": "operate", "root": "admin"}
DAY = 86400.0


def token_of(name: str) -> str:
    return f"the-token-of-{TOKENS[name]}-42"


@pytest.fixture
async def bridge(read: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[app.App]:
    named = ", ".join(f"{name}: {{role: {role}, token: {token_of(name)}}}" for name, role in TOKENS.items())
    config = read(
        f"server: {{listen: '127.0.0.1:{free_port()}', tokens: {{{named}}}}}\ntargets: {{a: {{channel: console}}}}\n"
        "operators: [a]\nroutes: [{to: a}]\njobs: [{id: hello, every: 2h, kind: text, text: hi, to: [a]}]\n"
    )
    monkeypatch.setenv("WXBRIDGE_CONFIG", str(config.path))
    async with app.running(config) as made:
        yield made


@asynccontextmanager
async def signed_in(bridge: app.App, name: str, language: str = "en") -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Accept": "text/html", "Accept-Language": language}
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(bridge.url, cookie_jar=jar, headers=headers) as session:
        async with session.post("/console/sign-in", data={"token": token_of(name)}) as answer:
            assert answer.status == 200
        yield session


async def post(session: aiohttp.ClientSession, path: str, **fields: str) -> None:
    async with session.get("/console/jobs") as page:
        csrf = re.search(r'name="csrf" value="(\w+)"', await page.text())
    assert csrf
    async with session.post(path, data={"csrf": csrf[1], **fields}, allow_redirects=False) as answer:
        assert answer.status == 303


async def look(session: aiohttp.ClientSession, path: str = "/console/audit") -> str:
    async with session.get(path) as page:
        assert page.status == 200
        return await page.text()


def listed(page: str) -> list[str]:
    """The entries of a page, as people read them, without the time."""
    rows = re.findall(r"<li><time.*?</time>(.*?)</li>", page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows]


async def test_what_people_change_is_shown_with_their_names_whatever_the_door(bridge: app.App) -> None:
    async with signed_in(bridge, "老王") as person:
        await post(person, "/console/jobs/run", job="hello", by="somebody else")
        await post(person, "/console/jobs/mute", job="hello", **{"for": "1h"})
        await post(person, "/console/alerts/silence", matchers='team="<db>"', by="somebody else", **{"for": "30m"})
        bearer = {"Authorization": f"Bearer {token_of('老王')}", "Accept": "*/*"}
        body = {"matchers": ["a=b"], "duration": "1h", "created_by": "somebody else"}
        async with person.post("/api/silences", json=body, headers=bearer) as answer:
            made = (await answer.json())["id"]
        async with person.delete(f"/api/silences/{made}", headers=bearer) as answer:
            assert answer.status == 204
    for command, words in (
        (silences.app, ["add", "c=d", "--for", "1h", "--by", "张三"]),
        (jobs.app, ["unmute", "hello"]),
        (outbox.app, ["drop", "7"]),
    ):
        await asyncio.to_thread(CliRunner().invoke, command, words)
    async with signed_in(bridge, "小李") as reader:
        shown = await look(reader)
        user = jobs.who(None)
        assert listed(shown) == [
            "小李 signed in 127.0.0.1 console",
            f"{user} unmuted a job hello command line",
            "张三 silenced c=&#34;d&#34; command line",
            f"老王 ended a silence {made} API",
            "老王 silenced a=&#34;b&#34; API",
            "老王 silenced team=&#34;&lt;db&gt;&#34; console",
            "老王 muted a job hello console",
            "老王 ran a job hello console",
            "老王 signed in 127.0.0.1 console",
        ]
        assert not [name for name in TOKENS if token_of(name) in shown]
        assert listed(await look(reader, "/console/audit?by=老王&action=ran")) == ["老王 ran a job hello console"]
        assert "Nothing matches." in await look(reader, "/console/audit?by=nobody")
        # What is no action and no place is as good as none.
        assert len(listed(await look(reader, "/console/audit?action=<x>&after=١"))) == len(listed(shown))
    async with signed_in(bridge, "root", "zh") as person:
        assert listed(await look(person, "/console/audit?action=ran")) == ["老王 运行任务 hello 控制台"]


async def test_pages_lose_nothing_and_repeat_nothing_and_keep_the_filter(bridge: app.App) -> None:
    for number in range(130):
        by = "老王" if number % 2 else "root"
        await bridge.audit.record(AuditAction.DROPPED, f"message {number}", by=by, via=AuditDoor.CONSOLE)
    async with signed_in(bridge, "小李") as reader:
        path, found = "/console/audit?action=dropped&by=root", list[str]()
        while path:
            page = await look(reader, path)
            found += listed(page)
            following = re.search(r'rel="next" href="([^"]+)"', page)
            path = following[1].replace("&amp;", "&") if following else ""
    assert found == [f"root dropped message {number} console" for number in range(128, -1, -2)]


# ---------------------------------------------------------------- the table


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    engine = database.make_engine(database.sqlite_url(tmp_path))
    database.migrate(engine)
    with engine.connect() as made, made.begin():
        yield made
    engine.dispose()


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({}, "SCAN audit"),
        ({"before": 9}, "INTEGER PRIMARY KEY"),
        ({"by": "老王"}, "audit_by (by=?)"),
        ({"by": "老王", "before": 9}, "audit_by (by=? AND id<?)"),
        ({"action": "ran"}, "audit_action (action=?)"),
        ({"action": "ran", "before": 9}, "audit_action (action=? AND id<?)"),
        ({"by": "老王", "action": "ran"}, "audit_by_action (by=? AND action=?)"),
        ({"by": "老王", "action": "ran", "before": 9}, "audit_by_action (by=? AND action=? AND id<?)"),
    ],
)
def test_no_page_walks_over_all_that_is_kept(connection: sa.Connection, asked: Any, index: str) -> None:
    found = audit.select_entries(**asked).compile(connection.engine, compile_kwargs={"literal_binds": True})
    steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {found}")]
    # All of it is walked over from its end, and no further than a page.
    assert len(steps) == 1, steps
    assert index in steps[0]


async def test_what_is_old_is_forgotten_and_who_did_something_is_listed_once(connection: sa.Connection) -> None:
    now = 100 * DAY
    held: Any = OneConnection(connection)
    for day, by in ((0, "a"), (80, "c"), (85, "b"), (99, ""), (99, "c")):
        entry = AuditEntry(day * DAY, by, AuditAction.RAN, "x", AuditDoor.CHAT)
        audit.record_entry(connection, entry, keep=200 * DAY)
    assert audit.list_names(connection) == ["a", "b", "c"]
    await AuditLog(held, lambda: 30 * DAY, lambda: now).record(
        AuditAction.SENT, "ops\n", by=" d  e ", via=AuditDoor.API
    )
    rows = connection.execute(sa.select(table.c.by, table.c.what).order_by(table.c.id)).all()
    assert [tuple(row) for row in rows] == [("c", "x"), ("b", "x"), ("", "x"), ("c", "x"), ("d e", "ops")]
    connection.execute(sa.delete(table))
    assert audit.list_names(connection) == []
