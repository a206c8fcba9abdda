"""A start that waits for its disk, on a real socket."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest

from wxbridge.config.server import ServerSettings
from wxbridge.core.errors import StorageError, UnusableState
from wxbridge.web import waiting
from wxbridge.web.listener import HttpListener
from wxbridge.web.waiting import WaitingStart


async def test_a_start_is_tried_until_the_disk_takes_it_and_senders_and_systemd_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "START_RETRY_SECONDS", 0.01)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    listener = HttpListener()
    start = WaitingStart(listener, ServerSettings(listen="127.0.0.1:0"))
    answers: list[tuple[int, bool]] = []

    async def open_something() -> str:
        if listener.port:
            async with aiohttp.ClientSession() as session:
                for method, path in (("POST", "/hooks/grafana?to=ops"), ("GET", "/healthz"), ("GET", "/readyz")):
                    async with session.request(method, f"http://127.0.0.1:{listener.port}{path}") as answer:
                        answers.append((answer.status, "Retry-After" in answer.headers))
                        assert "secret" not in await answer.text()
            return "open"
        raise StorageError("/secret/place is full")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        assert await start.insist(open_something) == "open"
        assert b"EXTEND_TIMEOUT_USEC=30000000" in systemd.recv(4096)
    assert answers == [(503, True), (200, False), (503, False)]
    await listener.close()


async def test_a_start_that_no_waiting_mends_fails_at_once() -> None:
    async def fail() -> None:
        raise UnusableState("a newer schema")

    with pytest.raises(UnusableState):
        await WaitingStart(HttpListener(), ServerSettings()).insist(fail)
