"""The command `host`: as somebody writes it, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.integration.bot.bot_harness import Asker, services
from wxbridge.bot.command import Reply
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.model import PictureSpec, Text
from wxbridge.core.text.i18n import Language
from wxbridge.hosts.samples import Host, Sample, make_history

NOW = 1_767_261_600.0


def a_host(name: str, cpu: float, *, silent: float | None = None, disk: float = 50.0, **exceeded: str) -> Host:
    samples = [Sample(NOW - 3600 + at * 10, {"cpu": cpu, "memory": 20.0, "disk:/": disk}) for at in range(360)]
    return Host(name, make_history(samples, 10), {"cores": 4.0}, silent, exceeded=exceeded)


async def asked(text: str, hosts: Sequence[Host], language: Language = "en") -> Reply:
    at = datetime.fromtimestamp(NOW, UTC).astimezone(ZoneInfo("Asia/Shanghai"))
    monitor = SimpleNamespace(list_hosts=lambda: hosts)
    return await Asker(services(hosts=monitor), at).reply(f"host {text}", language)


def text_of(reply: Reply) -> str:
    assert isinstance(reply.bodies[0], Text)
    return reply.bodies[0].text


def chart_of(reply: Reply) -> dict[str, Any]:
    spec = reply.bodies[1]
    assert isinstance(spec, PictureSpec)
    assert spec.kind == "host_chart"
    return dict(spec.params)


async def test_the_only_machine_needs_no_name() -> None:
    answers = await asked("", [a_host("web-1", 12.0)])
    assert text_of(answers).startswith("📊 web-1 · 17:00 – 18:00\n🟢 CPU 12 % (mean 12 %, max 12 %)")
    params = chart_of(answers)
    assert (params["start"], params["end"]) == (NOW - 3600, NOW)


async def test_of_several_machines_each_has_a_line() -> None:
    hosts = [a_host("web-1", 12.0), a_host("db-1", 95.0), a_host("db-2", 5.0, silent=NOW - 600)]
    answers = await asked("", hosts, "zh")
    assert [text_of(answers)] == [
        (
            "1. 🟡 web-1 · CPU 12 % · 内存 20 % · 磁盘 / 50 %\n"
            "2. 🔴 db-1 · CPU 95 % · 内存 20 % · 磁盘 / 50 %\n"
            "3. ⚪ db-2 · 已 10分钟 无数据\n"
            "发送“主机 名称”查看详情和图表。"
        )
    ]


@pytest.mark.parametrize(("severity", "mark"), [("critical", "🔴"), ("严重", "🔴"), ("warning", "🟡"), ("mine", "🟡")])
async def test_what_is_above_its_own_threshold_is_not_green(severity: str, mark: str) -> None:
    host = a_host("web-1", 12.0, memory=severity)
    lines = text_of(await asked("", [host])).splitlines()
    assert lines[1].startswith("🟢 CPU 12 %")
    assert lines[2].startswith(f"{mark} memory 20 %")
    listed = text_of(await asked("", [host, a_host("db-1", 95.0, memory=severity)])).splitlines()
    assert listed[0].startswith(f"1. {mark} web-1 · CPU 12 %")
    assert listed[1].startswith("2. 🔴 db-1"), "what is worse by the levels stays that"
    assert text_of(await asked("today 9-17", [host])).splitlines()[2].startswith("🟢 memory"), "that is over"


@pytest.mark.parametrize("text", ["db-1", "DB-1", "d", "db-1 last 30 minutes", "db-1 最近30分钟"])
async def test_a_machine_is_named_in_any_case_or_by_its_beginning_with_a_range(text: str) -> None:
    answers = await asked(text, [a_host("web-1", 12.0), a_host("db-1", 95.0)])
    assert text_of(answers).startswith("📊 db-1")
    seconds = 1800 if "30" in text else 3600
    assert chart_of(answers)["start"] == NOW - seconds


async def test_the_only_machine_takes_a_range_alone() -> None:
    assert chart_of(await asked("last 30 minutes", [a_host("web-1", 12.0)]))["start"] == NOW - 1800


async def test_of_a_young_machine_the_minutes_are_shown_that_there_are() -> None:
    young = Host("web-1", make_history([Sample(NOW - at, {"cpu": 5.0}) for at in range(600, 0, -10)], 10), {})
    answers = await asked("", [young])
    assert text_of(answers).startswith("📊 web-1 · 17:50 – 18:00\n🟢 CPU 5 %")
    assert "nothing measured" not in text_of(answers)
    assert chart_of(answers)["start"] == NOW - 600
    newborn = Host("web-1", make_history([Sample(NOW - 10, {"cpu": 5.0})], 10), {})
    assert chart_of(await asked("", [newborn]))["start"] == NOW - 300


async def test_a_machine_that_has_not_been_measured_yet_says_so() -> None:
    assert "nothing was measured" in text_of(await asked("", [Host("web-1", make_history([], 10), {"cores": 4.0})]))


async def test_a_full_disk_is_on_the_chart() -> None:
    assert len(chart_of(await asked("", [a_host("web-1", 12.0)]))["panels"]) == 2
    assert len(chart_of(await asked("", [a_host("web-1", 12.0, disk=93.0)]))["panels"]) == 3


@pytest.mark.parametrize(
    ("text", "hosts", "words"),
    [
        ("", [], "No machine is watched"),
        ("mail-1", ["web-1", "db-1"], "No machine is called “mail-1”; there are web-1, db-1"),
        ("db", ["db-1", "db-2"], "“db” could be db-1, db-2"),
        ("db-1 sometimes", ["db-1", "db-2"], "no time range"),
        ("db-1 last 9 days", ["db-1", "db-2"], "kept for 1 d 2 h"),
    ],
)
async def test_what_has_no_answer_says_what_there_is(text: str, hosts: list[str], words: str) -> None:
    with pytest.raises(CannotAnswer) as caught:
        await asked(text, [a_host(name, 1.0) for name in hosts])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "head"),
    [("last 30 minutes", "17:30 – 18:00"), ("yesterday 9-18", "12-31 09:00 – 18:00"),
     ("yesterday", "12-31 00:00 – 01-01 00:00"), ("today 9-10", "01-01 09:00 – 10:00")],
)  # fmt: skip
async def test_of_a_time_that_is_over_the_day_is_told(text: str, head: str) -> None:
    assert text_of(await asked(text, [a_host("web-1", 12.0)])).splitlines()[0] == f"📊 web-1 · {head}"


async def test_what_somebody_wrote_is_not_repeated_at_length() -> None:
    with pytest.raises(CannotAnswer) as caught:
        await asked("x" * 1500, [a_host("web-1", 1.0), a_host("db-1", 1.0)])
    assert len(str(caught.value)) < 200
