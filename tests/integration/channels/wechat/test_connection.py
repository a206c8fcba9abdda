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

from tests.integration.channels.wechat.wechat_harness import FAST, room
from wxbridge.channels.wechat.session import WechatSession
from wxbridge.core.errors import Offline
from wxbridge.core.model import ChannelState, Text
from wxbridge.simulator import Simulator

S = ChannelState


async def test_a_scan_of_the_qr_code_brings_it_online(bench):
    bench.start()
    waiting = await bench.state(S.WAITING_FOR_SCAN)
    assert waiting.qrcode == bench.sim.world.qrcode
    bench.sim.scan()
    online = await bench.state(S.ONLINE)
    assert online.account == f"小桥 ({bench.sim.world.bot.id})"
    assert online.qrcode is None
    assert list(dict.fromkeys(bench.states)) == [S.CONNECTING, S.WAITING_FOR_SCAN, S.SCANNED, S.ONLINE]


async def test_a_new_qr_code_is_told(bench):
    bench.start()
    first = await bench.state(S.WAITING_FOR_SCAN)
    second = bench.sim.refresh_qrcode()
    await bench.until(lambda: bench.channel.status.qrcode == second)
    assert first.qrcode != second
    assert bench.channel.status.since == first.since


async def test_each_state_is_logged_once(bench):
    with structlog.testing.capture_logs() as logs:
        await bench.online()
        bench.sim.gateway._emit_login(bench.sim.world.bot.id)
        bench.sim.gateway._emit_login(bench.sim.world.bot.id)
        bench.sim.say("done", contact="张三")
        await bench.until(lambda: bench.inbox)
    states = [line["state"] for line in logs if line["event"] == "wechat state"]
    assert states.count("online") == 1
    assert "qrcode" not in str(logs)


async def test_an_absent_gateway_is_waited_for(make_bench):
    async with Simulator() as sim:
        await sim.kill_gateway()
        async with make_bench(sim) as bench:
            with structlog.testing.capture_logs() as logs:
                bench.start()
                await bench.state(S.UNREACHABLE)
                failures = bench.channel._failures
                await bench.until(lambda: bench.channel._failures > failures + 5)
            told = [line for line in logs if line["event"] == "wechat state"]
            assert [line["state"] for line in told] == ["connecting", "unreachable"]
            assert not any("exc_info" in line for line in logs)
            with pytest.raises(Offline, match="unreachable"):
                await bench.channel.send(room("技术讨论群"), Text("x"))
            await sim.restart_gateway()
            await bench.state(S.WAITING_FOR_SCAN)


async def test_a_gateway_that_accepts_and_stays_silent_is_unreachable(make_bench):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with make_bench(endpoint=f"127.0.0.1:{port}", timing=replace(FAST, deadline=0.2)) as bench:
            bench.start()
            status = await bench.state(S.UNREACHABLE)
            assert "no answer within 0.2 s" in status.detail


