"""Personal WeChat without a gateway: real bridges and commands against the iLink that ships with wxbridge."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.bridge_harness import BridgeHarness, BridgeProcess, ForkedProcess, Launcher
from tests.e2e.test_main_job import legacy
from tests.fakes.real_monitors import needs_alertmanager, post_alerts, run_alertmanager
from tests.support import free_port, wait_until
from wxbridge.simulator.ilink.server import IlinkServer

PERSON = "张三"


@pytest_asyncio.fixture
async def ilink() -> AsyncIterator[IlinkServer]:
    async with IlinkServer(poll_seconds=1.0) as server:
        yield server


def write(harness: BridgeHarness, ilink: IlinkServer) -> Path:
    path = harness.directory / "jobs.yaml"
    path.write_text(
        f"""\
server: {{listen: "127.0.0.1:0"}}
ilink: {{people: [{PERSON}, 李四], master: {PERSON}, url: "{ilink.url}", cdn: "{ilink.cdn}", pace: none}}
targets:
  zhang: {{channel: ilink, person: {PERSON}, commands: true, fallback: term, failover_after: 1s, digest_count: 5}}
  term: {{channel: console}}
routes: [{{to: [zhang]}}]
""",
        encoding="utf-8",
    )
    return path


async def start(harness: BridgeHarness, path: Path) -> BridgeProcess:
    bridge = BridgeProcess(path, harness.launcher, harness.constants)
    harness.processes.append(bridge)
    return await bridge.start()


def read_phone(ilink: IlinkServer) -> list[str]:
    return [one.text or "[picture]" for one in ilink.state.find_phone(PERSON).chat if one.from_bot]


def read_link(bridge: BridgeProcess, whose: str) -> str:
    """Read the line after that which says whose code it is; empty where that has not come."""
    lines = list(bridge.output)
    return next((link for line, link in pairwise(lines) if whose in line), "")


async def test_a_scan_beside_the_running_bridge_and_a_word_open_the_way_until_the_window_closes(
    harness: BridgeHarness, ilink: IlinkServer
) -> None:
    path = write(harness, ilink)
    bridge = await start(harness, path)
    lane = f"ilink:{PERSON}"
    await bridge.event("ilink state", channel=lane, state="waiting_for_scan")
    logging_in = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wxbridge", "login", PERSON, "-c", str(path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ | {"LANG": "C.UTF-8"},
    )  # fmt: skip
    assert logging_in.stdin
    assert logging_in.stdout
    # The bridge shows codes of its own for both people.
    shown = (await logging_in.stdout.readuntil(b"bot_type=3")).decode()
    code = shown.partition("qrcode=")[2].partition("&")[0]
    ilink.state.scan(PERSON, code, digits="2468")
    logging_in.stdin.write(b"1111\n2468\n")
    await wait_until(lambda: ilink.state.codes[code].status == "scaned")
    ilink.state.confirm(code)
    out, _ = await logging_in.communicate()
    assert logging_in.returncode == 0
    printed = shown + out.decode()
    assert "▄" in printed
    assert f"{ilink.url}/q/x?qrcode={code}" in printed
    assert "Wrong digits" in printed
    assert "write any word" in printed
    await bridge.event("ilink state", channel=lane, state="waiting_for_word")
    assert (await bridge.get("/readyz?channels=all"))[0] == 503, "李四 has not scanned"

    # Nothing reaches the person before their first word; the fallback tells it meanwhile.
    assert (await bridge.post(legacy("too early")))[0] == 202
    await bridge.printed("too early")
    assert read_phone(ilink) == []
    ilink.state.say(PERSON, "你好")
    await bridge.event("ilink state", channel=lane, state="online")
    await wait_until(lambda: "hello master!" in read_phone(ilink))
    await bridge.post(legacy("at home"))
    await wait_until(lambda: any("at home" in text for text in read_phone(ilink)))
    assert not any("too early" in text for text in read_phone(ilink)), "told once"

    # A restart needs no scan, also after a kill.
    await bridge.kill()
    bridge = await start(harness, path)
    await bridge.event("ilink state", channel=lane, state="online")
    # The service's day is over before ours: it says so to the first who is to be told.
    ilink.state.offset += 90_000
    await bridge.post(legacy("in the night"))
    await bridge.event("ilink state", channel=lane, state="waiting_for_word")
    await bridge.printed("in the night")
    status, out, _ = await harness.command("status", config=path)
    assert status == 1, "李四 is not logged in"
    assert "waiting_for_word" in out
    for token in (phone.login.token for phone in ilink.state.phones.values() if phone.login):
        assert token not in out
        assert token not in str(bridge.logs)


async def test_when_a_login_is_over_the_master_and_the_fallback_hear_of_it_with_the_way_back(
    harness: BridgeHarness, ilink: IlinkServer
) -> None:
    path = write(harness, ilink)
    text = path.read_text(encoding="utf-8").replace(
        "  term:", "  li: {channel: ilink, person: 李四, fallback: term}\n  term:"
    )
    path.write_text(text, encoding="utf-8")
    bridge = await start(harness, path)
    for person in (PERSON, "李四"):
        await bridge.event("ilink state", channel=f"ilink:{person}", state="waiting_for_scan")
    # Each has a code of their own; which is whose stands on standard output.
    for person in (PERSON, "李四"):
        whose = f"for ilink:{person} ("
        await wait_until(partial(read_link, bridge, whose))
        code = read_link(bridge, whose).partition("qrcode=")[2].partition("&")[0]
        ilink.state.scan(person, code)
        ilink.state.confirm(code)
        await bridge.printed(f"{person} is logged in. Now write any word to the bot")
        await bridge.event("ilink state", channel=f"ilink:{person}", state="waiting_for_word")
        ilink.state.say(person, "你好")
        await bridge.event("ilink state", channel=f"ilink:{person}", state="online")
    await wait_until(lambda: "hello master!" in read_phone(ilink))
    ilink.state.find_phone(PERSON).chat.clear()
    bridge.output.clear()
    ilink.state.end_login("李四")
    await bridge.printed("for ilink:李四 (")
    await wait_until(lambda: any("ilink:李四 needs a scan" in text for text in read_phone(ilink)))
    told = [text for text in read_phone(ilink) if "needs a scan" in text][-1]
    assert f"{ilink.url}/q/x?qrcode=" in told
    assert "alerts come here" not in told, "as the master, and not as a fallback"
    assert "[picture]" not in read_phone(ilink), "which would be another of ten"
    await bridge.printed("ilink:李四 needs a new scan")
    assert (await bridge.get("/readyz?channels=all"))[0] == 503


async def test_the_login_page_takes_the_digits_that_the_phone_shows(harness: BridgeHarness, ilink: IlinkServer) -> None:
    path = write(harness, ilink)
    path.write_text(path.read_text(encoding="utf-8").replace(", 李四", ""), encoding="utf-8")
    bridge = await start(harness, path)
    await bridge.event("ilink state", state="waiting_for_scan")
    ilink.state.scan(PERSON, digits="2468")
    await bridge.event("ilink state", state="scanned")
    jar = aiohttp.CookieJar(unsafe=True)  # which keeps the cookies of an address in figures
    async with aiohttp.ClientSession(bridge.url, headers={"Accept": "text/html"}, cookie_jar=jar) as browser:

        async def look() -> str:
            async with browser.get("/console/login") as answer:
                return await answer.text()

        async def post(digits: str) -> str:
            csrf = re.search(r'name="csrf" value="(\w+)"', await look())
            assert csrf
            form = {"csrf": csrf[1], "channel": f"ilink:{PERSON}", "digits": digits, "back": "/console/login"}
            async with browser.post("/console/login/digits", data=form) as answer:
                return await answer.text()

        page = await look()
        assert "The phone shows digits. Type them here." in page
        assert page.count('<section class="card channel"') == 2, "one for each person, and the console's"
        assert "nothing else" in await post("12a4")
        assert "being looked at" in await post("1111")
        await wait_until(lambda: next(iter(ilink.state.codes.values())).wrong == 1)
        how = f"type them on the login page, or run `wxbridge login {PERSON}`"
        await bridge.event(
            "ilink state", state="scanned", detail=f"the digits were wrong; the phone shows digits: {how}"
        )
        assert "Those were not right" in await look()
        await post("2468")
        await wait_until(lambda: next(iter(ilink.state.codes.values())).status == "scaned")
        ilink.state.confirm()
        await bridge.event("ilink state", state="waiting_for_word")
        assert 'name="digits"' not in await look()


async def test_the_demo_shows_the_private_chat(launcher: Launcher, tmp_path: Path) -> None:
    page, listen = free_port(), free_port()
    request = {
        "arguments": ["demo", "--channel", "ilink", "--auto-scan", "--page-port", str(page)],
        "directory": str(tmp_path),
        "environment": os.environ | {"WXBRIDGE_LISTEN": f"127.0.0.1:{listen}", "INSPECTION_CRON": "0 0 1 1 *",
                                     "CHART_CRON": "0 0 1 1 *"},
    }  # fmt: skip
    demo = await ForkedProcess.start(launcher, request)
    try:
        async with asyncio.timeout(60):
            while "[WeChat] 张三: hello master!" not in (line := (await demo.stdout.readline()).decode()):
                assert line, "it has ended"
    finally:
        demo.send_signal(signal.SIGTERM)
        await demo.communicate()
    assert demo.returncode == 0


ALERTMANAGER_YML = """\
route: {{receiver: wechat, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}}
receivers:
- name: wechat
  wechat_configs:
  - api_url: {url}/compat/wecom/cgi-bin/
    corp_id: anything
    api_secret: the-key
    agent_id: "1000002"
    to_user: "@all"
    message_type: {kind}
    send_resolved: true
