"""Conversations about alerts: what people write, and what they are answered."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.grafana import EDITOR_TOKEN, TOKEN, FakeGrafana
from tests.fakes.postgresql import database_url
from tests.fakes.real_monitors import needs_alertmanager, post_alerts, run_alertmanager
from tests.integration.bot.bot_harness import Asker, services
from tests.support import free_port
from wxbridge.alerts import store
from wxbridge.alerts.firing import FiringOverview
from wxbridge.alerts.service import AlertMonitors, AlertService
from wxbridge.alerts.silences import Silence
from wxbridge.alerts.sources import grafana_legacy
from wxbridge.bot.command import Permission
from wxbridge.bot.commands import list_command_kinds
from wxbridge.bot.commands.alert_arguments import parse_query, parse_silence
from wxbridge.bot.commands.alerts import MAX_ALERTS, MAX_CHOICES
from wxbridge.config.types import GrafanaSettings, WebSource
from wxbridge.core.database import Database
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.text.i18n import Language
from wxbridge.monitors.alertmanager import Alertmanager
from wxbridge.monitors.grafana_alerts import GrafanaAlerts

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 6, 5, 12, tzinfo=SHANGHAI)


def alert(name: str, source: str = "openfalcon", **labels: str) -> Alert:
    return Alert(
        source, AlertStatus.FIRING, name, {"alertname": name, **labels}, starts_at=datetime.now(SHANGHAI) - HOUR,
        fingerprint=f"{name}{sorted(labels.items())}",
    )  # fmt: skip


HOUR = timedelta(hours=1)
DISK = alert("DiskFull", severity="critical", team="db", instance="db-1", mount="/data")
DISK2 = alert("DiskFull", severity="critical", team="db", instance="db-2")
SLOW = alert("Slow", severity="warning", team="web", job="shop")


@dataclass
class Chat:
    """A room where commands are answered, before a real service."""

    alerts: AlertService
    database: Database
    language: Language = "en"

    async def overview(self) -> FiringOverview:
        return await self.alerts.overview()

    async def silences(self) -> list[Silence]:
        return await self.alerts.list_own_silences()

    async def fires(self, *alerts: Alert) -> None:
        groups = [AlertGroup(each.source, "k", each.title, (each,)) for each in alerts]
        await self.database.run(lambda c: store.record_seen(c, groups, now=time.time()))

    async def ask(self, line: str, language: Language | None = None) -> str:
        """What is answered to a line; what cannot be answered begins with a cross."""
        asker = Asker(services(alerts=self.alerts), datetime.now(SHANGHAI))
        return await asker.ask(line, language or self.language)

    async def id_of(self, text: str) -> str:
        return re.findall(r"\[([0-9a-f]+)\]", await self.ask(f"alerts {text}"))[0]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    database = Database.open(database_url(tmp_path / "state"))
    yield lambda **more: Chat(AlertService(database, None, monitors=AlertMonitors(**more)), database)
    database.close()


@pytest_asyncio.fixture
async def chat(make: Callable[..., Chat]) -> Chat:
    return make()


# ---------------------------------------------------------------- alerts


async def test_nothing_fires(chat: Chat) -> None:
    assert await chat.ask("alerts") == "✅ Nothing fires."
    assert await chat.ask("告警", "zh") == "✅ 当前没有告警。"


async def test_what_fires_is_listed_the_worst_first_with_since_and_ids(chat: Chat) -> None:
    await chat.fires(SLOW, DISK)
    head, disk, slow = (await chat.ask("alerts")).splitlines()
    assert head == "2 firing"
    since = rf"since ({DISK.starts_at:%m-%d }|){DISK.starts_at:%H:%M} \(1 h[ \w]*\)"
    assert re.fullmatch(
        rf"1. 🔴 \[[0-9a-f]{{5}}\] critical · DiskFull · instance=db-1, team=db, mount=/data · {since}", disk
    )
    assert re.fullmatch(rf"2. 🟡 \[[0-9a-f]{{5}}\] warning · Slow · job=shop, team=web · {since}", slow)


async def test_what_is_too_much_to_look_through_is_not_hidden(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxbridge.alerts.service.MAX_FIRING_LISTED", 1)
    await chat.fires(SLOW)
    await chat.fires(DISK)
    assert (await chat.ask("alerts Slow")).splitlines() == [
        "None of the 1 alerts that fire fulfils Slow.",
        "⚠️ 1 more fire, mentioned longer ago: these were not looked through",
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("team=db", ["DiskFull"]),
        ('severity=~"crit.*"', ["DiskFull"]),
        ("severity!=critical", ["Slow"]),
        ("team = web", ["Slow"]),
        ("team=~db|web", ["DiskFull", "Slow"]),
        ('{team="db",severity="critical"}', ["DiskFull"]),
        ("DISK", ["DiskFull"]),
        ("shop", ["Slow"]),
        ("team=db slow", []),
        ("/data critical", ["DiskFull"]),
        ("严重", ["DiskFull"]),
        ("severity=严重", ["DiskFull"]),
        ("team=“db”", ["DiskFull"]),
        ("team＝db，severity=critical", ["DiskFull"]),
        ("source=openfalcon", ["DiskFull", "Slow"]),
        ("status=firing", ["DiskFull", "Slow"]),
        ("nowhere", []),
        ("nosuchlabel=", ["DiskFull", "Slow"]),
    ],
)
async def test_matchers_and_words_choose(chat: Chat, query: str, found: list[str]) -> None:
    await chat.fires(SLOW, DISK)
    answer = await chat.ask(f"alerts {query}")
    assert [name for name in ("DiskFull", "Slow") if name in answer.replace("None of", "")] == found
    if not found:
        assert answer.startswith("None of the 2 alerts that fire fulfils")


@pytest.mark.parametrize("query", ["z" * 1500, f'team=~"[{"z" * 1500}', f"={'z' * 1500}"])
async def test_what_somebody_wrote_is_not_repeated_at_length(chat: Chat, query: str) -> None:
    await chat.fires(DISK)
    assert len(await chat.ask(f"alerts {query}")) < 300


async def test_of_a_single_one_all_is_told(chat: Chat) -> None:
    await chat.fires(SLOW, replace(DISK, annotations={"summary": "it is full"}, link="http://p/g"))
    answer = await chat.ask("alerts disk")
    assert "it is full" in answer
    assert "🔗 http://p/g" in answer
    short = answer.splitlines()[-1].strip("[]")
    assert await chat.ask(f"alerts {short}") == answer


async def test_of_many_the_worst_are_shown_and_the_rest_is_counted(chat: Chat) -> None:
    await chat.fires(*(alert("Many", instance=f"i-{n}") for n in range(MAX_ALERTS + 12)), DISK)
    lines = (await chat.ask("alerts")).splitlines()
    assert lines[0] == f"{MAX_ALERTS + 13} firing"
    assert "DiskFull" in lines[1]
    assert len(lines) == MAX_ALERTS + 2
    assert lines[-1] == "… and 13 more; ask for some of them: alerts severity=critical"
    assert (await chat.ask("告警", "zh")).splitlines()[-1] == "……另有 13 条，可加条件查看：告警 severity=critical"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("a=~(", "the regular expression is broken: missing )"), ("=db", "is no matcher; write one like team=db"),
        ('a=~"(?=a)b"', "invalid perl operator"), ('a=~"x{99999}"', "invalid repetition size"),
        (" ".join(f"a{n}=b" for n in range(30)), "at most 20"), ('a="b', "is no matcher"),
    ],
)  # fmt: skip
async def test_a_wrong_matcher_is_told(chat: Chat, query: str, words: str) -> None:
    await chat.fires(DISK)
    for line in (f"alerts {query}", f"silence {query} 2h"):
        answer = await chat.ask(line)
        assert answer.startswith("✗")
        assert words in answer
    assert await chat.silences() == []


# ---------------------------------------------------------------- silence by the bridge's own


async def test_a_silence_by_matchers_is_kept_listed_and_ended(chat: Chat) -> None:
    await chat.fires(SLOW, DISK, DISK2)
    answer = (await chat.ask('silence team=db severity=~"crit.*" 2h moving the data')).splitlines()
    assert re.fullmatch(r'🔕 Silenced until [\d: -]+: team="db", severity=~"crit\.\*"', answer[0])
    assert answer[1] == "It covers 2 of the alerts that fire now."
    [kept] = await chat.silences()
    assert answer[2] == f"To end it: unsilence {kept.id}"
    assert (kept.created_by, kept.comment) == ("张三", "moving the data")
    end = datetime.fromtimestamp(kept.ends_at, SHANGHAI)
    assert abs(end - datetime.now(SHANGHAI) - 2 * HOUR) < timedelta(minutes=1)
    [listed] = (await chat.ask("silences")).splitlines()
    assert listed.startswith(f"🔕 {kept.id} until ")
    assert listed.endswith('team="db", severity=~"crit.*" (张三: moving the data)')
    lines = (await chat.ask("alerts")).splitlines()
    assert lines[0] == "3 firing, 2 of them silenced"
    assert [f"🔕 silenced ({kept.id})" in line for line in lines[1:]] == [False, True, True]
    assert await chat.ask(f"unsilence {kept.id[:4]}") == '🔔 Ended: team="db", severity=~"crit.*"'
    assert await chat.ask("silences") == "There are no silences."
    assert "silenced" not in await chat.ask("alerts")


async def test_an_alert_is_silenced_by_its_id_and_not_its_kind_elsewhere(chat: Chat) -> None:
    await chat.fires(SLOW, DISK, DISK2)
    answer = await chat.ask(f"silence {await chat.id_of('db-1')} 30m")
    assert 'alertname="DiskFull", instance="db-1"' in answer
    assert "It covers 1 of the alerts that fire now." in answer
    answer = await chat.ask(f"silence {await chat.id_of('Slow')} 30m")
    assert 'alertname="Slow", severity="warning", team="web", job="shop"' in answer, (
        "nothing says where: all its labels"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("silence", "Say what to silence and how long"), ("silence 2h", "Say what to silence"),
        ("silence team=db", "Say how long"), ("silence abcde 2h", "No alert that fires has the id abcde"),
        ("silence disk 2h", "No alert that fires has the id disk"), ("silence team=db disk 2h", "disk is no matcher"),
        ('silence a=~".*" 2h', "would silence everything"), ("silence a!=b 2h", "would silence everything"),
        ('silence alertname=~".+" 2h', "would silence everything"), ('silence alertname!="" 2h', "silence everything"),
        ("silence status=firing 2h", "would silence everything"), ("silence {} 2h", "Say how long"),
        ("silence team=db 500d", "a year at most"), ("silence team=db 99999999999h", "a year at most"),
        ("silence team=db until 2020-01-01", "over already"), ("silence team=db until 25:00", "no time that there is"),
        ("silence team=db 0m", "over already"),
    ],
)  # fmt: skip
async def test_what_is_no_silence_is_told_and_nothing_is_silenced(chat: Chat, line: str, words: str) -> None:
    await chat.fires(DISK)
    answer = await chat.ask(line)
    assert answer.startswith("✗")
    assert words in answer
    assert (await chat.ask(line, "zh")).startswith("✗")
    assert await chat.silences() == []


async def test_a_silence_of_nothing_that_fires_says_so(chat: Chat) -> None:
    assert "It covers none of the alerts that fire now." in await chat.ask("silence team=db 2h")
    assert "当前没有符合的告警。" in await chat.ask("静默 team=web 2小时 升级", "zh")
    assert "升级" in await chat.ask("静默列表", "zh")


async def test_which_silence_is_meant_is_asked_where_it_is_not_said(chat: Chat) -> None:
    await chat.ask("silence a=b 2h")
    await chat.ask("silence c=d 2h")
    ids = [each.id for each in await chat.silences()]
    answer = await chat.ask("unsilence")
    assert answer.startswith("✗ Which one? unsilence ID:")
    assert all(one in answer for one in ids)
    assert (await chat.ask("unsilence zzzz")).startswith("✗ There is no silence zzzz that is not over")


async def test_many_silences_are_counted(chat: Chat) -> None:
    for n in range(17):
        await chat.ask(f"silence a=b{n} {n + 1}h")
    lines = (await chat.ask("silences")).splitlines()
    assert len(lines) == 16
    assert lines[-1] == "… and 2 more"
    digits = [each.id[0] for each in await chat.silences()]
    # Seventeen ids, sixteen digits.
    twice = next(digit for digit in digits if digits.count(digit) > 1)
    assert (await chat.ask(f"unsilence {twice}")).startswith(f"✗ {twice} may be one of several; give more of its id:")


# ---------------------------------------------------------------- ack


async def test_whoever_looks_after_an_alert_is_shown(chat: Chat) -> None:
    await chat.fires(DISK, SLOW)
    short = await chat.id_of("disk")
    assert await chat.ask(f"ack {short} adding a disk") == (
        f"✋ 张三 looks after DiskFull ({short}). It is not repeated until it resolves."
    )
    assert "✋ acked by 张三: adding a disk" in await chat.ask("alerts disk")
    assert "✋ 张三 已认领" in await chat.ask("告警", "zh")
    await chat.fires(replace(DISK, status=AlertStatus.RESOLVED))
    await chat.fires(DISK)
    assert "acked" not in await chat.ask("alerts disk")


async def test_without_an_id_the_only_one_left_is_meant(chat: Chat) -> None:
    assert (await chat.ask("ack")).startswith("✗ Nothing fires that nobody looks after")
    await chat.fires(DISK, SLOW)
    answer = await chat.ask("收到", "zh")
    assert answer.startswith("✗ 是哪一条？请写编号：\n1. 🔴 [")
    await chat.ask(f"ack {await chat.id_of('disk')}")
    assert "looks after Slow" in await chat.ask("ack")
    await chat.fires(*(alert("Many", instance=f"i-{n}") for n in range(MAX_CHOICES + 3)))
    assert (await chat.ask("ack")).splitlines()[-1] == "… and 3 more"


async def test_a_wrong_or_short_id_is_told(chat: Chat) -> None:
    await chat.fires(*(alert("Many", instance=f"i-{n}") for n in range(500)))
    assert (await chat.ask("ack 00000")).startswith("✗ No alert that fires has the id 00000")
    keys = sorted(each.key for each in await chat.alerts.list_firing())
    pair = next((one for one, other in pairwise(keys) if one[:4] == other[:4]), None)
    assert pair, "of 500 some begin with the same four digits"
    answer = await chat.ask(f"ack {pair[:4]}")
    assert answer.startswith(f"✗ {pair[:4]} may be one of several; give more of its id:\n1. 🔥 [{pair[:5]}")
    assert await chat.database.read(store.read_acks) == {}


async def test_who_looked_after_it_before_is_told(chat: Chat) -> None:
    await chat.fires(DISK)
    [found] = (await chat.overview()).alerts
    await chat.alerts.acknowledge(found.keys, "李四", "")
    assert (await chat.ask("ack")).startswith("✗ Nothing fires that nobody looks after")
    assert (await chat.ask(f"ack {found.key[:5]}")).endswith("Before, 李四 did.")


# ---------------------------------------------------------------- with Alertmanager


@needs_alertmanager
async def test_with_alertmanager_a_silence_is_kept_on_both_sides_and_is_one(
    make: Callable[..., Chat], tmp_path: Path
) -> None:
    async with run_alertmanager(tmp_path) as url, Alertmanager(WebSource(url=url)) as server:
        chat = make(alertmanager=server)
        await post_alerts(url, {"alertname": "DiskFull", "instance": "db-1", "severity": "critical", "pod": "p"})
        await chat.fires(SLOW)
        assert (await chat.ask("alerts")).startswith("2 firing\n1. 🔴 [")
        answer = await chat.ask(f"silence {await chat.id_of('db-1')} 2h why not")
        assert 'alertname="DiskFull", instance="db-1", pod="p"' in answer
        [theirs] = await server.list_silences()
        [ours] = await chat.silences()
        assert f"To end it: unsilence {theirs.id[:8]}" in answer
        assert (theirs.created_by, theirs.comment) == ("张三", "why not")
        assert set(theirs.matchers) == set(map(str, ours.matchers))
        [line] = (await chat.ask("silences")).splitlines()
        assert line.startswith(f"🔕 {theirs.id[:8]} until ")
        assert "🔕 silenced (" in await chat.ask("alerts db-1")
        assert (await chat.ask(f"unsilence {ours.id}")).startswith("🔔 Ended: ")
        assert await server.list_silences() == []
        assert await chat.silences() == []

        await chat.ask("silence source!=alertmanager team=web 2h")
        await chat.ask(f"silence {await chat.id_of('Slow')} 2h")
        assert await server.list_silences() == [], "it knows neither the label nor the alert"
        assert len(await chat.silences()) == 2

        await chat.ask("silence team=db 1d")
        assert len(await server.list_silences()) == 1
        assert len((await chat.ask("silences")).splitlines()) == 3
        short = (await server.list_silences())[0].id[:8]
        assert await chat.ask(f"unsilence {short}") == '🔔 Ended: team="db"'
        assert await server.list_silences() == []
        assert len(await chat.silences()) == 2


async def test_without_an_answer_from_alertmanager_the_bridge_alone_silences_and_says_so(
    make: Callable[..., Chat],
) -> None:
    async with Alertmanager(WebSource(url=f"http://127.0.0.1:{free_port()}")) as gone:
        chat = make(alertmanager=gone)
        assert re.fullmatch(
            r"⚠️ Alertmanager did not answer: Alertmanager at .* cannot be reached: .*", await chat.ask("alerts")
        )
        await chat.fires(DISK)
        assert "⚠️ Alertmanager did not answer" in await chat.ask("alerts")
        answer = await chat.ask("silence team=db 2h")
        assert "⚠️ Silenced by this bridge only. Alertmanager at http" in answer
        [kept] = await chat.silences()
        assert "⚠️ Alertmanager 没有应答" in await chat.ask("静默列表", "zh")
        assert "🔔 Ended" in await chat.ask(f"unsilence {kept.id}")
        assert "cannot be reached" in await chat.ask("unsilence 12345678")


# ---------------------------------------------------------------- with Grafana


@pytest_asyncio.fixture
async def grafana() -> AsyncIterator[FakeGrafana]:
    async with FakeGrafana() as fake:
        yield fake


def of(fake: FakeGrafana, token: str = TOKEN) -> GrafanaAlerts:
    return GrafanaAlerts(WebSource(url=fake.url, token=token))


def listed(name: str, silenced_by: tuple[str, ...] = (), **labels: str) -> dict[str, Any]:
    status = {"state": "active", "silencedBy": list(silenced_by), "inhibitedBy": []}
    return {"labels": {"alertname": name, **labels}, "fingerprint": name, "annotations": {}, "status": status}


async def test_a_grafana_that_refuses_is_passed_over_in_a_line_and_one_without_alerting_without_a_word(
    make: Callable[..., Chat], grafana: FakeGrafana
) -> None:
    async with of(grafana) as client:
        chat = make(grafana=client)
        grafana.broken = 403
        assert await chat.ask("alerts") == "⚠️ Grafana did not answer"
        await chat.fires(DISK)
        assert (await chat.ask("告警", "zh")).splitlines()[-1] == "⚠️ Grafana 没有应答"
        grafana.broken = 0
        assert len((await chat.ask("alerts")).splitlines()) == 2
        grafana.alerting.kind = "unified"
        grafana.alerting.alerts = [listed("G", ("11111111-2222-3333-4444-555555555555",))]
        lines = (await chat.ask("alerts")).splitlines()
        assert lines[0] == "2 firing, 1 of them silenced"
        assert lines[2].endswith("] G · 🔕 silenced (11111111)")
        assert len(lines) == 3


async def test_a_wrong_token_lists_nothing_as_anybody(make: Callable[..., Chat], grafana: FakeGrafana) -> None:
    grafana.anonymous, grafana.alerting.kind, grafana.alerting.alerts = True, "unified", [listed("G")]
    async with of(grafana, "expired") as client:
        assert await make(grafana=client).ask("alerts") == "⚠️ Grafana did not answer"
    async with of(grafana) as client:
        assert "] G" in await make(grafana=client).ask("alerts")


async def test_rules_of_legacy_alerting_are_listed_with_those_without_data_or_evaluation_told_apart(
    make: Callable[..., Chat], grafana: FakeGrafana
) -> None:
    grafana.alerting.kind = "legacy"
    posted = {"ruleId": 5, "ruleName": "磁盘快满了", "state": "alerting", "orgId": 1, "tags": {"severity": "critical"},
              "title": "[Alerting] 磁盘快满了", "ruleUrl": "http://grafana.example.com/d/al/x?viewPanel=5"}  # fmt: skip
    async with of(grafana) as client:
        chat = make(grafana=client)
        await chat.fires(*grafana_legacy.read(posted).alerts)
        lines = (await chat.ask("alerts")).splitlines()
        assert lines[0] == "2 firing, 1 no data"
        assert "critical · 磁盘快满了" in lines[1], "the tags are known from the notification alone"
        assert lines[1].startswith("1. 🔴")
        assert lines[2].startswith("2. 🔥")
        assert lines[2].endswith("· ⚠️ cannot be evaluated")
        assert lines[3].startswith("3. ⚪")
        assert "没有值" in lines[3]
        assert len(lines) == 4, "what was posted and what is listed are one"
        answer = await chat.ask("silence alertname=磁盘快满了 2h")
    assert "⚠️" not in answer, "it has no silences, and nothing is wrong"


async def test_a_silence_of_grafana_s_alert_is_kept_there_too_and_ended_there(
    make: Callable[..., Chat], grafana: FakeGrafana
) -> None:
    grafana.alerting.kind, kept = "unified", grafana.alerting.silences
    grafana.alerting.alerts = [listed("CPU", instance="web-1", grafana_folder="Infra")]
    async with of(grafana, EDITOR_TOKEN) as client:
        chat = make(grafana=client)
        await chat.fires(DISK)
        answer = await chat.ask(f"silence {await chat.id_of('CPU')} 2h why not")
        [(made, theirs)] = kept.items()
        assert f"To end it: unsilence {made[:8]}" in answer
        assert "⚠️" not in answer
        assert [(each["name"], each["value"]) for each in theirs["matchers"]] == [
            ("alertname", "CPU"),
            ("instance", "web-1"),
        ]
        [line] = (await chat.ask("silences")).splitlines()
        assert line.startswith(f"🔕 {made[:8]} until ")
        assert (await chat.ask(f"unsilence {made[:8]}")).startswith("🔔 Ended: ")
        assert theirs["status"] == {"state": "expired"}
        assert await chat.silences() == []

        await chat.ask("silence team=db 2h")
        await chat.ask("silence source=grafana instance=web-1 2h")
        assert len(kept) == 1, "it concerns no alert of Grafana's, or Grafana does not know the label"


async def test_where_grafana_s_token_may_not_silence_the_bridge_does_and_says_so(
    make: Callable[..., Chat], grafana: FakeGrafana
) -> None:
    grafana.alerting.kind, grafana.alerting.alerts = "unified", [listed("CPU", instance="web-1")]
    async with of(grafana) as client:
        chat = make(grafana=client)
        answer = await chat.ask("silence instance=web-1 2h")
        assert "⚠️ Silenced by this bridge only. Grafana at http" in answer
        assert "silences are taken from the role Editor" in answer
        [kept] = await chat.silences()
        assert (await chat.ask(f"unsilence {kept.id}")).startswith("🔔 Ended: ")


def test_an_alertmanager_that_is_grafana_s_own_is_one_with_it() -> None:
    grafana = GrafanaSettings(url="http://g:3000/sub", token="viewer")
    alertmanager = WebSource(url="http://g:3000/sub/api/alertmanager/grafana", token="editor")
    monitors = AlertMonitors.of_sources(alertmanager, grafana)
    assert monitors.alertmanager is None
    assert monitors.grafana is not None
    assert monitors.grafana.address.base == "http://g:3000/sub"
    assert monitors.grafana.address.token == "editor"


# ---------------------------------------------------------------- the table, and what people write


def test_the_commands_have_words_help_and_permissions_in_both_languages() -> None:
    commands = {each.name: each for each in list_command_kinds()}
    commands = {name: commands[name] for name in ("alerts", "silence", "unsilence", "silences", "ack")}
    assert {name for name, each in commands.items() if each.permission is Permission.ADMINS} == {"silence", "unsilence"}
    words = [word for each in commands.values() for word in each.words]
    assert len(words) == len(set(words))
    for name, each in commands.items():
        assert name in each.words
        for language in ("en", "zh"):
            assert each.summary[language]
            assert each.usage[language]


@pytest.mark.parametrize(
    ("text", "end", "comment"),
    [
        ("30m", "06-05 12:30:00", ""),
        ("2h why", "06-05 14:00:00", "why"),
        ("1d", "06-06 12:00:00", ""),
        ("1h30m, why", "06-05 13:30:00", "why"),
        ("2小时 数据迁移", "06-05 14:00:00", "数据迁移"),
        ("90s", "06-05 12:01:30", ""),
        ("两个小时", "06-05 14:00:00", ""),
        ("一个半小时", "06-05 13:30:00", ""),
        ("半小时。维护", "06-05 12:30:00", "维护"),
        ("3天", "06-08 12:00:00", ""),
        ("1周", "06-12 12:00:00", ""),
        ("2 hours", "06-05 14:00:00", ""),
        ("45 minutes because", "06-05 12:45:00", "because"),
        ("2 days", "06-07 12:00:00", ""),
        ("1.5h", "06-05 13:30:00", ""),
        ("until 18:00", "06-05 18:00:00", ""),
        ("until 9:30 why", "06-06 09:30:00", "why"),
        ("到18:00 维护", "06-05 18:00:00", "维护"),
        ("直到 明天 9:00", "06-06 09:00:00", ""),
        ("到明天9点", "06-06 09:00:00", ""),
        ("至18点30分", "06-05 18:30:00", ""),
        ("until tomorrow", "06-06 00:00:00", ""),
        ("until 2026-06-07 08:00", "06-07 08:00:00", ""),
        ("until 2026-06-07", "06-07 00:00:00", ""),
        ("until 2026-06-07T08:00", "06-07 08:00:00", ""),
        ("2h for 3h of work", "06-05 14:00:00", "for 3h of work"),
        ("10 seconds", "06-05 12:00:10", ""),
    ],
)
def test_how_long_is_said_in_many_ways(text: str, end: str, comment: str) -> None:
    asked = parse_silence(f"team=db {text}", NOON, "en")
    assert (asked.what, f"{asked.ends_at:%m-%d %H:%M:%S}", asked.comment) == ("team=db", end, comment)


def test_two_hours_are_two_hours_where_the_clock_is_put_forward() -> None:
    before = datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert f"{parse_silence('a=b 2h', before, 'en').ends_at:%H:%M}" == "04:30"


def test_an_id_that_looks_like_a_time_is_an_id() -> None:
    asked = parse_silence("4021d 2h", NOON, "en")
    assert (asked.what, asked.ends_at) == ("4021d", NOON + 2 * HOUR)


def test_matchers_keep_what_stands_in_their_quotes() -> None:
    query = parse_query('a=“x，y 2h” b=~"x{1,3}|\\d+" c != "=" word "two words" d=e{2}', "en")
    assert [(each.name, each.operator, each.value) for each in query.matchers] == [
        ("a", "=", "x，y 2h"), ("b", "=~", "x{1,3}|\\d+"), ("c", "!=", "="), ("d", "=", "e{2}"),
    ]  # fmt: skip
    assert query.words == ("word", "two words")


@given(st.text(alphabet='ab=~!"{}()|,.*+ 12hd\\“”，小时到:：-', max_size=30))
def test_whatever_is_written_is_read_or_refused_in_words(text: str) -> None:
    for read in (lambda: parse_query(text, "en"), lambda: parse_silence(text, NOON, "zh")):
        with suppress(CannotAnswer):
            assert read() is not None
