"""Two bridges on one PostgreSQL, as on two machines: both take, one sends, and the other goes on when it is gone."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.fakes import postgresql
from tests.fakes.postgresql import Cluster

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_main_job import legacy

pytestmark = pytest.mark.long

LEADERSHIP = "wxbridge.core.shared_leadership"
MARK = "(possible repeat)"
QUICK = {
    f"{LEADERSHIP}:LEASE_SECONDS": 2.0,
    f"{LEADERSHIP}:SESSION_TIMEOUT_SECONDS": 4,
    f"{LEADERSHIP}:BEAT_SECONDS": 0.3,
    "wxbridge.core.database:ANSWER_SECONDS": 10.0,
    "wxbridge.channels.wechat.channel:WechatTiming.patience_shared": 0.5,
}
"""What takes ten seconds in earnest, so that nobody need wait for it."""


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    if reason := postgresql.why_missing():
        pytest.skip(reason)
    cluster = await asyncio.to_thread(Cluster)
    try:
        await asyncio.to_thread(cluster.start)
        await asyncio.to_thread(cluster.create_database, "bridge")
        yield cluster
    finally:
        cluster.close()


Pair = tuple[BridgeProcess, BridgeProcess]


@pytest.fixture
async def pair(harness: BridgeHarness, cluster: Cluster) -> Pair:
    """The one that leads, and the one that stands by."""
    harness.constants.update(QUICK)
    found = []
    for name in ("one", "other"):
        extra = (
            f"database: {cluster.url('bridge')}\nstate_dir: {harness.directory}/{name}\n"
            'jobs: [{id: hello, every: 24h, kind: text, text: "hello from the job", to: [ops]}]'
        )
        bridge = harness.process(extra, wechat='pace: none\n  greeting: ""', name=f"{name}.yaml")
        await bridge.start()
        if not found:
            await bridge.event("wechat state", state="online")
        found.append(bridge)
    return found[0], found[1]


async def readiness(bridge: BridgeProcess) -> tuple[int, dict[str, Any]]:
    status, text = await bridge.get("/readyz")
    return status, json.loads(text)


async def wait_for(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - a process of its own, which tells nobody
            await asyncio.sleep(0.05)


async def insist(bridge: BridgeProcess, body: Any) -> None:
    """Post as senders do: again, where it is not taken yet."""

    async def is_taken() -> bool:
        return (await bridge.post(body))[0] == 202

    await wait_for(is_taken)


async def test_both_take_one_sends_and_the_other_takes_over_when_it_is_killed(
    harness: BridgeHarness, pair: Pair
) -> None:
    one, other = pair
    assert (await readiness(one))[1]["role"] == "leader"
    status, told = await readiness(other)
    assert (status, next(iter(told)), told["role"]) == (200, "role", "standby")

    for number, bridge in enumerate((one, other, one, other)):
        assert await bridge.post(legacy(f"alert {number}")) == (202, {"queued": 1, "duplicates": 0})
    await harness.until(lambda: len(harness.room()) == 4)
    # What one has taken the other knows: its sender's retry through another address is none the less one.
    assert await one.post(legacy("alert 3")) == (202, {"queued": 0, "duplicates": 1})
    assert await other.post(legacy("alert 2")) == (202, {"queued": 0, "duplicates": 1})

    async def shows_the_leader_s_channel() -> bool:
        return (await readiness(other))[1]["parts"]["wechat"]["state"] == "online"

    await wait_for(shows_the_leader_s_channel)
    assert (await other.counted("wxbridge_leader"), await one.counted("wxbridge_leader")) == (0, 1)
    _, out, _ = await harness.command("status", "--json", config=other.config)
    roles = [row["state"] for row in json.loads(out) if row["part"].startswith("bridge ")]
    assert sorted(roles) == ["leader", "standby"]

    stops = harness.simulator.gateway.calls.get("Stop", 0)
    one.strike()
    await insist(other, legacy("alert 4"))
    await other.event("this bridge leads")
    await harness.until(lambda: "alert 4" in " ".join(harness.room()))
    assert (await readiness(other))[1]["role"] == "leader"
    # The login went over without a scan.
    assert harness.simulator.gateway.calls.get("Stop", 0) == stops
    await one.kill()
    await one.start()
    assert (await readiness(one))[1]["role"] == "standby"


async def test_who_was_stopped_sends_nothing_when_it_goes_on(harness: BridgeHarness, pair: Pair) -> None:
    one, other = pair
    assert one._process
    one._process.send_signal(signal.SIGSTOP)
    try:
        for number in range(3):
            await insist(other, legacy(f"alert {number}"))
        await other.event("this bridge leads")
        await harness.until(lambda: len(harness.room()) == 3)
    finally:
        one._process.send_signal(signal.SIGCONT)
    await one.event("this bridge leads no more")
    await insist(one, legacy("alert 3"))
    await harness.until(lambda: len(harness.room()) >= 4)
    assert [line for line in one.logs if line["event"] == "sent"] == []
    assert len(harness.room()) == 4
    assert not any(MARK in text for text in harness.room())


async def test_the_console_of_who_stands_by_has_the_other_run_a_job(harness: BridgeHarness, pair: Pair) -> None:
    import aiohttp

    one, other = pair
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(f"{other.url}/console/jobs") as answer:
            page = await answer.text()
            assert answer.status == 200
        assert "stands by" in page
        secret = page.partition('name="csrf" value="')[2].partition('"')[0]
        form = {"csrf": secret, "job": "hello"}
        headers = {"Origin": other.url}
        async with session.post(f"{other.url}/console/jobs/run", data=form, headers=headers) as answer:
            assert answer.status == 200
    await harness.until(lambda: "hello from the job" in harness.room())
    await one.event("job done", job="hello")
    assert [line for line in other.logs if line["event"] == "job started"] == []


async def test_while_postgresql_is_away_senders_are_told_to_come_again_and_then_all_goes_on(
    harness: BridgeHarness, pair: Pair, cluster: Cluster
) -> None:
    import aiohttp

    one, other = pair
    await asyncio.to_thread(cluster.stop)
    async with aiohttp.ClientSession() as session:
        for bridge in pair:
            body = json.dumps(legacy("lost?"))
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with session.post(f"{bridge.url}/hooks/grafana", data=body) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert loop.time() - began < 5
            assert (await readiness(bridge))[0] == 503
            assert (await bridge.get("/healthz"))[0] == 200
    await one.event("this bridge leads no more")
    await asyncio.to_thread(cluster.start)

    async def is_back() -> bool:
        return {(await readiness(bridge))[0] for bridge in pair} == {200}

    await wait_for(is_back)
    await insist(one, legacy("here again"))
    await insist(other, legacy("here too"))
    await harness.until(lambda: len(harness.room()) == 2)
