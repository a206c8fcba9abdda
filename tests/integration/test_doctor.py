"""What is looked at around the bridge, on real sockets."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.fakes.dingtalk import FakeDingtalk
from tests.fakes.grafana import TOKEN, FakeGrafana
from tests.fakes.wecom import FakeWecom
from tests.fakes.wecom_bot import WecomBotServer
from wxbridge import doctor
from wxbridge.channels import checks
from wxbridge.channels.wechat.directory import Contact, Room, WechatDirectory
from wxbridge.config.schema import Config
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.findings import Finding, FindingState
from wxbridge.core.schema import remember_fact
from wxbridge.doctor import examine, worst

WECHAT = """\
wechat: {endpoint: "127.0.0.1:9", token: t, master: 主人}
targets:
  ops: {channel: wechat, room: Ops}
  gone: {channel: wechat, room: Opps}
  each: {channel: wechat, to: from-alert}
"""


@pytest_asyncio.fixture
async def site() -> AsyncIterator[str]:
    """Grafana and Prometheus in one, which want the token `right` or me:pass."""

    def entered(request: web.Request) -> None:
        shown = request.headers.get("Authorization", "")
        if shown not in ("Bearer right", "Basic " + base64.b64encode(b"me:pass").decode()):
            raise web.HTTPUnauthorized

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"database": "ok", "version": "12.0.0"})

    async def listed(request: web.Request) -> web.Response:
        entered(request)
        return web.json_response([{"uid": "k", "title": "Kafka", "type": "dash-db"}])

    async def ready(_request: web.Request) -> web.Response:
        return web.Response(text="Prometheus Server is Ready.\n")

    async def query(request: web.Request) -> web.Response:
        entered(request)
        return web.json_response({"status": "success", "data": {"version": "3.1.0"}})

    app = web.Application()
    app.router.add_get("/api/health", health)
    app.router.add_get("/api/search", listed)
    app.router.add_get("/-/ready", ready)
    app.router.add_get("/api/v1/query", query)
    app.router.add_get("/api/v1/status/buildinfo", query)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("name", ["grafana", "prometheus"])
@pytest.mark.parametrize(
    ("entry", "state", "words"),
    [
        ("token: right", FindingState.OK, "entered with its token"),
        ("user: me, password: pass", FindingState.OK, "entered with user and password"),
        ("token: hush-wrong", FindingState.BAD, "it does not take the token (401)"),
        ("user: me, password: hush-wrong", FindingState.BAD, "it does not let me in (401)"),
        ("", FindingState.BAD, "it asks who is there (401)"),
        ("ca: nowhere.pem", FindingState.BAD, "nowhere.pem cannot be read: No such file"),
    ],
)
async def test_credentials_are_tried_and_a_wrong_one_is_told(
    site: str, read: Callable[..., Config], name: str, entry: str, state: FindingState, words: str
) -> None:
    config = read(f'{name}: {{url: "{site}", {entry}}}\n')
    [finding] = await examine(config, None, {name: doctor.CHECKS[name]})
    assert (finding.name, finding.state) == (name, state), finding
    assert words in finding.found
    assert "hush" not in str(finding)
    assert bool(finding.advice) is (state is not FindingState.OK)


@pytest.mark.parametrize(
    ("token", "state", "words"),
    [
        (TOKEN, FindingState.OK, "entered with its token"),
        ("expired", FindingState.BAD, "it does not take the token (401)"),
    ],
)
async def test_a_wrong_token_is_told_where_grafana_lets_anybody_in(
    read: Callable[..., Config], token: str, state: FindingState, words: str
) -> None:
    async with FakeGrafana(anonymous=True) as fake:
        config = read(f'grafana: {{url: "{fake.url}", token: {token}}}\n')
        [finding] = await examine(config, None, {"grafana": doctor.CHECKS["grafana"]})
    assert finding.state is state
    assert words in finding.found


async def test_an_account_that_sees_no_dashboard_is_a_warning(read: Callable[..., Config]) -> None:
    async with FakeGrafana() as fake:
        fake.search_answer = []
        config = read(f'grafana: {{url: "{fake.url}", token: {TOKEN}}}\n')
        [finding] = await examine(config, None, {"grafana": doctor.CHECKS["grafana"]})
    assert finding.state is FindingState.WARN
    assert "sees no dashboard" in finding.found
    assert "Viewer" in finding.advice


NAMED = """\
grafana: {url: "%s", user: wx, password: "sesame 芝麻"}
targets: {ops: {channel: console}}
graphs:
  kafka: {url: /d/kfk/kafka, panel: [4, GC pauses], vars: {host: web-1}}
  moved: {url: /d/moved, panel: 8}
  odd: {url: "/d/kfk?viewPanel=panel-12&var-topic=x&var-hosts=y", panel: [99, Nothing]}
  page: {url: "https://status.example.com/"}
