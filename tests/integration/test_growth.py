"""What a bridge keeps does not slow it down: no statement reads what is done with in proportion to how much that is."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.fakes.grown_database import COPIED, grow
from tests.fakes.statements import Statement, StatementRecorder, recording
from tests.integration.web.console.console_harness import TOKEN, ConsoleBridge, alert, group, running
from wxbridge.alerts.reminders import Reminders
from wxbridge.core.model import MessageState
from wxbridge.delivery.timeline import MAX_NOTIFICATIONS_SEARCHED

KEPT, FIRING = 20_000, 6_000
MOST_STEPS_MORE = 5_000
"""That a statement may take more with so many alerts than with a handful: less than a step for each that fires."""
SEARCHED = ("lower(messages.text)", "lower(received.title)")
"""Where a text is searched for, each row is read: `MAX_NOTIFICATIONS_SEARCHED` at a time."""
BY_KEY = re.compile(r'\b(\w+)\."?(key|dedupe_key|dedupe_group|notification_id|received_id|alert)"? (?:= \?|IN \(\?)')
"""A table, and the column by which some of its rows are named: few of them, however many others are like them."""
PAGES = (
    "/", "/?state=sent", "/?state=dead", "/?state=open", "/?state=merged", "/?state=untold", "/?target=ops",
    "/?target=ops&state=dead", "/?text=DiskFull", "/console/alerts", "/console/targets", "/console/jobs",
    "/console/rooms", "/console/host", "/console/config", "/console/doctor", "/api/alerts", "/api/silences", "/metrics",
    "/readyz", "/healthz",
)  # fmt: skip


async def alert_and_end(bench: ConsoleBridge) -> None:
    """Have alerts come, be sent and end."""
    for status in ("firing", "firing", "resolved"):
        await bench.post(group(alert("DiskFull", "critical") | {"status": status}, key="disk"))
        await bench.post(group(alert("Load") | {"status": status}, alert("Memory") | {"status": status}, key="load"))
    await bench.until(bench.settled)


async def use(bench: ConsoleBridge) -> None:
    """Do what is done every day: alerts come, are sent and end; people look at pages and lists; the house is tidied."""
    bridge, began = bench.bridge, time.time()
    await alert_and_end(bench)
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
    for page in PAGES:
        async with bench.session.get(bench.url + page, headers=headers) as answer:
            await answer.read()
            assert answer.status in (200, 404, 503), page
    outbox = bridge.outbox
    for states in ((), ("sent",), ("dead", "expired", "unknown"), ("queued", "sending"), ("dead", "queued")):
        for target in (None, "ops"):
            await outbox.list_messages(states=states, target=target)
            await outbox.list_messages(states=states, target=target, since=began)
    await outbox.count_settled(since=began, until=time.time())
    await outbox.list_settled([MessageState.DEAD], since=began, limit=5)
    await outbox.read_change_mark()
    await bridge.alerts.read_change_mark()
    await bridge._present.delivery.look_after(tidy=True)
    reminders = Reminders(bridge.alerts)
    await reminders.look()
    await reminders.tidy()


def is_listed(statement: Statement) -> bool:
    """Whether a scan ends with the page that it fills, or reads no more than what is open."""
    return " LIMIT " in statement.text.replace("\n", " ") or bool(re.search(r"max\(|min\(", statement.text))


async def work_on(
    tmp_path: Path, work: Callable[[ConsoleBridge], Awaitable[None]], kept: int, *, is_firing: bool = False
) -> tuple[StatementRecorder, StatementRecorder]:
    """Have a bridge do some work with a handful of alerts and with many; give the statements that it ran in each."""
    async with running(tmp_path) as bench:
        await bench.fill()
    with recording() as few:
        async with running(tmp_path) as bench:
            await work(bench)
    grow(next(tmp_path.rglob("wxbridge.db")), kept, is_firing=is_firing)  # noqa: ASYNC240 - a test
    with recording() as many:
        async with running(tmp_path) as bench:
            await work(bench)
    return few, many


async def test_no_statement_reads_what_is_done_with(tmp_path: Path) -> None:
    few, many = await work_on(tmp_path, use, KEPT)
    assert len(many.statements) > 100
    assert KEPT < MAX_NOTIFICATIONS_SEARCHED
    slow = []
    for text, statement in many.statements.items():
        before = few.statements[text].steps if text in few.statements else 0
        if any(words in text for words in SEARCHED):
            continue
        scans = [line for line in statement.plan if re.match(rf"SCAN ({'|'.join(COPIED)})\b(?! USING)", line)]
        if statement.steps - before > MOST_STEPS_MORE or (scans and not is_listed(statement)):
            slow.append("\n".join([f"{before} → {statement.steps} steps", text, *statement.plan]))
    assert not slow, "\n\n".join(slow)


async def test_what_is_named_by_its_key_is_found_by_it_however_much_fires(tmp_path: Path) -> None:
    few, many = await work_on(tmp_path, alert_and_end, FIRING, is_firing=True)
    named = {text: found for text in many.statements if (found := set(BY_KEY.findall(text)))}
    assert {table for found in named.values() for table, _ in found} > {"alerts", "episodes", "notifications"}
    slow = []
    for text, found in named.items():
        statement, before = many.statements[text], few.statements[text].steps if text in few.statements else 0
        searches = [
            line
            for table, column in found
            for line in statement.plan
            if re.match(rf"(SEARCH|SCAN) {table}\b", line) and f"({column}=?" not in line
        ]
        if searches or statement.steps - before > MOST_STEPS_MORE:
            slow.append("\n".join([f"{before} → {statement.steps} steps", text, *statement.plan]))
    assert not slow, "\n\n".join(slow)
