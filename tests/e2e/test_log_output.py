"""Nobody reads the log, its disk is full, or its reader is gone: the bridge serves, and ends when told to."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .bridge_harness import WAIT
from .test_main_job import legacy

POSTS = 120
"""More lines than the smallest pipe holds, two for each post."""


@contextmanager
def unread_pipe() -> Iterator[int]:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield write
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@contextmanager
def full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ask(url: str, body: object = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data), timeout=WAIT) as answer:
        return str(answer.read().decode())


def dropped_lines(url: str) -> float:
    families = text_string_to_metric_families(ask(f"{url}/metrics"))
    return sum(each.value for family in families for each in family.samples if "log_lines_dropped_total" in each.name)


@pytest.mark.parametrize("output", [unread_pipe, pipe_without_reader, full_disk])
def test_whatever_becomes_of_the_log_the_bridge_serves(output: object, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "jobs.yaml"
    config.write_text(
        f'server: {{listen: "127.0.0.1:{port}"}}\ntargets: {{term: {{channel: console}}}}\nroutes: [{{to: [term]}}]\n'
        "jobs: [{id: tick, every: 1s, kind: text, text: tick, to: [term]}]\n",
        encoding="utf-8",
    )
    url = f"http://127.0.0.1:{port}"
    with output() as descriptor:  # type: ignore[operator]
        command = [sys.executable, "-m", "wxbridge", "run", "-c", str(config), "--log-level", "debug"]
        bridge = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor)
        try:
            deadline = time.monotonic() + 2 * WAIT
            while True:
                try:
                    ask(f"{url}/healthz")
                    break
                except (URLError, OSError):
                    assert time.monotonic() < deadline, "it does not serve"
                    time.sleep(0.1)
            for index in range(POSTS):
                assert json.loads(ask(f"{url}/hooks/grafana", legacy(f"n {index}")))["queued"] == 1
            assert ask(f"{url}/healthz")
            if output is not unread_pipe:  # there the queue holds them all
                assert dropped_lines(url) > 100
            bridge.send_signal(signal.SIGTERM)
            assert bridge.wait(5 + WAIT / 4) == 0
        finally:
            bridge.kill()
            bridge.wait()
