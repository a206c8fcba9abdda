"""The server that ships for tests against clients that nobody here wrote: so it speaks as they expect WeCom to.

`@wecom/aibot-node-sdk` (npm) is found where NODE_PATH says, `wecom-aibot-sdk` (PyPI) where PYTHONPATH says; where
they are missing, these tests are skipped.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.channels.wecom_bot.bot_harness import GROUP, bot_fixture

__all__ = ["bot_fixture"]

HERE = Path(__file__).parent
NODE = shutil.which("node")


def _node_sdk() -> bool:
    find = "require.resolve('@wecom/aibot-node-sdk')"
    return bool(NODE) and subprocess.run([NODE or "", "-e", find], capture_output=True, check=False).returncode == 0


CLIENTS = [
    pytest.param(
        [NODE or "", str(HERE / "wecom_bot_node_client.cjs")],
        id="node",
        marks=pytest.mark.skipif(not _node_sdk(), reason="there is no node, or NODE_PATH leads to no SDK"),
    ),
    pytest.param(
        [sys.executable, str(HERE / "wecom_bot_python_client.py")],
        id="python",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("wecom_aibot_sdk") is None, reason="PYTHONPATH leads to no wecom_aibot_sdk"
        ),
    ),
]


class Foreign:
    """A foreign client in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().strip()
        assert line, (await self._process.stderr.read()).decode() if self._process.stderr else ""
        return line


@asynccontextmanager
async def _started(command: list[str], *args: str) -> AsyncIterator[Foreign]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, *args, stdout=pipe, stderr=pipe)
    try:
        yield Foreign(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("command", CLIENTS)
async def test_a_foreign_client_sends_hears_replies_and_is_displaced_by_ours(bot, command):
    server = bot.server
    server.chats.add(GROUP)
    async with _started(command, server.url, "bot-1", "secret-1", GROUP) as client:
        assert await client.line() == "ready"
        await server.event("enter_chat", user="lisi")
        msgid = await server.say("@bot 状态", group=GROUP, user="lisi")
        assert await client.line() == "replied"
        await bot.until(lambda: sum(frame["cmd"] == "ping" for frame in server.frames) > 1)
        await bot.online()
        seen = json.loads(await client.line())

    assert seen["messages"] == [[msgid, "group", "lisi", "@bot 状态"]]
    assert (seen["events"], seen["errors"], seen["connected"]) == (["enter_chat", "disconnected_event"], [], True)
    assert (seen["sent"], seen["welcome"], seen["picture"], seen["reply"]) == ("ok", "ok", "ok", ["ok"] * 3)
    assert "invalid message type" in seen["asText"]
    assert "invalid chatid" in seen["nobody"]
    picture = hashlib.sha256(b"a").digest() * 40_000
    assert sorted((sent.kind, sent.chat) for sent in server.sent) == sorted(
        [
            ("markdown", GROUP), ("image", GROUP), ("text", "lisi"), ("stream", GROUP), ("stream", GROUP),
            ("image", GROUP),
        ]
    )  # fmt: skip
    assert {sent.media for sent in server.sent if sent.kind == "image"} == {picture}
    assert [sent.text for sent in server.sent if sent.kind == "stream"] == ["working", "working: done"]


@pytest.mark.parametrize("command", CLIENTS)
async def test_a_foreign_client_with_a_wrong_secret_is_refused_as_it_expects(bot, command):
    async with _started(command, bot.server.url, "bot-1", "wrong", GROUP) as client:
        seen = json.loads(await client.line())
    assert "invalid bot_id or secret" in seen["errors"][0]
    assert "853000" in seen["errors"][0]
