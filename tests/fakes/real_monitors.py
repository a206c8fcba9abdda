"""The real Prometheus and the real Alertmanager for tests: Debian's packages prometheus and prometheus-alertmanager."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.support import free_port, wait_until_served

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_alertmanager = pytest.mark.skipif(not ALERTMANAGER, reason="needs Debian's package prometheus-alertmanager")
needs_prometheus = pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="needs Debian's package prometheus")
needs_both = pytest.mark.skipif(
    not (PROMETHEUS and ALERTMANAGER), reason="needs Debian's packages prometheus and prometheus-alertmanager"
)


@asynccontextmanager
async def run_alertmanager(
    folder: Path, config: str = "route: {receiver: none}\nreceivers: [{name: none}]\n", *, port: int | None = None
) -> AsyncIterator[str]:
    """Run an Alertmanager, and give its address when it is ready; it keeps its state in `folder`/alertmanager."""
    file, address = folder / "alertmanager.yml", f"127.0.0.1:{port or free_port()}"
    file.write_text(config, encoding="utf-8")
    async with _running(
        folder / "alertmanager.log", f"http://{address}", str(ALERTMANAGER), f"--config.file={file}",
        f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address=", f"--web.listen-address={address}",
    ) as url:  # fmt: skip
        yield url


@asynccontextmanager
async def run_prometheus(
    folder: Path, config: str = "global: {}\n", *options: str, port: int | None = None
) -> AsyncIterator[str]:
    """Run a Prometheus, and give its address when it is ready; its storage is `folder`/prometheus."""
    file, address = folder / "prometheus.yml", f"127.0.0.1:{port or free_port()}"
    file.write_text(config, encoding="utf-8")
    async with _running(
        folder / "prometheus.log", f"http://{address}", str(PROMETHEUS), f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address={address}", *options,
    ) as url:  # fmt: skip
        yield url


@asynccontextmanager
async def _running(log: Path, url: str, *command: str) -> AsyncIterator[str]:
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(*command, stdout=file, stderr=file)
    try:
        await wait_until_served(f"{url}/-/ready")
        yield url
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def post_alerts(url: str, *labels: dict[str, str]) -> None:
    body = [{"labels": each, "annotations": {"summary": "it is full"}, "generatorURL": "http://p/g"} for each in labels]
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v2/alerts", json=body) as answer:
        assert answer.status == 200, await answer.text()