jobs:
  - {id: right, every: 1h, kind: screenshot, url: "/d/kfk/kafka?var-host=a", variables: {topic: [a, b]}, to: ops}
  - {id: gone, every: 1h, kind: screenshot, url: /d/gone/x, to: ops}
  - {id: second, every: 1h, kind: screenshot, url: /d/kfk/kafka, org: 2, to: ops}
  - {id: ninth, every: 1h, kind: screenshot, url: "/d/kfk/kafka?orgId=9", to: ops}
  - {id: hello, every: 1h, kind: text, text: hi, to: ops}
"""


async def test_what_jobs_and_graphs_name_in_grafana_is_looked_for(read: Callable[..., Config]) -> None:
    async with FakeGrafana() as fake:
        found = await examine(read(NAMED % fake.url), None, {"dashboards": doctor.CHECKS["dashboards"]})
        assert fake.account_org == "1"
    assert [(each.name, each.state.value, each.found) for each in found] == [
        ("job gone", "bad", "there is no dashboard gone"),
        ("job ninth", "bad", "Grafana has no organisation 9 that its account is in (HTTP 404)"),
        ("graph moved", "bad", "there is no dashboard moved"),
        ("graph odd", "bad", "the dashboard kfk has no panel 99, Nothing"),
        ("graph odd", "warn", "the dashboard kfk has no variable hosts"),
        ("dashboards", "ok", "3 of the 7 that jobs and graphs name are there, with their panels and variables"),
    ]
    assert found[-2].advice == "there are: host, topic"


async def test_where_grafana_does_not_let_us_in_its_dashboards_are_one_warning(read: Callable[..., Config]) -> None:
    async with FakeGrafana() as fake:
        text = (NAMED % fake.url).replace("sesame", "salami")
        [finding] = await examine(read(text), None, {"dashboards": doctor.CHECKS["dashboards"]})
    assert finding.state is FindingState.WARN
    assert "refused user wx" in finding.found


async def test_another_site_is_no_grafana_and_no_prometheus(site: str, read: Callable[..., Config]) -> None:
    config = read(f'grafana: {{url: "{site}/api"}}\nprometheus: {{url: "{site}/api"}}\n')
    findings = await examine(config, None, {name: doctor.CHECKS[name] for name in ("grafana", "prometheus")})
    assert [finding.state for finding in findings] == [FindingState.BAD, FindingState.BAD]
    assert all("it answers 404" in finding.found for finding in findings)


async def test_what_is_not_configured_is_not_looked_at(read: Callable[..., Config]) -> None:
    names = ("gateway", "login", "addresses", "grafana", "prometheus")
    assert await examine(read(""), None, {name: doctor.CHECKS[name] for name in names}) == []


async def test_without_a_bridge_that_ever_ran_rooms_cannot_be_told(read: Callable[..., Config]) -> None:
    findings = await examine(read(WECHAT), None, {"addresses": doctor.CHECKS["addresses"]})
    assert [finding.name for finding in findings] == ["target ops", "target gone", "target wechat.master"]
    assert {finding.state for finding in findings} == {FindingState.WARN}
    assert "no bridge has been logged in" in findings[0].found


async def test_rooms_and_contacts_are_found_in_what_the_last_bridge_knew(
    read: Callable[..., Config], tmp_path: Path
) -> None:
    config = read(WECHAT)
    database = Database.open(sqlite_url(tmp_path / "state"))
    try:
        directory = WechatDirectory(database)
        await directory.load("bot")
        await directory.save_rooms([Room("1@chatroom", "Ops", ("bot", "x"))])
        await directory.save_contacts([Contact("a", "主人"), Contact("b", "主人")])
        found = {
            finding.name: finding
            for finding in await examine(config, database, {"addresses": doctor.CHECKS["addresses"]})
        }
    finally:
        database.close()
    assert found["target ops"] == Finding("target ops", FindingState.OK, "Ops (1@chatroom)")
    assert found["target gone"].state is FindingState.BAD
    assert "Opps" in found["target gone"].found
    assert found["target wechat.master"].state is FindingState.BAD, "two are called so"


async def test_a_gateway_that_listens_is_told_from_one_that_does_not(read: Callable[..., Config]) -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = f'wechat: {{endpoint: "127.0.0.1:{port}", token: t}}\n'
    [finding] = await examine(read(text), None, {"gateway": doctor.CHECKS["gateway"]})
    assert finding.state is FindingState.OK
    server.close()
    await server.wait_closed()
    [finding] = await examine(read(text), None, {"gateway": doctor.CHECKS["gateway"]})
    assert finding.state is FindingState.BAD
    assert "Connection refused" in finding.found


async def test_looking_makes_no_state_directory(read: Callable[..., Config], tmp_path: Path) -> None:
    [finding] = await doctor.check_state_dir(read("state_dir: deep/er"), None)
    assert finding.state is FindingState.OK
    assert not (tmp_path / "deep").exists()
    (tmp_path / "file").write_text("")
    [finding] = await doctor.check_state_dir(read("state_dir: file"), None)
    assert finding.state is FindingState.BAD


async def test_a_missing_browser_is_bad_only_where_one_is_needed(read: Callable[..., Config]) -> None:
    without = "pictures: {browser: nowhere/chrome}\n"
    [finding] = await doctor.CHECKS["browser"](read(without), None)
    assert finding.state is FindingState.WARN
    [finding] = await doctor.CHECKS["browser"](read(without + 'grafana: {url: "http://g"}\n'), None)
    assert (finding.state, "install one" in finding.advice) == (FindingState.BAD, True)


async def test_a_check_that_fails_or_hangs_hides_no_other(
    read: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_config: Config, _database: Any) -> list[Finding]:
        raise RuntimeError("a bug")

    async def hangs(_config: Config, _database: Any) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def well(_config: Config, _database: Any) -> list[Finding]:
        return [Finding("well", FindingState.OK, "fine")]

    monkeypatch.setattr(doctor, "CHECK_LIMIT_SECONDS", 0.05)
    findings = await examine(read(""), None, {"fails": fails, "hangs": hangs, "well": well})
    assert [(finding.name, finding.state) for finding in findings] == [
        ("fails", FindingState.BAD), ("hangs", FindingState.BAD), ("well", FindingState.OK),
    ]  # fmt: skip
    assert "a bug" in findings[0].found
    assert (worst(findings), worst([])) == (FindingState.BAD, FindingState.OK)


# ---------------------------------------------------------------- the channels over HTTP, and bots

CHANNELS = """\
wecom: {corp_id: ww1, base_url: "WECOM"}
bots: {main: {bot_id: b, secret: hush-bot, ws_url: "BOT"}}
targets:
  robot: {channel: wecom_robot, key: hush-key, base_url: "WECOM"}
  gone: {channel: wecom_robot, key: hush-gone, base_url: "WECOM"}
  app: {channel: wecom_app, secret: hush-app, agent_id: 1000002, to: u1}
  strange: {channel: wecom_app, secret: hush-strange, agent_id: 1000003, to: u1}
  ding: {channel: dingtalk, base_url: "DING", access_token: hush-ding, secret: hush-sign}
  unsigned: {channel: dingtalk, base_url: "DING", access_token: hush-ding, secret: hush-other}
  mail: {channel: apprise, url: "json://127.0.0.1:9/hush-path"}
  group: {channel: wecom_bot, bot: main, chat: g1}
