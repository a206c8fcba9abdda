"""Staying connected, whatever the gateway does; over real sockets, against the simulator."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import structlog

from tests.integration.channels.wechat.wechat_harness import FAST, HURRIED, room
from wxbridge.channels.wechat.session import WechatSession
from wxbridge.core.errors import Offline
from wxbridge.core.model import ChannelState, Text
from wxbridge.simulator import Simulator

S = ChannelState


async def test_a_scan_of_the_qr_code_brings_it_online(harness):
    harness.start()
    waiting = await harness.state(S.WAITING_FOR_SCAN)
    assert waiting.qrcode == harness.sim.world.qrcode
    harness.sim.world.scan()
    online = await harness.state(S.ONLINE)
    assert online.account == f"小桥 ({harness.sim.world.bot.id})"
    assert online.qrcode is None
    assert list(dict.fromkeys(harness.states)) == [S.CONNECTING, S.WAITING_FOR_SCAN, S.SCANNED, S.ONLINE]


async def test_a_new_qr_code_is_told(harness):
    harness.start()
    first = await harness.state(S.WAITING_FOR_SCAN)
    second = harness.sim.world.refresh_qrcode()
    await harness.until(lambda: harness.channel.status.qrcode == second)
    assert first.qrcode != second
    assert harness.channel.status.since == first.since


async def test_each_state_is_logged_once(harness):
    with structlog.testing.capture_logs() as logs:
        await harness.online()
        harness.sim.gateway.emit_login(harness.sim.world.bot.id)
        harness.sim.gateway.emit_login(harness.sim.world.bot.id)
        harness.sim.world.say("done", contact="张三")
        await harness.until(lambda: harness.inbox)
    states = [line["state"] for line in logs if line["event"] == "wechat state"]
    assert states.count("online") == 1
    assert "qrcode" not in str(logs)


async def test_an_absent_gateway_is_waited_for(make_harness):
    async with Simulator() as sim:
        await sim.gateway.kill()
        async with make_harness(sim) as harness:
            with structlog.testing.capture_logs() as logs:
                harness.start()
                await harness.state(S.UNREACHABLE)
                failures = harness.channel.reconnect.backoff.failures
                await harness.until(lambda: harness.channel.reconnect.backoff.failures > failures + 5)
            told = [line for line in logs if line["event"] == "wechat state"]
            assert [line["state"] for line in told] == ["connecting", "unreachable"]
            assert not any("exc_info" in line for line in logs)
            with pytest.raises(Offline, match="unreachable"):
                await harness.channel.send(room("技术讨论群"), Text("x"))
            await sim.gateway.restart()
            await harness.state(S.WAITING_FOR_SCAN)


async def test_a_gateway_that_accepts_and_stays_silent_is_unreachable(make_harness):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with make_harness(endpoint=f"127.0.0.1:{port}", timing=replace(FAST, deadline=0.2)) as harness:
            harness.start()
            status = await harness.state(S.UNREACHABLE)
            assert "no answer within 0.2 s" in status.detail


async def test_something_that_is_no_gateway_is_unreachable(make_harness):
    async def http(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with make_harness(endpoint=f"127.0.0.1:{port}") as harness:
            harness.start()
            await harness.state(S.UNREACHABLE)


async def test_a_gateway_killed_and_back_needs_no_new_scan(harness):
    await harness.online()
    await harness.sim.gateway.kill()
    await harness.state(S.UNREACHABLE)
    seen = len(harness.statuses)
    await harness.sim.gateway.restart()
    await harness.synced()
    assert S.WAITING_FOR_SCAN not in harness.states[seen:]
    assert harness.sim.gateway.calls.get("Stop", 0) == 0
    await harness.channel.send(room("技术讨论群"), Text("back"))


async def test_a_dropped_connection_is_made_again(harness):
    await harness.online()
    harness.sim.gateway.drop()
    await harness.until(lambda: S.UNREACHABLE in harness.states)
    await harness.synced()
    assert (await harness.channel.send(room("技术讨论群"), Text("back"))).id


async def test_a_frozen_gateway_is_noticed_and_taken_up_again(harness):
    await harness.online()
    harness.sim.gateway.freeze()
    status = await harness.state(S.UNREACHABLE)
    assert "no dong" in status.detail
    seen = len(harness.statuses)
    harness.sim.gateway.thaw()
    await harness.synced()
    assert S.WAITING_FOR_SCAN not in harness.states[seen:]


async def test_the_watchdog_leaves_a_healthy_connection_alone(harness):
    await harness.online()
    dings = harness.sim.gateway.calls["Ding"]
    await harness.until(lambda: harness.sim.gateway.calls["Ding"] > dings + 4)
    assert harness.states.count(S.ONLINE) == 1


async def test_a_wrong_token_is_said_and_retried_slowly(make_harness):
    async with make_harness(token="wrong") as harness:
        harness.start()
        status = await harness.state(S.UNAUTHORISED)
        assert "wechat.token" in status.detail
        assert "wrong" not in status.detail


async def test_a_client_that_took_over_is_left_alone_for_long(harness):
    await harness.online()
    loop = asyncio.get_running_loop()
    harness.sim.gateway.takeover()
    began = loop.time()
    status = await harness.state(S.TAKEN_OVER)
    assert "another client" in status.detail
    assert harness.sim.gateway.calls.get("Stop", 0) == 0
    await harness.until(lambda: harness.sim.gateway.calls.get("Stop", 0))
    assert loop.time() - began >= FAST.takeover
    # The simulator's Stop ends the login, as most puppets' does.
    await harness.state(S.WAITING_FOR_SCAN)


async def test_a_gateway_that_becomes_free_again_is_taken_without_stop(make_harness):
    async with make_harness(timing=replace(FAST, takeover=60)) as harness:
        await harness.online()
        harness.sim.gateway.takeover()
        await harness.state(S.TAKEN_OVER)
        harness.sim.gateway.end_stream()
        await harness.state(S.ONLINE)
        assert harness.sim.gateway.calls.get("Stop", 0) == 0


async def test_another_client_found_at_the_start_is_sent_away_and_it_is_said(harness):
    harness.sim.gateway.takeover()
    with structlog.testing.capture_logs() as logs:
        harness.start()
        await harness.state(S.WAITING_FOR_SCAN)
    assert harness.sim.gateway.calls["Stop"] == 1
    assert [line for line in logs if line["event"] == "wechat gateway taken"]
    assert len(logs) < 6


async def test_logout_scan_online(harness):
    await harness.online()
    harness.sim.world.logout()
    await harness.until(lambda: S.LOGGED_OUT in harness.states)
    status = await harness.state(S.WAITING_FOR_SCAN)
    assert status.qrcode
    assert status.account == ""
    with pytest.raises(Offline):
        await harness.channel.send(room("技术讨论群"), Text("x"))
    harness.sim.world.scan()
    await harness.synced()
    await harness.channel.send(room("技术讨论群"), Text("again"))


async def test_it_ends_at_once_wherever_it_is(make_harness):
    """Cancelled at every state it can be in: gone within two seconds, no task and no socket left."""
    before = asyncio.all_tasks()

    async def gone(harness):
        await harness.stop()
        assert harness.channel.status.state is S.STOPPED
        await harness.until(lambda: harness.sim.gateway.connections == 0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with make_harness() as harness:
            harness.start()
            await asyncio.sleep(0)
            await gone(harness)
            harness.start()
            await harness.until(lambda: harness.sim.gateway.calls.get("Start"))
            await gone(harness)
            harness.start()
            await harness.state(S.WAITING_FOR_SCAN)
            await gone(harness)
            harness.start()
            await harness.state(S.WAITING_FOR_SCAN)
            harness.sim.world.scan()
            await harness.state(S.ONLINE)
            await gone(harness)
            harness.start()
            await harness.state(S.ONLINE)
            harness.sim.gateway.freeze()
            await gone(harness)
            harness.start()
            await harness.until(lambda: harness.sim.gateway.connections)
            await gone(harness)
            await harness.sim.gateway.kill()
            harness.start()
            await harness.state(S.UNREACHABLE)
            await gone(harness)
        gc.collect()
    left = {task for task in asyncio.all_tasks() - before if "wechat" in task.get_name() or "exchange" in str(task)}
    assert not left
    assert not [warning for warning in caught if "unclosed" in str(warning.message).lower()]


async def test_a_cancellation_in_the_middle_of_closing_still_closes(make_harness, monkeypatch):
    closing = asyncio.Event()
    close = WechatSession.close

    async def slow(self):
        closing.set()
        await asyncio.sleep(0.05)
        await close(self)

    monkeypatch.setattr(WechatSession, "close", slow)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with make_harness() as harness:
            await harness.online()
            harness.sim.gateway.end_stream()
            await closing.wait()
            assert harness.sim.gateway.connections == 1
            await harness.stop()
            await harness.until(lambda: harness.sim.gateway.connections == 0)
        gc.collect()
    assert not [warning for warning in caught if "unclosed" in str(warning.message).lower()]


async def test_many_reconnects_leave_nothing_behind(harness):
    await harness.online()
    tasks = len(asyncio.all_tasks())
    for _ in range(20):
        seen = len(harness.statuses)
        harness.sim.gateway.drop()
        await harness.until(lambda seen=seen: S.UNREACHABLE in harness.states[seen:])
        await harness.state(S.ONLINE)
    await harness.synced()
    await harness.until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert harness.sim.gateway.connections == 1


async def test_nothing_of_wechaty_reaches_the_terminal(make_harness, capfd):
    async with make_harness() as harness:
        with structlog.testing.capture_logs():
            await harness.online()
            harness.sim.world.say("a secret", room="技术讨论群")
            await harness.until(lambda: harness.inbox)
            await harness.channel.send(room("技术讨论群"), Text("another secret"))
            await harness.sim.gateway.kill()
            await harness.state(S.UNREACHABLE)
            await harness.stop()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_importing_the_plugin_does_not_import_wechaty():
    code = "import sys, wxbridge.channels.wechat, wxbridge.channels.wechat.channel; print('wechaty' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_importing_wechaty_is_quiet_and_leaves_no_files(tmp_path):
    code = (
        "import sys, pathlib; from wxbridge.channels.wechat import compat;"
        "m = compat.load(pathlib.Path('cache')); assert compat.load() is m;"
        "assert 'telnetlib' not in sys.modules;"
        "from wechaty.user.url_link import get_host; assert get_host('http://h:1/')[:2] == ('http', 'h')"
    )
    here = tmp_path / "cwd"
    here.mkdir()
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=here,
        env={"PYTHONPATH": path, "WECHATY_LOG": "debug", "WECHATY_LOG_FILE": str(here / "log")},
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert [entry.name for entry in here.iterdir()] == ["cache"]


async def test_a_process_stopped_by_a_signal_is_noticed_and_taken_up_again(make_harness):
    """SIGSTOP: the kernel goes on accepting connections, nobody answers."""
    code = (
        "import asyncio; from wxbridge.simulator import Simulator, serve;"
        "asyncio.run(serve(Simulator(auto_scan=True), lambda line: print(line, flush=True)))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    )
    try:
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        endpoint = lines[1].rpartition("=")[2].strip()
        token = lines[2].rpartition("=")[2].strip()
        async with make_harness(endpoint=endpoint, token=token, timing=HURRIED) as harness:
            harness.start()
            await harness.synced()
            process.send_signal(signal.SIGSTOP)
            await harness.state(S.UNREACHABLE)
            failures = harness.channel.reconnect.backoff.failures
            await harness.until(lambda: harness.channel.reconnect.backoff.failures > failures)
            seen = len(harness.statuses)
            process.send_signal(signal.SIGCONT)
            await harness.synced()
            assert S.WAITING_FOR_SCAN not in harness.states[seen:]
            await harness.channel.send(room("技术讨论群"), Text("back"))
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.wait()