async def test_something_that_is_no_gateway_is_unreachable(make_bench):
    async def http(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with make_bench(endpoint=f"127.0.0.1:{port}") as bench:
            bench.start()
            await bench.state(S.UNREACHABLE)


async def test_a_gateway_killed_and_back_needs_no_new_scan(bench):
    await bench.online()
    await bench.sim.kill_gateway()
    await bench.state(S.UNREACHABLE)
    seen = len(bench.statuses)
    await bench.sim.restart_gateway()
    await bench.synced()
    assert S.WAITING_FOR_SCAN not in bench.states[seen:]
    assert bench.sim.gateway.calls.get("Stop", 0) == 0
    await bench.channel.send(room("技术讨论群"), Text("back"))


async def test_a_dropped_connection_is_made_again(bench):
    await bench.online()
    bench.sim.drop()
    await bench.until(lambda: S.UNREACHABLE in bench.states)
    await bench.synced()
    assert (await bench.channel.send(room("技术讨论群"), Text("back"))).id


async def test_a_frozen_gateway_is_noticed_and_taken_up_again(bench):
    await bench.online()
    bench.sim.freeze()
    status = await bench.state(S.UNREACHABLE)
    assert "no dong" in status.detail
    seen = len(bench.statuses)
    bench.sim.thaw()
    await bench.synced()
    assert S.WAITING_FOR_SCAN not in bench.states[seen:]


async def test_the_watchdog_leaves_a_healthy_connection_alone(bench):
    await bench.online()
    dings = bench.sim.gateway.calls["Ding"]
    await bench.until(lambda: bench.sim.gateway.calls["Ding"] > dings + 4)
    assert bench.states.count(S.ONLINE) == 1


async def test_a_wrong_token_is_said_and_retried_slowly(make_bench):
    async with make_bench(token="wrong") as bench:
        bench.start()
        status = await bench.state(S.UNAUTHORISED)
        assert "wechat.token" in status.detail
        assert "wrong" not in status.detail


async def test_a_client_that_took_over_is_left_alone_for_long(bench):
    await bench.online()
    loop = asyncio.get_running_loop()
    bench.sim.takeover()
    began = loop.time()
    status = await bench.state(S.TAKEN_OVER)
    assert "another client" in status.detail
    assert bench.sim.gateway.calls.get("Stop", 0) == 0
    await bench.until(lambda: bench.sim.gateway.calls.get("Stop", 0))
    assert loop.time() - began >= FAST.takeover
    # The simulator's Stop ends the login, as most puppets' does.
    await bench.state(S.WAITING_FOR_SCAN)


async def test_a_gateway_that_becomes_free_again_is_taken_without_stop(make_bench):
    async with make_bench(timing=replace(FAST, takeover=60)) as bench:
        await bench.online()
        bench.sim.takeover()
        await bench.state(S.TAKEN_OVER)
        bench.sim.gateway._end_stream()
        await bench.state(S.ONLINE)
        assert bench.sim.gateway.calls.get("Stop", 0) == 0


async def test_another_client_found_at_the_start_is_sent_away_and_it_is_said(bench):
    bench.sim.takeover()
    with structlog.testing.capture_logs() as logs:
        bench.start()
        await bench.state(S.WAITING_FOR_SCAN)
    assert bench.sim.gateway.calls["Stop"] == 1
    assert [line for line in logs if line["event"] == "wechat gateway taken"]
    assert len(logs) < 6


async def test_logout_scan_online(bench):
    await bench.online()
    bench.sim.logout()
    await bench.until(lambda: S.LOGGED_OUT in bench.states)
    status = await bench.state(S.WAITING_FOR_SCAN)
    assert status.qrcode
    assert status.account == ""
    with pytest.raises(Offline):
        await bench.channel.send(room("技术讨论群"), Text("x"))
    bench.sim.scan()
    await bench.synced()
    await bench.channel.send(room("技术讨论群"), Text("again"))


async def test_it_ends_at_once_wherever_it_is(make_bench):
    """Cancelled at every state it can be in: gone within two seconds, no task and no socket left."""
    before = asyncio.all_tasks()

    async def gone(bench):
        await bench.stop()
        assert bench.channel.status.state is S.STOPPED
        await bench.until(lambda: bench.sim.gateway.connections == 0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with make_bench() as bench:
            bench.start()
            await asyncio.sleep(0)
            await gone(bench)
            bench.start()
            await bench.until(lambda: bench.sim.gateway.calls.get("Start"))
            await gone(bench)
            bench.start()
            await bench.state(S.WAITING_FOR_SCAN)
            await gone(bench)
            bench.start()
            await bench.state(S.WAITING_FOR_SCAN)
            bench.sim.scan()
            await bench.state(S.ONLINE)
            await gone(bench)
            bench.start()
            await bench.state(S.ONLINE)
            bench.sim.freeze()
            await gone(bench)
            bench.start()
            await bench.until(lambda: bench.sim.gateway.connections)
            await gone(bench)
            await bench.sim.kill_gateway()
            bench.start()
            await bench.state(S.UNREACHABLE)
            await gone(bench)
        gc.collect()
    left = {task for task in asyncio.all_tasks() - before if "wechat" in task.get_name() or "exchange" in str(task)}
    assert not left
    assert not [warning for warning in caught if "unclosed" in str(warning.message).lower()]


async def test_a_cancellation_in_the_middle_of_closing_still_closes(make_bench, monkeypatch):
    closing = asyncio.Event()
    close = WechatSession.close

    async def slow(self):
        closing.set()
        await asyncio.sleep(0.05)
        await close(self)

    monkeypatch.setattr(WechatSession, "close", slow)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with make_bench() as bench:
            await bench.online()
            bench.sim.gateway._end_stream()
            await closing.wait()
            assert bench.sim.gateway.connections == 1
            await bench.stop()
            await bench.until(lambda: bench.sim.gateway.connections == 0)
        gc.collect()
    assert not [warning for warning in caught if "unclosed" in str(warning.message).lower()]


async def test_many_reconnects_leave_nothing_behind(bench):
    await bench.online()
    tasks = len(asyncio.all_tasks())
    for _ in range(20):
        seen = len(bench.statuses)
        bench.sim.drop()
        await bench.until(lambda seen=seen: S.UNREACHABLE in bench.states[seen:])
        await bench.state(S.ONLINE)
    await bench.synced()
    await bench.until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert bench.sim.gateway.connections == 1


async def test_nothing_of_wechaty_reaches_the_terminal(make_bench, capfd):
    async with make_bench() as bench:
        with structlog.testing.capture_logs():
            await bench.online()
            bench.sim.say("a secret", room="技术讨论群")
            await bench.until(lambda: bench.inbox)
            await bench.channel.send(room("技术讨论群"), Text("another secret"))
            await bench.sim.kill_gateway()
            await bench.state(S.UNREACHABLE)
            await bench.stop()
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


async def test_a_process_stopped_by_a_signal_is_noticed_and_taken_up_again(make_bench):
    """SIGSTOP: the kernel goes on accepting connections, nobody answers."""
    code = (
        "import asyncio; from wxbridge.simulator import serve;"
        "asyncio.run(serve(gateway_port=0, page_port=0, auto_scan=True, tell=lambda line: print(line, flush=True)))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    )
    try:
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        endpoint = lines[1].rpartition("=")[2].strip()
        async with make_bench(endpoint=endpoint, token=lines[2].rpartition("=")[2].strip()) as bench:
            bench.start()
            await bench.synced()
            process.send_signal(signal.SIGSTOP)
            await bench.state(S.UNREACHABLE)
            failures = bench.channel._failures
            await bench.until(lambda: bench.channel._failures > failures)
            seen = len(bench.statuses)
            process.send_signal(signal.SIGCONT)
            await bench.synced()
            assert S.WAITING_FOR_SCAN not in bench.states[seen:]
            await bench.channel.send(room("技术讨论群"), Text("back"))
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.wait()
