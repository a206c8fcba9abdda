"""A bridge whose only ways out are robots that answer badly, over real sockets: nothing lost, each told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest

from tests.fakes.wecom import FakeWecom
from tests.support import wait_until
from wxbridge import app
from wxbridge.channels import http, service_states
from wxbridge.config.schema import Config
from wxbridge.core.model import ChannelState
from wxbridge.delivery import send_loop, service

SEND = "/cgi-bin/webhook/send"
MARK = "(possible repeat) "
CONFIG = """\
server: {{listen: "127.0.0.1:0"}}
operators: [spare]
targets:
  ops: {{channel: wecom_robot, key: ops, base_url: "{url}", pace: none, fallback: spare, {failover}}}
  spare: {{channel: wecom_robot, key: spare, base_url: "{spare}", pace: none}}
routes: [{{to: [ops]}}]
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every pause a twentieth of what it is."""
    monkeypatch.setattr(send_loop, "UNKNOWN_PAUSES_SECONDS", (0.05, 0.25, 0.5, 0.5))
    monkeypatch.setattr(service_states, "FIRST_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(service_states, "MAX_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(http, "SECONDS_BETWEEN_ROUNDS", 0.05)
    monkeypatch.setattr(http, "HttpTiming", partial(http.HttpTiming, deadline=0.75, connect=0.25))
    monkeypatch.setattr(service, "TICK_SECONDS", 0.05)


@pytest.fixture
async def services() -> AsyncIterator[tuple[FakeWecom, FakeWecom]]:
    async with FakeWecom() as wecom, FakeWecom() as spare:
        wecom.add_robot("ops")
        spare.add_robot("spare")
        yield wecom, spare


@asynccontextmanager
async def running(
    read: Callable[..., Config], services: tuple[FakeWecom, FakeWecom], failover_after: str
) -> AsyncIterator[app.App]:
    text = CONFIG.format(url=services[0].url, spare=services[1].url, failover=f"failover_after: {failover_after}")
    async with asyncio.timeout(40), app.running(read(text)) as bridge:
        yield bridge


async def post(bridge: app.App, name: str) -> None:
    async with aiohttp.ClientSession() as session:
        body = {"title": name, "state": "alerting", "ruleId": name}
        async with session.post(f"{bridge.url}/hooks/grafana", json=body) as answer:
            assert answer.status == 202


def heard(wecom: FakeWecom) -> list[str]:
    return [message.content.splitlines()[0] for message in wecom.messages]


@pytest.mark.parametrize("fault", ["500", "502", "junk", "cut", "hang"])
async def test_of_five_alerts_in_ten_bad_seconds_none_is_lost(read, services, fault) -> None:
    wecom, spare = services
    async with running(read, services, "1h") as bridge:
        if fault == "cut":
            wecom.cut(count=1000)
        elif fault == "hang":
            wecom.stall(count=1000)
        else:
            wecom.answer(200 if fault == "junk" else int(fault), "junk", count=1000)
        for number in range(5):
            await post(bridge, f"alert {number}")
        await wait_until(lambda: bridge.channels.statuses()["wecom_robot"].state is ChannelState.UNREACHABLE)
        await asyncio.sleep(0.5)
        tries = {message.id: message.tries for message in await bridge.outbox.list_messages(target="ops")}
        assert sum(count > 0 for count in tries.values()) <= 1  # the others wait unspent
        wecom.release()
        await wait_until(lambda: len(wecom.messages) == 5)
        assert heard(wecom) == [f"{MARK}🔥 alert 0", *(f"🔥 alert {number}" for number in range(1, 5))]
        await wait_until(lambda: bridge.channels.statuses()["wecom_robot"].state is ChannelState.ONLINE)
        assert spare.messages == []


async def test_a_refused_key_waits_fails_over_and_leaves_after_the_repair(read, services) -> None:
    wecom, spare = services
    wecom.remove_robot("ops")
    async with running(read, services, "1s") as bridge:
        await post(bridge, "one")
        await wait_until(lambda: bridge.channels.statuses()["wecom_robot"].state is ChannelState.UNAUTHORISED)
        detail = bridge.channels.statuses()["wecom_robot"].detail
        assert detail.startswith("ops: ")
        assert "93000" in detail
        async with aiohttp.ClientSession() as session, session.get(f"{bridge.url}/readyz?channels=all") as answer:
            assert answer.status == 503
        await wait_until(lambda: len(spare.messages) == 1)
        assert spare.messages[0].content.startswith("⚠️ ops cannot be reached for 1 s:")
        await post(bridge, "two")
        wecom.add_robot("ops")
        await wait_until(lambda: len(wecom.messages) == 1)
        assert heard(wecom) == ["🔥 two"]
        assert await bridge.outbox.list_messages(states=["dead"]) == []


async def test_an_unreachable_fallback_gets_nothing(read, services) -> None:
    wecom, spare = services
    async with running(read, services, "100ms") as bridge:
        await wecom.stop()
        await spare.stop()
        await post(bridge, "one")
        await asyncio.sleep(1.5)
        await wecom.start()
        await wait_until(lambda: len(wecom.messages) == 1)
        await spare.start()
        await asyncio.sleep(0.5)
        assert (heard(wecom), heard(spare)) == (["🔥 one"], [])


async def test_a_bridge_that_starts_again_still_knows_the_outage_and_what_may_have_been_sent(read, services) -> None:
    wecom, _ = services
    async with running(read, services, "1h") as bridge:
        wecom.cut(count=1000, path=SEND)
        wecom.cut(count=1000, path="/")
        await post(bridge, "one")
        await post(bridge, "two")
        await wait_until(lambda: bridge.channels.statuses()["wecom_robot"].state is ChannelState.UNREACHABLE)
        since = bridge.channels.statuses()["wecom_robot"].since
    async with running(read, services, "1h") as bridge:
        status = bridge.channels.statuses()["wecom_robot"]
        assert (status.state, status.since) == (ChannelState.UNREACHABLE, since)
        wecom.release()
        await wait_until(lambda: len(wecom.messages) == 2)
        assert heard(wecom) == [f"{MARK}🔥 one", "🔥 two"]
