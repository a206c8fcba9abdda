"""How bad an alert is: the headline, the order, and what routes and silences match."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from wxbridge.alerts import render, routing, serialization
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.intake import prepare_group
from wxbridge.alerts.pipeline import _priority
from wxbridge.alerts.routing import Route
from wxbridge.alerts.severity import severity_name, severity_of, worst_first
from wxbridge.alerts.silences import Silence
from wxbridge.alerts.sources.generic import parse, parsers
from wxbridge.core.matchers import parse_matcher, parse_matchers
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Capabilities, Priority, Severity, Text
from wxbridge.core.severities import SeverityTable
from wxbridge.core.text.i18n import Language

NOW = datetime(2026, 11, 29, 12, 42, tzinfo=UTC)
FIRING, NO_DATA, RESOLVED = AlertStatus.FIRING, AlertStatus.NO_DATA, AlertStatus.RESOLVED


def one(status: AlertStatus = FIRING, source: str = "alertmanager", **labels: str) -> Alert:
    return Alert(source, status, "Disk", labels, fingerprint="f")


def text_of(*alerts: Alert, language: Language = "en", title: str = "Disk") -> str:
    return write_text(AlertGroup(alerts[0].source, "", title, alerts), language, UTC, NOW)


def first(*alerts: Alert, language: Language = "en", title: str = "Disk") -> str:
    return text_of(*alerts, language=language, title=title).partition("\n")[0]


# ---------------------------------------------------------------- the headline


@pytest.mark.parametrize(
    ("word", "english", "chinese"),
    [
        ("critical", "🔴 critical · Disk", "🔴 严重 · Disk"),
        ("CRITICAL", "🔴 critical · Disk", "🔴 严重 · Disk"),
        ("page", "🔴 critical · Disk\npage", "🔴 严重 · Disk\npage"),
        ("Disaster", "🔴 critical · Disk\nDisaster", "🔴 严重 · Disk\nDisaster"),
        ("P1", "🔴 critical · Disk\nP1", "🔴 严重 · Disk\nP1"),
        ("紧急", "🔴 critical · Disk\n紧急", "🔴 严重 · Disk\n紧急"),
        ("严重", "🔴 critical · Disk\n严重", "🔴 严重 · Disk"),
        ("high", "🟠 major · Disk\nhigh", "🟠 重要 · Disk\nhigh"),
        ("重要", "🟠 major · Disk\n重要", "🟠 重要 · Disk"),
        ("Average", "🟡 warning · Disk\nAverage", "🟡 警告 · Disk\nAverage"),
        ("次要", "🟡 warning · Disk\n次要", "🟡 警告 · Disk\n次要"),
        ("info", "🔵 info · Disk", "🔵 提示 · Disk"),
        ("一般", "🔵 info · Disk\n一般", "🔵 提示 · Disk\n一般"),
        ("amber-ish", "🔥 Disk\namber-ish", "🔥 Disk\namber-ish"),
        ("5", "🔥 Disk\nseverity=5", "🔥 Disk\nseverity=5"),
    ],
)
def test_a_headline_says_how_bad_it_is_and_the_senders_own_word_stays(word: str, english: str, chinese: str) -> None:
    alert = one(severity=word)
    assert (text_of(alert), text_of(alert, language="zh")) == (english, chinese)


@pytest.mark.parametrize(
    ("alert", "english", "chinese"),
    [
        (one(), "🔥 Disk", "🔥 Disk"),
        (one(RESOLVED, severity="critical"), "✅ resolved · Disk\ncritical", "✅ 恢复 · Disk\n严重"),
        (one(RESOLVED, severity="Disaster"), "✅ resolved · Disk\nDisaster", "✅ 恢复 · Disk\nDisaster"),
        (one(NO_DATA, severity="warning"), "⚪ no data · Disk\nwarning", "⚪ 无数据 · Disk\n警告"),
        (one(level="紧急"), "🔴 critical · Disk\n紧急", "🔴 严重 · Disk\n紧急"),
        (one(source="zabbix", severity="4"), "🟠 major · Disk\nseverity=4", "🟠 重要 · Disk\nseverity=4"),
        (one(severity="critical", team="db"), "🔴 critical · Disk\nteam=db", "🔴 严重 · Disk\nteam=db"),
    ],
)
def test_what_is_over_or_has_no_data_says_that_first(alert: Alert, english: str, chinese: str) -> None:
    assert (text_of(alert), text_of(alert, language="zh")) == (english, chinese)


@pytest.mark.parametrize(
    ("title", "language", "told"),
    [
        ("[Critical] Disk", "en", "🔴 [Critical] Disk"),
        ("critical: Disk", "en", "🔴 critical: Disk"),
        ("Criticality of Disk", "en", "🔴 critical · Criticality of Disk"),
        ("【严重】Disk", "zh", "🔴 【严重】Disk"),
        ("[Critical] Disk", "zh", "🔴 严重 · [Critical] Disk"),
    ],
)
def test_a_title_that_begins_with_the_word_is_not_given_it_twice(title: str, language: Language, told: str) -> None:
    alert = Alert("alertmanager", FIRING, title, {"severity": "critical"})
    assert first(alert, title=title, language=language) == told


def test_a_test_is_a_message_however_bad_it_says_it_is() -> None:
    press = Alert("generic", FIRING, "x", {"severity": "critical"}, is_test=True)
    assert text_of(press, title="x", language="zh") == "📨 x\n严重"


# ---------------------------------------------------------------- groups


def test_the_worst_of_a_group_comes_first_and_in_full_and_gives_the_headline() -> None:
    words = ["info", "提示", "Warning", "", "紧急", "high", "critical", "P3", "Average"]
    group = [Alert("am", FIRING, "Disk", {"host": f"h{n}", "severity": word}) for n, word in enumerate(words)]
    text = text_of(*group, Alert("am", RESOLVED, "Disk", {"host": "h9", "severity": "Disaster"}), language="zh")
    heads = [line for line in text.splitlines() if line[:1] in tuple("🔴🟠🟡🔵🔥✅")]
    assert " ".join(line.partition("host=")[2][:2] for line in heads[1:]) == "h4 h6 h5 h8 h2 h3 h7 h0 h1 h9"
    assert heads[0].startswith("🔴 严重 · Disk")
    assert heads[1:5] == ["🔴 严重 · host=h4", "🔴 严重 · host=h6", "🟠 重要 · host=h5", "🟡 警告 · host=h8"]
    assert heads[6:] == ["🔥 host=h3", "🔵 提示 · host=h7", "🔵 提示 · host=h0", "🔵 提示 · host=h1", "✅ host=h9"]


def test_what_all_are_alike_bad_is_said_once_above_them() -> None:
    group = [one(severity="Disaster", host="db-1"), one(severity="Disaster", host="db-2")]
    assert text_of(*group) == "🔴 critical · Disk (2 firing)\nDisaster\n\n🔴 host=db-1\n\n🔴 host=db-2"


def test_a_group_that_is_over_shows_no_fire() -> None:
    group = [one(RESOLVED, severity="critical", host="a"), one(RESOLVED, severity="info", host="b")]
    assert first(*group, language="zh").startswith("✅ 恢复 · Disk")


def test_a_group_with_a_test_among_alerts_has_the_mark_of_the_alerts() -> None:
    press = Alert("am", FIRING, "Press", is_test=True)
    assert first(press, one(severity="info")).startswith("🔵 info · ")
    assert first(press, press).startswith("📨 ")


def test_each_mark_is_a_headline_in_markdown() -> None:
    channel = Capabilities(2000, formats={"markdown": 2000}, colours=True)
    for word, mark, colour in (("critical", "🔴", "warning"), ("high", "🟠", "warning"), ("minor", "🟡", "warning"),
                               ("info", "🔵", "comment"), ("?", "🔥", "warning")):  # fmt: skip
        group = AlertGroup("am", "", "Disk", (one(severity=word),))
        (body,) = render.build_bodies(write_text(group, "en", UTC, NOW), group, channel, "en", format="markdown")
        assert isinstance(body, Text)
        assert body.text.startswith(f'**<font color="{colour}">{mark} ')


# ---------------------------------------------------------------- routes, silences, priority

WORDS = ["critical", "CRITICAL", "Disaster", "P1", "紧急", "严重", "page", "high", "warning", "提示", "odd", ""]


@pytest.mark.parametrize(
    ("matcher", "taken"),
    [
        ("severity=critical", ["critical", "CRITICAL", "Disaster", "P1", "紧急", "严重", "page"]),
        ("severity=严重", ["critical", "CRITICAL", "Disaster", "P1", "紧急", "严重", "page"]),
        ("severity=page", ["page"]),
        ("severity=Disaster", ["Disaster"]),
        ("severity=disaster", ["Disaster"]),
        ('severity=~"major|warning"', ["high", "warning"]),
        ('severity=~"P.*"', ["P1"]),
        ("severity!=critical", ["high", "warning", "提示", "odd", ""]),
        ('severity!~"critical|major"', ["warning", "提示", "odd", ""]),
        ("severity!=page", WORDS[:6] + WORDS[7:]),
        ("severity=odd", ["odd"]),
        ("severity=", [""]),
        ("severity=info", ["提示"]),
    ],
)  # fmt: skip
def test_a_matcher_names_the_severity_of_all_senders_or_the_own_word(matcher: str, taken: list[str]) -> None:
    routes = routing.compile_routes([Route(parse_matchers([matcher]), ("ops",)), Route((), ("rest",))])
    silence = Silence("1", (parse_matcher(matcher),), 0, 1, 0)
    for word in WORDS:
        labels = routing.labels_of(AlertGroup("am", "", ""), one(severity=word))
        (to,) = routing.find_targets(routes, labels) or ()
        assert (to.target == "ops") is (word in taken) is silence.matches(labels), word


def test_a_route_that_continues_tells_its_target_once_by_whichever_word_it_was_found() -> None:
    routes = routing.compile_routes(
        [Route(parse_matchers(['severity=~"critical|Disaster|严重"']), ("ops",), goes_on=True), Route((), ("rest",))]
    )
    labels = routing.labels_of(AlertGroup("am", "", ""), one(severity="Disaster"))
    assert [each.target for each in routing.find_targets(routes, labels) or ()] == ["ops", "rest"]
    assert labels["severity"] == "critical"


@pytest.mark.parametrize(
    ("labels", "priority"),
    [({"severity": "Disaster"}, Priority.CRITICAL), ({"level": "紧急"}, Priority.CRITICAL),
     ({"severity": "high"}, Priority.ALERT), ({}, Priority.ALERT)],
)  # fmt: skip
def test_what_is_critical_overtakes_the_rest(labels: dict[str, str], priority: Priority) -> None:
    assert _priority(AlertGroup("am", "", "x", (one(**labels),))) is priority


# ---------------------------------------------------------------- words of one's own


def test_words_of_jobs_yaml_are_kept_with_the_alert() -> None:
    table = SeverityTable({"红牌": Severity.CRITICAL, "critical": Severity.WARNING})
    group = prepare_group(AlertGroup("am", "", "Disk", (one(severity="红牌"), one(severity="critical"))), "", table)
    kept = serialization.group_from_json(json.loads(json.dumps(serialization.group_to_json(group))))
    assert [severity_of(alert) for alert in kept.alerts] == [Severity.CRITICAL, Severity.WARNING]
    assert [severity_name(alert) for alert in kept.alerts] == ["critical", "warning"]
    assert worst_first(reversed(kept.alerts)) == list(kept.alerts)
    assert text_of(kept.alerts[0], language="zh") == "🔴 严重 · Disk\n红牌"
    assert routing.labels_of(kept, kept.alerts[0])["severity"] == "critical"


def test_words_of_jobs_yaml_leave_the_order_of_the_others_as_it_is() -> None:
    alerts = tuple(one(severity=word) for word in ("严重", "红牌", "紧急"))
    group = prepare_group(AlertGroup("am", "", "Disk", alerts), "", SeverityTable({"红牌": Severity.CRITICAL}))
    assert [alert.labels["severity"] for alert in worst_first(group.alerts)] == ["紧急", "严重", "红牌"]


# ---------------------------------------------------------------- builders

GITHUB = parsers({})["generic/github"]


def github(conclusion: str | None, status: str = "completed") -> AlertGroup:
    body = {
        "workflow_run": {"id": 1, "name": "CI", "head_branch": "main", "status": status, "conclusion": conclusion},
        "repository": {"full_name": "example/shop"},
    }
    return GITHUB(json.dumps(body).encode(), {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("conclusion", "english", "chinese"),
    [
        ("failure", "🔥 failed · example/shop · CI", "🔥 失败 · example/shop · CI"),
        ("timed_out", "🔥 failed (timed out) · example/shop · CI", "🔥 失败（超时） · example/shop · CI"),
        ("startup_failure", "🔥 failed to start · example/shop · CI", "🔥 失败（未能启动） · example/shop · CI"),
        ("success", "✅ resolved · example/shop · CI", "✅ 恢复 · example/shop · CI"),
        ("cancelled", "📨 cancelled · example/shop · CI", "📨 已取消 · example/shop · CI"),
        ("skipped", "📨 skipped · example/shop · CI", "📨 已跳过 · example/shop · CI"),
        ("neutral", "📨 neutral · example/shop · CI", "📨 无结论 · example/shop · CI"),
    ],
)
def test_how_a_build_ended_stands_behind_its_mark(conclusion: str, english: str, chinese: str) -> None:
    told = [write_text(github(conclusion), language, UTC, NOW).partition("\n")[0] for language in ("en", "zh")]
    assert told == [english, chinese]


def test_a_failure_with_a_severity_says_both() -> None:
    body = {"title": "Backup of db-1", "status": "failed", "severity": "critical"}
    group = parse(json.dumps(body).encode(), {})
    assert write_text(group, "zh", UTC, NOW) == "🔴 严重 · Backup of db-1\n失败"
    assert write_text(group, "en", UTC, NOW) == "🔴 critical · Backup of db-1\nfailed"
