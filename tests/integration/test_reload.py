"""One generation of the bridge follows another, with channels that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from wxbridge import app, registry
from wxbridge.channels import ChannelContext
from wxbridge.config import watcher
from wxbridge.config.schema import Config
from wxbridge.core.model import Notification, Text
from wxbridge.testing import FakeChannel
from wxbridge.web.listener import HttpListener

CONFIG = """\
server: {listen: "127.0.0.1:0"}
targets:
  a: {channel: console}
  b: {channel: console}
routes: [{to: [a]}]
jobs:
  - {id: hourly, every: 1h, kind: text, text: x, to: a}
  - {id: other, cron: 0 3 * * *, kind: text, text: x, to: a}
"""


NEWS = {"title": "news", "state": "alerting"}


class Lasting(FakeChannel):
    """A channel that can go on with another configuration."""

    adopted: tuple[str, ...] = ()

    def keeps(self, context: ChannelContext) -> bool:
        return True

    def adopt(self, context: ChannelContext) -> None:
        self.adopted = tuple(context.targets)


@dataclass
class Stage:
    """A running bridge whose configuration the test replaces."""

    read: Callable[..., Config]
    channels: list[FakeChannel] = field(default_factory=list)
    text: str = CONFIG
    bridge: app.App | None = None

    @asynccontextmanager
    async def up(self) -> AsyncIterator[app.App]:
        async with asyncio.timeout(60), app.running(self.read(self.text)) as bridge:
            self.bridge = bridge
            yield bridge

    def change(self, old: str, new: str) -> Config:
        assert old in self.text
        self.text = self.text.replace(old, new)
        return self.read(self.text)


@pytest.fixture
def stage(read: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(read)
    kinds: list[type[FakeChannel]] = [FakeChannel]

    def create(_context: ChannelContext) -> FakeChannel:
        stage.channels.append(kinds[0]())
        return stage.channels[-1]

    monkeypatch.setitem(registry.CHANNELS, "console", replace(registry.CHANNELS["console"], create=create))
    monkeypatch.setattr(stage, "kinds", kinds, raising=False)
    return stage


def note(target: str, text: str) -> Notification:
    return Notification("test", target, (Text(text),))


async def take(stage: Stage, old: str, new: str) -> watcher.Taken:
    assert stage.bridge
    return await stage.bridge.take(stage.change(old, new))


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - several things to wait for
        await asyncio.sleep(0.005)


async def test_what_is_being_sent_is_sent_to_its_end_before_the_new_delivery_begins(stage: Stage) -> None:
    async with stage.up() as bridge:
        first = stage.channels[0]
        first.gate = asyncio.Event()
        await bridge.outbox.put([note("a", "under way"), note("a", "next")])
        await until(lambda: first.tried)
        taking = asyncio.create_task(take(stage, "  b: {channel: console}\n", "  c: {channel: console}\n"))
        await until(lambda: "c" in bridge.channels.targets)
        # New rules hold at once, and what comes is stored; only sending waits.
        async with aiohttp.ClientSession() as session:
            posted = await session.post(f"{bridge.url}/hooks/grafana?to=c", json=NEWS)
            assert posted.status == 202
        assert not taking.done()
        first.gate.set()
        assert (await taking).changed == ("targets",)
        second = stage.channels[1]
        await until(lambda: len(second.sent) == 2)
        assert (first.texts, len(first.tried)) == (["under way"], 1)
        assert second.texts[0] == "next", "neither marked as a repeat nor lost"


async def test_a_channel_that_can_go_on_keeps_its_connection_and_is_handed_the_targets(stage: Stage) -> None:
    getattr(stage, "kinds")[0] = Lasting  # noqa: B009
    async with stage.up() as bridge:
        await take(stage, "  b: {channel: console}\n", "  c: {channel: console}\n")
        [channel] = stage.channels
        assert isinstance(channel, Lasting)
        assert channel.adopted == ("a", "c")
        await bridge.outbox.put([note("c", "hello")])
        await until(lambda: channel.texts == ["hello"])


async def test_a_channel_whose_targets_stay_is_not_touched_by_new_routes(stage: Stage) -> None:
    async with stage.up() as bridge:
        assert (await take(stage, "routes: [{to: [a]}]", "routes: [{to: [b]}]")).changed == ("routes",)
        assert len(stage.channels) == 1
        async with aiohttp.ClientSession() as session:
            await session.post(f"{bridge.url}/hooks/grafana", json=NEWS)
        [channel] = stage.channels
        await until(lambda: channel.sent)


async def test_a_job_whose_times_stay_keeps_its_next_run_and_another_gets_its_own(stage: Stage) -> None:
    async with stage.up() as bridge:

        async def next_runs() -> dict[str, datetime]:
            return {job.id: job.next_run for job in await bridge.jobs.list_jobs() if job.next_run}

        await until(lambda: bridge.jobs._planned)
        before = await next_runs()
        await take(stage, "cron: 0 3 * * *", "cron: 0 4 * * *")
        after = await next_runs()
        assert after["hourly"] == before["hourly"]
        assert (after["other"].hour, before["other"].hour) == (4, 3)
        await take(stage, "  - {id: other, cron: 0 4 * * *, kind: text, text: x, to: a}\n", "")
        assert list(await next_runs()) == ["hourly"]


async def test_messages_of_a_target_that_is_gone_are_kept_and_told_of(stage: Stage) -> None:
    async with stage.up() as bridge:
        stage.channels[0].gate = asyncio.Event()
        await bridge.outbox.put([note("b", "one"), note("b", "two")])
        await until(lambda: stage.channels[0].tried)
        taking = asyncio.create_task(take(stage, "  b: {channel: console}\n", ""))
        await until(lambda: "b" not in bridge.channels.targets)
        stage.channels[0].gate.set()
        assert (await taking).orphans == (("b", 1),), "what was under way has been sent"
        await take(stage, "  a: {channel: console}\n", "  a: {channel: console}\n  b: {channel: console}\n")
        await until(lambda: stage.channels[-1].texts == ["two"])


async def test_an_alert_of_a_target_that_is_gone_goes_to_the_operators_once_naming_it(stage: Stage) -> None:
    stage.text += "operators: [a]\n"
    async with stage.up() as bridge:
        stage.channels[0].gate = asyncio.Event()
        async with aiohttp.ClientSession() as session:
            for number in range(2):
                news = NEWS | {"ruleId": number, "title": f"alert {number}"}
                assert (await session.post(f"{bridge.url}/hooks/grafana?to=b", json=news)).status == 202
        await bridge.outbox.put([note("b", "no alert")])
        await until(lambda: stage.channels[0].tried)
        taking = asyncio.create_task(take(stage, "  b: {channel: console}\n", ""))
        await until(lambda: "b" not in bridge.channels.targets)
        stage.channels[0].gate.set()
        assert (await taking).orphans == (("b", 1),), "what is no alert is kept"
        await until(lambda: stage.channels[1].sent)
        (told,) = stage.channels[1].texts
        assert told.startswith("⚠️ This was for b, a target that the configuration no longer has:\n")
        assert "🔥 alert 1" in told
        await take(stage, "  a: {channel: console}\n", "  a: {channel: console}\n  b: {channel: console}\n")
        await until(lambda: stage.channels[-1].sent)
        assert stage.channels[-1].texts == ["no alert"]


async def test_an_open_door_never_comes_of_a_reload(read: Callable[..., Config]) -> None:
    old = read('server: {listen: "0.0.0.0:8080", token: t}')
    config, later = watcher.restrict_to_running(old, read('server: {listen: "127.0.0.1:8080"}'))
    assert (config.server, later) == (old.server, ("server",))
    config, later = watcher.restrict_to_running(old, read('server: {listen: "127.0.0.1:8080", token: new}'))
    assert config.server.listen == "0.0.0.0:8080"
    assert config.server.token
    assert config.server.token.get_secret_value() == "new"
    assert later == ("server.listen",)


async def test_a_configuration_that_cannot_be_made_leaves_everything_as_it_was(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage.up() as bridge:

        def fails(_config: Config) -> object:
            raise OSError("a bug")

        with capture_logs(), monkeypatch.context() as patch:
            patch.setattr(app, "alert_settings_of", fails)
            with pytest.raises(watcher.ReloadFailed, match="a bug"):
                await take(stage, "routes: [{to: [a]}]", "routes: [{to: [b]}]")
        await bridge.outbox.put([note("b", "still")])
        await until(lambda: stage.channels[0].texts == ["still"])


async def test_a_new_token_is_asked_for_at_once_and_the_old_one_opens_nothing(stage: Stage, tmp_path: Path) -> None:
    async with stage.up() as bridge, aiohttp.ClientSession() as session:
        assert (await session.get(f"{bridge.url}/metrics")).status == 200
        await take(stage, '"127.0.0.1:0"', '"127.0.0.1:0", token: new')
        assert (await session.get(f"{bridge.url}/metrics")).status == 401
        assert (await session.get(f"{bridge.url}/metrics?token=new")).status == 200


async def test_a_request_under_way_is_answered_and_an_idle_connection_is_closed_when_the_application_changes() -> None:
    def application(name: str) -> web.Application:
        async def answer(_request: web.Request) -> web.Response:
            asked.set()
            await go_on.wait()
            return web.Response(text=name)

        made = web.Application()
        made.router.add_get("/", answer)
        return made

    asked, go_on = asyncio.Event(), asyncio.Event()
    listener = HttpListener()
    url = f"http://127.0.0.1:{listener.bind('127.0.0.1', 0)}/"
    await listener.serve(application("old"))

    async def get(session: aiohttp.ClientSession) -> str:
        async with asyncio.timeout(60), session.get(url) as answer:
            return await answer.text()

    async with aiohttp.ClientSession() as one, aiohttp.ClientSession() as other:
        go_on.set()
        assert await get(other) == "old"
        go_on.clear()
        asked.clear()
        under_way = asyncio.create_task(get(one))
        await asked.wait()
        await listener.serve(application("new"))
        await asyncio.sleep(0.01)
        go_on.set()
        assert await get(other) == "new"
        assert await under_way == "old"
        assert await get(one) == "new"
    await listener.close()


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize("before", [b"", HEAD[:20], HEAD, HEAD + b"bo"], ids=["nothing", "a line", "a head", "half"])
async def test_a_request_that_comes_slowly_is_answered_though_the_application_changes(before: bytes) -> None:
    began = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        began.set()
        return web.Response(text=f"had {await request.text()}")

    def application() -> web.Application:
        made = web.Application()
        made.router.add_post("/", answer)
        return made

    listener = HttpListener()
    port = listener.bind("127.0.0.1", 0)
    await listener.serve(application())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(before)
    async with asyncio.timeout(60):
        if before.startswith(HEAD):
            await began.wait()
        await listener.serve(application())
        # A whole request of somebody else: by then the old application has begun to leave.
        async with aiohttp.ClientSession() as other, other.post(f"http://127.0.0.1:{port}/", data="else") as answered:
            assert await answered.text() == "had else"
        writer.write((HEAD + b"body")[len(before) :])
        assert (await reader.readuntil(b"had body")).startswith(b"HTTP/1.1 200")
        # The connection outlives the application: a client that keeps it notices nothing.
        writer.write(HEAD + b"more")
        assert (await reader.readuntil(b"had more")).startswith(b"HTTP/1.1 200")
    writer.close()
    await listener.close()


async def test_an_alert_that_found_no_target_waits_and_is_routed_by_the_next_configuration(stage: Stage) -> None:
    stage.text = CONFIG.replace("{to: [a]}", "{match: [team=db], to: [a]}")
    async with stage.up() as bridge, aiohttp.ClientSession() as session:
        assert (await session.post(f"{bridge.url}/hooks/grafana", json=NEWS)).status == 202
        (waiting,) = await bridge.outbox.list_messages()
        assert (waiting.target, waiting.state) == ("nobody", "queued")
        await take(stage, "{match: [team=db], to: [a]}", "{to: [b]}")
        channel = stage.channels[-1]
        await until(lambda: channel.sent)
        assert "news" in channel.texts[0]
        assert len(channel.sent) == 1
        await take(stage, "{to: [b]}", "{to: [a]}")
        assert len(channel.sent) == 1, "once"