"""


@needs_alertmanager
@pytest.mark.parametrize("kind", ["text", "markdown"])
async def test_alertmanagers_own_wechat_configs_reach_the_private_chat(
    harness: BridgeHarness, ilink: IlinkServer, kind: str
) -> None:
    path = write(harness, ilink)
    text = path.read_text(encoding="utf-8").replace(", 李四", "")
    path.write_text(f"{text}hooks: {{compat: [{{key: the-key, to: [zhang]}}]}}\n", encoding="utf-8")
    bridge = await start(harness, path)
    await bridge.event("ilink state", state="waiting_for_scan")
    ilink.state.scan(PERSON)
    ilink.state.confirm()
    await bridge.event("ilink state", state="waiting_for_word")
    ilink.state.say(PERSON, "你好")
    await bridge.event("ilink state", state="online")
    config = ALERTMANAGER_YML.format(url=bridge.url, kind=kind)
    async with run_alertmanager(harness.directory, config) as alertmanager:
        await post_alerts(alertmanager, {"alertname": "磁盘满", "severity": "critical", "instance": "db-1"})
        await wait_until(lambda: any("磁盘满" in text for text in read_phone(ilink)))
        ended = [{"labels": {"alertname": "磁盘满", "severity": "critical", "instance": "db-1"},
                  "endsAt": datetime.now(UTC).isoformat()}]  # fmt: skip
        async with aiohttp.ClientSession() as session, session.post(f"{alertmanager}/api/v2/alerts", json=ended) as got:
            assert got.status == 200
        await wait_until(lambda: sum("磁盘满" in text for text in read_phone(ilink)) == 2)
    fired, resolved = [text for text in read_phone(ilink) if "磁盘满" in text]
    assert fired.splitlines()[0] != resolved.splitlines()[0]
    assert "✅" in resolved
    assert "db-1" in fired
    assert "the-key" not in str(bridge.logs)