"""


async def test_each_target_of_the_channels_is_tried_without_anybody_seeing_it(read: Callable[..., Config]) -> None:
    async with FakeWecom() as wecom, FakeDingtalk() as ding, WecomBotServer() as bot:
        wecom.add_robot("hush-key")
        wecom.add_application("ww1", "hush-app", 1000002, members={"u1"})
        ding.add_robot("hush-ding", secret="hush-sign")
        text = CHANNELS.replace("WECOM", wecom.url).replace("DING", ding.url).replace("BOT", bot.url)
        checks = {name: doctor.CHECKS[name] for name in ("channels", "bots")}
        found = {finding.name: finding for finding in await examine(read(text), None, checks)}
        assert not wecom.messages
        assert not ding.messages
        assert not bot.online
    assert {name: finding.state for name, finding in found.items()} == {
        "target robot": FindingState.OK,
        "target gone": FindingState.BAD,
        "target app": FindingState.OK,
        "target strange": FindingState.BAD,
        "target ding": FindingState.OK,
        "target unsigned": FindingState.BAD,
        "target mail": FindingState.OK,
        "bot main": FindingState.WARN,
    }
    assert "93000" in found["target gone"].found
    assert "310000" in found["target unsigned"].found
    assert "no bridge has connected yet" in found["bot main"].found
    assert "hush" not in str(found)


async def test_services_that_stall_or_are_away_are_told_in_time(
    read: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PROBE_LIMIT_SECONDS", 0.3)
    async with FakeWecom() as wecom:
        wecom.stall(count=9)
        text = (
            f'bots: {{main: {{bot_id: b, secret: hush, ws_url: "ws://127.0.0.1:9"}}}}\n'
            f'targets:\n  slow: {{channel: wecom_robot, key: hush-key, base_url: "{wecom.url}"}}\n'
            '  away: {channel: wecom_robot, key: hush-key, base_url: "http://127.0.0.1:9"}\n'
        )
        slow, away, bot = await examine(read(text), None, {n: doctor.CHECKS[n] for n in ("channels", "bots")})
    assert (slow.state, slow.found) == (FindingState.BAD, "no answer within 0.3 seconds")
    assert away.state is FindingState.BAD
    assert "is not reached" in away.found
    assert bot.state is FindingState.BAD
    assert "Connection refused" in bot.found
    assert "hush" not in f"{slow}{away}{bot}"


async def test_what_the_running_bridge_says_of_its_bot_is_told(read: Callable[..., Config], tmp_path: Path) -> None:
    async with WecomBotServer() as server:
        config = read(f'bots: {{main: {{bot_id: b, secret: hush, ws_url: "{server.url}"}}}}\n')
        database = Database.open(sqlite_url(tmp_path))
        for state, expected in (("online", FindingState.OK), ("unauthorised", FindingState.WARN)):
            fact = {"state": state, "detail": "846609 bad secret"}
            await database.run(lambda c, fact=fact: remember_fact(c, "channel:wecom_bot:main", fact, 1.0))
            (found,) = await examine(config, database, {"bots": doctor.CHECKS["bots"]})
            assert found.state is expected
        assert "846609 bad secret" in found.found
        database.close()


@pytest.mark.parametrize(
    ("why", "advice"),
    [
        (errno.ENOSPC, "make room: on a full disk no alert is taken"),
        (errno.EROFS, "mount its file system writable, or set `state_dir`"),
        (errno.EACCES, f"let the user {os.getuid()} write there, or set `state_dir`"),
    ],
)
async def test_the_advice_for_a_state_directory_fits_what_is_wrong_with_it(
    read: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: int, advice: str
) -> None:
    config = read(f"state_dir: {tmp_path}")

    def refuse(**_: object) -> None:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    (finding,) = await doctor.check_state_dir(config, None)
    assert (finding.state, finding.advice) == (FindingState.BAD, advice)
    assert os.strerror(why) in finding.found
