"""`wxbridge demo` in an empty folder: every command beside it finds it, and a taken port is named by its option."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.bridge_harness import ForkedProcess, Launcher
from tests.support import free_port

WAIT = 60.0
QUIET = {"INSPECTION_CRON": "0 0 1 1 *", "CHART_CRON": "0 0 1 1 *"}


class Shell:
    """Runs commands in a folder, each forked by the launcher."""

    def __init__(self, launcher: Launcher, folder: Path) -> None:
        self._launcher, self.folder = launcher, folder

    async def start(self, *words: str, **environment: str) -> ForkedProcess:
        request = {"arguments": words, "directory": str(self.folder), "environment": {**os.environ, **environment}}
        return await ForkedProcess.start(self._launcher, request)

    async def run(self, *words: str, **environment: str) -> tuple[int, str, str]:
        process = await self.start(*words, **environment)
        out, err = await asyncio.wait_for(process.communicate(), 2 * WAIT)
        assert "Traceback" not in err.decode()
        return process.returncode or 0, out.decode(), err.decode()

    @asynccontextmanager
    async def running_demo(self, *options: str, **environment: str) -> AsyncIterator[asyncio.StreamReader]:
        """Run a demo for the length of a `with` block, from its greeting on; gives what it prints."""
        process = await self.start("demo", "--auto-scan", *options, **QUIET, **environment)
        try:
            await printed(process.stdout, "hello master!")
            yield process.stdout
        finally:
            process.send_signal(signal.SIGTERM)
            await process.communicate()
        assert process.returncode == 0


@pytest.fixture
def shell(launcher: Launcher, tmp_path: Path) -> Shell:
    return Shell(launcher, tmp_path)


async def printed(output: asyncio.StreamReader, words: str) -> None:
    async with asyncio.timeout(WAIT):
        while words not in (line := (await output.readline()).decode()):
            assert line, "it has ended"


async def test_commands_in_the_folder_of_a_demo_find_it_whatever_its_ports(shell: Shell) -> None:
    page, gateway, listen = free_port(), free_port(), free_port()
    ports = ["--page-port", str(page), "--gateway-port", str(gateway), "--listen", f"127.0.0.1:{listen}"]
    async with shell.running_demo(*ports, WXBRIDGE_TOKEN="a-t0ken") as output:
        # A shell of its own, which knows nothing of the token.
        code, out, err = await shell.run("doctor", "--json")
        assert (code, err) == (0, "")
        found = {row["name"]: row for row in json.loads(out)}
        assert {row["state"] for row in found.values()} == {"ok"}
        assert str(listen) in found["bridge"]["found"]
        assert str(gateway) in found["gateway"]["found"]
        code, out, err = await shell.run("jobs", "list", "--json")
        assert (code, {row["id"] for row in json.loads(out)}) == (0, {"inspection", "hourly-chart", "hello"})
        code, out, err = await shell.run("alert", "test")
        assert code == 0, err
        await printed(output, "[WeChat] 技术讨论群: 📨")
        for words in (["alerts", "--json"], ["outbox", "list", "--json"], ["rooms", "--json"]):
            code, out, err = await shell.run(*words)
            assert code == 0, err
            assert isinstance(json.loads(out), list)
        code, _, err = await shell.run("render", "/dashboard", "-o", "out.png")
        assert code == 0, err
        assert (await shell.run("status"))[0] == 0
    assert (await shell.run("status"))[0] == 1
    assert (await shell.run("outbox", "list"))[1], "what it did can still be looked at"
    for words in ("run", "check"):
        code, _, err = await shell.run(words)
        assert (code, err.count("jobs.yaml")) == (2, 1), "a demo is no configuration"


async def test_a_demo_of_a_file_is_found_too_and_stays_out_of_the_way_of_a_bridge(shell: Shell) -> None:
    (shell.folder / "jobs.yaml").write_text(
        "server: {listen: '127.0.0.1:1'}\nwechat: {endpoint: '127.0.0.1:9', token: t, master: 主人, "
        "greeting: hello master!}\ntargets: {a: {channel: wechat, room: 技术讨论群}}\nroutes: [{to: [a]}]\n",
        encoding="utf-8",
    )
    gateway = str(free_port())
    ports = ["--page-port", "0", "--gateway-port", gateway, "--listen", f"127.0.0.1:{free_port()}"]
    async with shell.running_demo(*ports):
        assert gateway in (await shell.run("doctor"))[1]
        assert (await shell.run("alert", "test"))[0] == 0
    assert gateway not in (await shell.run("doctor"))[1]


@pytest.mark.parametrize("option", ["--listen", "--gateway-port", "--page-port"])
@pytest.mark.parametrize("channel", ["wechat", "ilink"])
async def test_a_port_that_is_taken_is_named_by_its_option(shell: Shell, option: str, channel: str) -> None:
    if channel == "ilink" and option == "--gateway-port":
        pytest.skip("there is no gateway")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = {"--listen": "127.0.0.1:0", "--gateway-port": "0", "--page-port": "0"}
        options |= {option: f"127.0.0.1:{port}" if option == "--listen" else str(port)}
        words = [word for pair in options.items() for word in pair]
        code, _, err = await shell.run("demo", "--channel", channel, *words)
    assert code == 1
    last = err.splitlines()[-1]
    assert f":{port}" in last
    assert option in last


async def test_a_bridge_names_server_listen_where_its_port_is_taken(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        (shell.folder / "jobs.yaml").write_text(
            f"server: {{listen: '{listen}'}}\ntargets: {{a: {{channel: console}}}}\nroutes: [{{to: [a]}}]\n",
            encoding="utf-8",
        )
        code, _, err = await shell.run("run")
    assert code == 1
    assert "server.listen" in err
    assert listen in err


@pytest.mark.parametrize("listen", ["nowhere", ":8080", "127.0.0.1:99999", "0.0.0.0:8080"])
async def test_an_address_that_is_none_or_lets_anybody_in_is_refused(shell: Shell, listen: str) -> None:
    code, _, err = await shell.run("demo", "--listen", listen, WXBRIDGE_TOKEN="")
    assert code == 2
    assert f"--listen {listen}" in err
    assert not list(shell.folder.iterdir())
