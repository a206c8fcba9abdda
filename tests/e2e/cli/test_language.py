"""The command line and the API speak the language of `language:`, else that of `$LANG`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.cli.test_cli import Done, _elsewhere, run  # noqa: F401 - fixtures
from tests.support import free_port
from wxbridge import app

CHINESE = re.compile("[\u3400-\u9fff]")
REST = "targets: {a: {channel: console, failover_after: soon}}\nroutes: [{to: b}]\nkeep: 5\n"


@pytest.mark.parametrize(
    ("line", "locale", "is_chinese"),
    [
        ("language: zh", "C.UTF-8", True),
        ("language: 'zh'   # comment", "en_US.UTF-8", True),
        ("language: en", "zh_CN.UTF-8", False),
        ("# no language", "zh_CN.GBK", True),
        ("# no language", "zh_TW", True),
        ("# no language", "C", False),
        ("language：zh", "zh_CN.UTF-8", True),
        ("language：zh", "en_US.UTF-8", False),
        ("language: chinese", "zh_CN.UTF-8", True),
        ('language: "zh', "C", False),
    ],
)
def test_mistakes_are_told_in_the_language_of_the_file_or_of_the_environment(
    run: Callable[..., Done],  # noqa: F811
    config_file: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    locale: str,
    is_chinese: bool,
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", locale)
    config_file(f"{line}\n{REST}")
    done = run("check")
    assert done.code == 2
    lines = done.err.splitlines()
    assert len(lines) >= 3
    for said in lines:
        assert bool(CHINESE.search(said)) is is_chinese or "：zh" in said, said


@pytest.mark.parametrize(
    "words",
    ["check", "alerts", "silences", "jobs list", "outbox list", "rooms", "contacts", "send nobody x", "backup b",
     "restore nowhere", "jobs run x", "alert test --source x", "outbox show 9", "silences add a=b", "init",
     "demo --listen x"],
)  # fmt: skip
def test_every_line_of_a_command_is_chinese_where_the_file_says_so(
    run: Callable[..., Done],  # noqa: F811
    config_file: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    config_file("language: zh\ntargets: {a: {channel: console}}\noperators: [a]\nroutes: [{to: a}]\n")
    done = run(*words.split())
    assert done.err
    for line in done.err.splitlines():
        assert CHINESE.search(line), line


@asynccontextmanager
async def answers(read: Callable[..., Any], language: str) -> AsyncIterator[str]:
    config = read(
        f"language: {language}\nserver: {{listen: '127.0.0.1:{free_port()}', token: abc}}\n"
        "targets: {a: {channel: console}}\nroutes: [{to: a}]\n"
    )
    async with app.running(config) as bridge:
        yield bridge.url


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_errors_of_the_api_are_told_in_the_language_of_the_file(read: Callable[..., Any], language: str) -> None:
    async with answers(read, language) as url, aiohttp.ClientSession() as session:
        for headers, path, body in (
            ({}, "/api/silences", None),
            ({"Authorization": "Bearer wrong"}, "/hooks/grafana", b"{}"),
            ({"Authorization": "Bearer abc"}, "/api/silences", b'{"x": 1}'),
        ):
            method = "GET" if body is None else "POST"
            async with session.request(method, url + path, headers=headers, data=body) as answer:
                assert answer.status >= 400
                said = (await answer.json())["error"]
            assert bool(CHINESE.search(said)) is (language == "zh"), said
