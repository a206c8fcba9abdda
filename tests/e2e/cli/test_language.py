"""The command line and the API speak the language of `language:`, else that of `$LANG`."""

from __future__ import annotations

import json
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
from wxbridge.cli.commands import COMMANDS
from wxbridge.core.text.i18n import load_texts

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


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the terminal's language by its environment alone."""
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)


ENGLISH = re.compile(r"[A-Z]?[a-z]{2,}(?: [a-z]{2,}){2}")
"""Three words one after another."""
SUBCOMMANDS = [
    "alert test", "jobs list", "jobs mute", "jobs run", "jobs unmute", "outbox drop", "outbox list", "outbox retry",
    "outbox show", "routes show", "routes test", "silences add", "silences expire", "silences list", "template render",
]  # fmt: skip


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("columns", ["60", "100"])
@pytest.mark.parametrize("words", ["", *COMMANDS, *SUBCOMMANDS])
def test_a_help_is_chinese_and_whole_however_narrow_the_terminal(
    run: Callable[..., Done],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = run(*words.split(), "--help")
    assert done.code == 0
    usage, _, rest = done.out.lstrip().partition("\n")
    assert usage.startswith("用法：")
    assert not ENGLISH.search(rest), rest
    shown = re.sub(r"[\s│]", "", done.out)
    assert "显示本帮助。" in shown
    about = load_texts("zh")[".".join(["help", *words.split(), "about"])]
    assert re.sub(r"\s", "", about) in shown


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    "words",
    ["silence", "send", "--foo", "outbox", "outbox list --limi 3", "outbox list --limit x", "outbox list --limit 0",
     "outbox retry x", "check --strict=1", "outbox list --limit", "routes test a=b c", "chart --expr a --theme x",
     "chart", "simulator --page-port 99999", "host --push http://127.0.0.1:1 --every x"],
)  # fmt: skip
def test_a_wrong_command_line_is_told_in_chinese(run: Callable[..., Done], words: str) -> None:  # noqa: F811
    done = run(*words.split())
    assert done.code == 2
    said = done.err.rpartition("╭")[2]
    assert not ENGLISH.search(said), said
    assert CHINESE.search(said or done.out)


def test_the_language_of_a_help_is_that_of_the_file_that_is_named(
    run: Callable[..., Done],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANG", "C")
    named = tmp_path / "other.yaml"
    named.write_text("language: zh\n]] this is no YAML\n", encoding="utf-8")
    for words in (["-c", named], [f"-c{named}"], ["--config", named], [f"--config={named}"]):
        assert "检查配置文件" in run("check", *words, "--help").out
    assert "Check the configuration" in run("check", "--help").out
    named.write_text("language: zh]\n", encoding="utf-8")
    assert "Check the configuration" in run("check", "-c", named, "--help").out
    monkeypatch.setenv("LANG", "zh_CN.GBK")
    assert "检查配置文件" in run("check", "-c", named, "--help").out


@pytest.mark.usefixtures("chinese")
def test_the_headings_and_cells_of_every_listing_are_chinese_and_its_json_is_not(
    run: Callable[..., Done],  # noqa: F811
    config_file: Callable[[str], Path],
) -> None:
    config_file(
        "language: zh\ntargets: {a: {channel: console}}\noperators: [a]\nroutes: [{to: [a], match: {x: y}}]\n"
        f"server: {{listen: '127.0.0.1:{free_port()}'}}\n"
        "jobs:\n"
        "  - {id: b, every: 1h, kind: text, text: '{{ nobody }}', to: a}\n"
        "  - {id: c, every: 1h, kind: text, text: c, to: a}\n"
    )
    assert run("send", "a", "1").code == 0
    run("outbox", "drop", "1")
    run("jobs", "run", "b")
    run("jobs", "run", "c")
    run("silences", "add", "x=y", "--for", "2h")
    for words in ("status", "doctor", "jobs list", "outbox list", "silences"):
        heading, *rows = run(*words.split()).out.splitlines()
        assert all(CHINESE.search(cell) for cell in re.split(r"\s{2,}", heading.strip())), heading
        assert rows
        assert not any(ENGLISH.search(row) for row in rows), rows
        for row in json.loads(run(*words.split(), "--json").out):
            assert not any(CHINESE.search(cell) for cell in (*row, str(row.get("state"))))
    for words in ("outbox show 1", "routes show", "routes test x=z", "routes test x=y"):
        done = run(*words.split())
        for line in (done.out + done.err).splitlines():
            assert CHINESE.search(line) or not re.search("[a-z]{2}", line), line


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
            ({}, "/login/nowhere", None),
            ({}, "/pictures/nothing", None),
            ({"Authorization": "Bearer abc"}, "/api/nowhere", None),
            ({"Authorization": "Bearer abc"}, "/hooks/nowhere", b"{}"),
            ({"Authorization": "Bearer abc"}, "/hooks/grafana?to=nobody", b"{}"),
            ({"Authorization": "Bearer abc"}, "/api/alerts", b"{}"),
            ({"Authorization": "Bearer abc"}, "/hooks/grafana", bytes(30_000_000)),
            ({"Authorization": "Bearer abc", "X-Long": "x" * 20_000}, "/api/alerts", None),
            ({"Authorization": "Bearer wrong"}, "/hooks/grafana", b"{}"),
            ({"Authorization": "Bearer abc"}, "/api/silences", b'{"x": 1}'),
        ):
            method = "GET" if body is None else "POST"
            async with session.request(method, url + path, headers=headers, data=body) as answer:
                assert answer.status >= 400
                said = (await answer.json())["error"]
            assert bool(CHINESE.search(said)) is (language == "zh"), said
