"""`wxbridge host`: with and without a bridge's configuration, and its refusals."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from wxbridge.cli import commands
from wxbridge.cli import host as module
from wxbridge.core.database import Database, sqlite_url
from wxbridge.hosts import store
from wxbridge.hosts.samples import Sample

CONFIG = "state_dir: state\nhost: {name: web-1, cpu: 80}\n"


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)
    monkeypatch.delenv("WXBRIDGE_TOKEN", raising=False)
    monkeypatch.setattr(module, "BETWEEN", 0.01)
    # Else the log of later tests would go to what the runner has closed.
    monkeypatch.setattr(module.logging, "configure", lambda *_: None)


def run(*words: str):
    return CliRunner().invoke(commands.app, ["host", *words])


def measured(tmp_path: Path, *names: str) -> None:
    (tmp_path / "jobs.yaml").write_text(CONFIG)
    database = Database.open(sqlite_url(tmp_path / "state"))
    now = time.time()
    samples = [Sample(now - 100 + index * 10, {"cpu": 42.0, "disk:/": 91.0}) for index in range(10)]
    for name in names:
        asyncio.run(database.run(lambda c, name=name: store.save_host(c, name, samples, store.KeptHost(), now)))
    database.close()


def test_without_a_configuration_this_machine_is_measured() -> None:
    done = run()
    assert done.exit_code == 0
    assert "memory" in done.stdout
    assert "load" in done.stdout


def test_as_json_there_is_nothing_else_on_standard_output() -> None:
    (found,) = json.loads(run("--json").stdout)
    assert found["figures"]["memory"] > 0
    assert found["about"]["cores"] >= 1


def test_with_a_bridge_the_machines_that_it_watches_are_told(tmp_path: Path) -> None:
    measured(tmp_path, "web-1", "db-1")
    done = run()
    assert "📊 db-1" in done.stdout
    assert "🟡 CPU 42 % (mean 42 %, max 42 %)" in done.stdout
    assert "🔴 disk / 91 %" in done.stdout
    only = run("db-1", "--json")
    assert [each["name"] for each in json.loads(only.stdout)] == ["db-1"]


def test_a_name_that_there_is_not_is_refused_with_those_there_are(tmp_path: Path) -> None:
    assert run("db-9").exit_code == 2
    measured(tmp_path, "web-1")
    done = run("db-9")
    assert done.exit_code == 2
    assert "there are web-1" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--push", "http://127.0.0.1:9", "--every", "soon"), "no duration"),
        (("--push", "http://127.0.0.1:9", "--every", "1h"), "from 1s to 10m"),
        (("--push", "http://127.0.0.1:9", "--name", "a b"), "no name for a machine"),
    ],
)
def test_wrong_options_are_refused_in_words(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


async def test_the_sampler_ends_in_peace_also_when_it_is_told_twice(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def hook(request: web.Request) -> web.Response:
        await request.read()
        arrived.set()
        return web.json_response({}, status=202)

    served = web.Application()
    served.router.add_post("/hooks/host", hook)
    async with TestServer(served) as server:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wxbridge", "host", "--push", str(server.make_url("/")), "--every", "1s"),
            cwd=tmp_path, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(120):
                await arrived.wait()
                child.send_signal(signal.SIGTERM)
                child.send_signal(signal.SIGTERM)
                _, said = await child.communicate()
        finally:
            with suppress(ProcessLookupError):
                child.kill()
    assert child.returncode == 0
    assert b"Traceback" not in said
    assert b"measuring every 1 s" in said
