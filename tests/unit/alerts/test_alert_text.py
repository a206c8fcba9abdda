"""What people read of alerts: one, several, a thousand, in both languages."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import payload_bytes
from tests.unit.alerts.composing import compose_bodies
from wxbridge.alerts import alert_text, intake
from wxbridge.alerts.alert_text import MAX_ALERTS_IN_FULL, MAX_ALERTS_IN_LINES, MAX_VALUES_SHOWN
from wxbridge.alerts.severity import severity_rank, worst_first
from wxbridge.alerts.sources import by_content, openfalcon
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Capabilities, PictureSpec, Text, Value
from wxbridge.core.text.i18n import Language
from wxbridge.core.text.splitting import MAX_PARTS, measure_length

NOW = datetime(2026, 11, 21, 0, 59, 58, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
FIRING, RESOLVED, NO_DATA = AlertStatus.FIRING, AlertStatus.RESOLVED, AlertStatus.NO_DATA


def text_of(group: AlertGroup, language: Language = "en") -> str:
    return alert_text.write_text(group, language, SHANGHAI, NOW)


def one(title: str = "HighCPU", status: AlertStatus = FIRING, **fields: Any) -> Alert:
    return Alert("alertmanager", status, title, **fields)


def lines(*alerts: Alert, title: str = "", language: Language = "en", truncated: int = 0) -> list[str]:
    return text_of(AlertGroup("alertmanager", "", title, alerts, truncated), language).splitlines()


# ---------------------------------------------------------------- what monitors really send

CAPTURED = "🔗 https://example.invalid/run%20%22q%22\n📈 {graph} http://127.0.0.1:3900/d/abc"
UNIFIED = "🔗 https://myrunbook.com/runbook/1234\n📈 {graph} http://localhost/d/abcd?from=1634021463157&orgId=1&to=1634025063157&viewPanel=efgh"
GOLDEN: dict[str, tuple[str, str]] = {
    "alertmanager/v4_captured": (
        (
            "🔴 critical · 主机宕机\n实例 127.0.0.1:9899 已宕机\nweb 的值为 0\ncluster=lab, env=生产\n"
            f"since 08:47 (12 min)\n{CAPTURED.format(graph='graph')}"
        ),
        (
            "🔴 严重 · 主机宕机\n实例 127.0.0.1:9899 已宕机\nweb 的值为 0\ncluster=lab, env=生产\n"
            f"自 08:47 起（已 12分钟）\n{CAPTURED.format(graph='查看图表')}"
        ),
    ),
    "grafana/unified_firing_v12": (
        (
            "🔥 High memory usage\nB: 44.2394\nThis alert was triggered for zone us-1\n"
            f"The system has high memory usage\nteam=blue\nsince 2021-10-12 15:51 (1865 d 17 h)\n"
            f"{UNIFIED.format(graph='graph')}"
        ),
        (
            "🔥 High memory usage\nB: 44.2394\nThis alert was triggered for zone us-1\n"
            f"The system has high memory usage\nteam=blue\n自 2021-10-12 15:51 起（已 1865天17小时）\n"
            f"{UNIFIED.format(graph='查看图表')}"
        ),
    ),
    "grafana/unified_test_notification": (
        "📨 TestAlert\nfoo: 10 (instance=bar)\nNotification test",
        "📨 TestAlert\nfoo: 10 (instance=bar)\nNotification test",
    ),
}


def body_of(name: str) -> bytes:
    data = json.loads(payload_bytes(name))
    return json.dumps(data.get("body", data)).encode()


@pytest.mark.parametrize("name", GOLDEN)
def test_an_alert_as_it_was_sent_reads_like_this(name: str) -> None:
    group = by_content.parse_grafana(body_of(name), {})
    assert (text_of(group, "en"), text_of(group, "zh")) == GOLDEN[name]


DISK_OF_FALCON = "磁盘\ndf.free: 40 (< 5)\nP0, host=host-1, mount=/, func=all(#3)"


@pytest.mark.parametrize(
    ("content", "english", "chinese"),
    [
        (
            "[P0][PROBLEM][host-1][][CPU空闲过低 all(#3) cpu.idle  4.2<10][O1 2017-03-07 20:18:00]",
            "🔴 critical · CPU空闲过低\ncpu.idle: 4.2 (< 10)\nP0, host=host-1, func=all(#3)\nat 2017-03-07 20:18:00",
            "🔴 严重 · CPU空闲过低\ncpu.idle: 4.2 (< 10)\nP0, host=host-1, func=all(#3)\n时间 2017-03-07 20:18:00",
        ),
        (
            "[P0][OK][host-1][][磁盘 all(#3) df.free mount=/ 40<5][O3 2017-03-07 20:30:00]",
            f"✅ resolved · {DISK_OF_FALCON}\nat 2017-03-07 20:30:00 (no. 3)",
            f"✅ 恢复 · {DISK_OF_FALCON}\n时间 2017-03-07 20:30:00（第 3 次）",
        ),
    ],
)
def test_an_event_of_open_falcon_keeps_its_threshold_and_its_own_clock(
    content: str, english: str, chinese: str
) -> None:
    group = openfalcon.parse(json.dumps({"tos": "a", "content": content}).encode(), {})
    assert (text_of(group, "en"), text_of(group, "zh")) == (english, chinese)


# ---------------------------------------------------------------- one alert


def test_a_figure_s_labels_tell_the_object_and_not_who_measured_it() -> None:
    exporter = {"container": "kube-state-metrics", "instance": "10.1.1.1:80", "job": "kube-state-metrics"}
    value = Value("replicas", 1.0, labels=exporter | {"namespace": "shop", "deployment": "cart", "le": "1e+06"})
    assert alert_text.write_value(value, "en") == "replicas: 1 (deployment=cart, namespace=shop, le=1000000)"


def test_a_dump_of_more_labels_than_there_is_room_for_keeps_the_others() -> None:
    labels = {f"l{index}": f"v{index}" for index in range(8)}
    dump = f"map[{' '.join(f'{name}:{value}' for name, value in labels.items())}]"
    told = lines(one(labels=labels, annotations={"description": f"LABELS = {dump}"}))
    assert told[1:] == ["LABELS: l5=v5, l6=v6, l7=v7", "l0=v0, l1=v1, l2=v2, l3=v3, l4=v4"]


def test_labels_and_texts_have_numbers_as_people_write_them() -> None:
    told = lines(
        one(
            labels={"free": "8.831563e+06", "ratio": "0.047999999951571226 %", "build": "20261129.123456"},
            annotations={"summary": "0.047999999951571226 s", "description": "LABELS = map[free:8.831563e+06 x:y]"},
            values=(Value("v", text="93.21000000000001%"),),
        ),
        title="HighCPU",
    )
    assert told[1:] == ["v: 93.21%", "0.048 s", "LABELS: x=y", "free=8831563, ratio=0.048 %, build=20261129.123456"]


def test_one_alert_tells_values_words_labels_time_and_link_in_this_order() -> None:
    alert = one(
        labels={"alertname": "HighCPU", "job": "node", "severity": "critical", "instance": "host-1", "team": "db"},
        annotations={"description": "busy", "summary": "CPU is high", "note": "call Bob", "runbook_url": "https://r"},
        values=(Value("cpu", 92.25, unit="%"), Value("load1", 7.5)),
        starts_at=NOW - timedelta(minutes=12),
        link="http://g/d/1",
    )
    assert lines(alert, title="HighCPU") == [
        "🔴 critical · HighCPU", "cpu: 92.3 %", "load1: 7.5", "CPU is high", "busy", "note: call Bob",
        "instance=host-1, job=node, team=db", "since 08:47 (12 min)", "🔗 http://g/d/1",
    ]  # fmt: skip


def test_at_most_a_handful_of_labels_is_told_what_is_affected_first() -> None:
    labels = {f"label{index}": f"text{index}" for index in range(9)} | {"pod": "web-1"}
    assert lines(one(labels=labels))[1:] == ["pod=web-1, label0=text0, label1=text1, label2=text2, label3=text3"]


def test_what_machines_wrote_down_for_machines_is_left_out() -> None:
    alert = one(
        labels={"alertname": "HighCPU", "__name__": "x1", "rule_uid": "u1", "prometheus": "p1", "fluid": "oil"},
        annotations={
            "__values__": "{}",
            "dashboardUid": "d1",
            "panel_id": "7",
            "dashboard": "http://a/b",
            "level": "2",
        },
    )
    assert lines(alert) == ["🔥 HighCPU", "level: 2", "fluid=oil"]


def test_nothing_is_said_twice() -> None:
    alert = one(
        "Disk of host-1 is full",
        labels={"instance": "host-1", "mountpoint": "/srv", "level": "red"},
        annotations={"summary": "Disk of host-1 is full", "description": "/srv has no room", "message": "no room",
                     "level": "red"},
    )  # fmt: skip
    assert lines(alert) == ["🔴 critical · Disk of host-1 is full", "/srv has no room", "red"]


def test_what_is_to_be_done_comes_first_and_the_graph_that_fired_beside_it() -> None:
    assert lines(one(links={"runbook": "https://r/1"}))[-1] == "🔗 https://r/1"
    assert lines(one(link="https://p/1", links={"panel": "https://p/1", "runbook": "https://r/1"}))[1:] == [
        "🔗 https://r/1", "📈 graph https://p/1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "line"),
    [({"threshold": "90"}, "threshold: 90 %"), ({"threshold": "90", "unit": "ms"}, "threshold: 90 ms"),
     ({"threshold": "> a lot"}, "threshold: > a lot")],
)  # fmt: skip
def test_a_threshold_is_told_in_the_unit_of_the_value(labels: dict[str, str], line: str) -> None:
    unit = labels.get("unit", "%")
    assert lines(one(labels=labels, values=(Value("cpu", 92.25, unit=unit),)))[2] == line


def test_an_unknown_unit_is_not_guessed_from_a_caption() -> None:
    assert lines(one(values=(Value("free bytes of /", 12345678.0),)))[1] == "free bytes of /: 12345678"


@pytest.mark.parametrize(
    ("status", "start", "end", "english", "chinese"),
    [
        (FIRING, 720, None, "since 08:47 (12 min)", "自 08:47 起（已 12分钟）"),
        (FIRING, 86400, None, "since 11-20 08:59 (1 d)", "自 11-20 08:59 起（已 1天）"),
        (FIRING, -30, None, "since 09:00", "自 09:00 起"),
        (RESOLVED, 720, 0, "lasted 12 min (08:47 – 08:59)", "持续 12分钟（08:47 – 08:59）"),
        (RESOLVED, 12, 0, "lasted 12 s (08:59)", "持续 12秒（08:59）"),
        (RESOLVED, 0, 0, "resolved at 08:59", "08:59 恢复"),
        (RESOLVED, 86400 * 2, 86400, "lasted 1 d (11-19 08:59 – 11-20 08:59)", "持续 1天（11-19 08:59 – 11-20 08:59）"),
        (RESOLVED, None, 0, "resolved at 08:59", "08:59 恢复"),
    ],
)
def test_since_when_and_for_how_long_in_local_time(
    status: AlertStatus, start: float | None, end: float | None, english: str, chinese: str
) -> None:
    at = [None if ago is None else NOW - timedelta(seconds=ago) for ago in (start, end)]
    alert = one(status=status, starts_at=at[0], ends_at=at[1])
    assert (lines(alert)[1], lines(alert, language="zh")[1]) == (english, chinese)


def test_a_time_that_is_not_known_is_not_told() -> None:
    assert lines(one(status=RESOLVED, starts_at=NOW)) == ["✅ resolved · HighCPU"]
    assert lines(one(starts_at=datetime(1, 1, 1, tzinfo=UTC)))[0] == "🔥 HighCPU"


# ---------------------------------------------------------------- several alerts


def member(index: int, status: AlertStatus = FIRING, severity: str = "warning", **fields: Any) -> Alert:
    return one(
        status=status,
        labels={"alertname": "HighCPU", "instance": f"node-{index}:9100", "job": "node", "severity": severity},
        **({"annotations": {"summary": "CPU is high"}, "link": "http://p/1",
            "starts_at": NOW - timedelta(minutes=index)} | fields),
    )  # fmt: skip


def test_what_the_alerts_of_a_group_share_is_told_once_and_the_worst_comes_first() -> None:
    group = [
        member(1),
        member(2, RESOLVED, "critical", ends_at=NOW),
        member(3, severity="critical"),
        member(4, NO_DATA),
    ]
    assert lines(*group, title="HighCPU") == [
        "🔴 critical · HighCPU (2 firing, 1 no data, 1 resolved)", "CPU is high", "job=node", "🔗 http://p/1", "",
        "🔴 critical · instance=node-3:9100", "since 08:56 (3 min)", "",
        "🟡 warning · instance=node-1:9100", "since 08:58 (1 min)", "",
        "⚪ no data · instance=node-4:9100", "since 08:55 (4 min)", "",
        "✅ instance=node-2:9100", "lasted 2 min (08:57 – 08:59)",
    ]  # fmt: skip
    assert lines(*group, title="HighCPU", language="zh")[0] == "🔴 严重 · HighCPU（2 条触发，1 条无数据，1 条恢复）"


def test_alerts_of_different_titles_keep_them() -> None:
    told = lines(member(1), replace(member(2), title="HighLoad"), title="node")
    assert told[0] == "🟡 warning · node (2 firing)"
    assert [line for line in told if "node-" in line or line.startswith("🟡 High")] == [
        "🟡 HighCPU", "instance=node-1:9100", "🟡 HighLoad", "instance=node-2:9100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("[FIRING:2] HighCPU (node)", "🟡 warning · [FIRING:2] HighCPU (node)"),
        ("[FIRING:5] HighCPU (node)", "🟡 warning · [FIRING:5] HighCPU (node) (2 firing)"),
        ("", "🟡 warning · HighCPU (2 firing)"),
    ],
)
def test_the_senders_own_title_is_kept_and_counts_are_added_where_it_has_not_these(title: str, told: str) -> None:
    assert lines(member(1), member(2), title=title)[0] == told


def test_of_many_alerts_few_are_written_out_some_get_a_line_and_the_rest_is_counted() -> None:
    group = [member(index, values=(Value("cpu", 90.0 + index / 100, unit="%"),)) for index in range(1000)]
    told = lines(*group, title="HighCPU", truncated=7)
    assert sum(line.startswith("since") for line in told) == MAX_ALERTS_IN_FULL
    short = [line for line in told[1:] if " · " in line]
    assert len(short) == MAX_ALERTS_IN_LINES
    assert short[0] == "🟡 instance=node-5:9100 · cpu: 90.1 % · 08:54"
    assert told[-1] == f"… and {1000 - MAX_ALERTS_IN_FULL - MAX_ALERTS_IN_LINES + 7} more"


def test_a_short_label_that_is_the_heading_is_not_said_again() -> None:
    disks = [one("Disk", labels={"alertname": "Disk", "severity": "critical", "mountpoint": at}) for at in "/a"]
    told = lines(*disks, title="Disk")
    assert [line for line in told if "mountpoint" in line] == ["🔴 mountpoint=/", "🔴 mountpoint=a"]
    assert lines(one("Disk / is full", labels={"mountpoint": "/"})) == ["🔥 Disk / is full", "mountpoint=/"]
    assert lines(one("xmountpoint=/数据", labels={"mountpoint": "/"}))[1] == "mountpoint=/"


@pytest.mark.parametrize("title", ["\u200b", "\u200b\u200d \ufeff"])
def test_a_title_that_nobody_sees_is_none(title: str) -> None:
    posted = AlertGroup("alertmanager", "", title, (one(title, annotations={"summary": "s"}),))
    assert text_of(intake.prepare_group(posted)) == "🔥 Alert without a title\ns"
    named = AlertGroup("alertmanager", "", title, (one(title, labels={"alertname": title}),))
    assert text_of(intake.prepare_group(named)).splitlines()[0] == "🔥 Alert without a title"


def test_values_are_counted_as_they_were_sent_however_many_are_kept() -> None:
    values = tuple(Value(f"disk {index}", float(index), unit="%") for index in range(1000))
    group = AlertGroup("grafana", "", "Disks", (Alert("grafana", FIRING, "Disks", values=values),))
    prepared = intake.prepare_group(group)
    for each in (prepared, intake.prepare_group(prepared, instance="again")):
        assert text_of(each).splitlines()[-1] == f"… and {1000 - MAX_VALUES_SHOWN} more"


def test_a_group_of_fifty_thousand_is_a_text_of_one_message() -> None:
    alert = member(1)
    assert len(text_of(AlertGroup("alertmanager", "", "x", (alert,) * 50_000))) < 2000


def test_severities_rank_as_people_and_monitors_name_them() -> None:
    words = ["info", "something", "Warning", "average", "high", "critical", "P0"]
    assert sorted(words, key=severity_rank) == words[::-1]


# ---------------------------------------------------------------- whatever comes

WORD = st.text(max_size=20)
LABELS = st.dictionaries(WORD | st.sampled_from(["instance", "severity", "alertname", "unit", "threshold"]), WORD,
                         max_size=5)  # fmt: skip
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
ALERTS = st.builds(
    Alert,
    st.sampled_from(["grafana", "alertmanager"]),
    st.sampled_from(AlertStatus),
    WORD,
    labels=LABELS,
    annotations=st.dictionaries(WORD | st.sampled_from(["summary", "description", "time"]), st.text(), max_size=4),
    values=st.lists(st.builds(Value, WORD, st.none() | st.floats(), st.none() | WORD, LABELS, WORD), max_size=3)
    .map(tuple),
    starts_at=TIMES,
    ends_at=TIMES,
    link=st.none() | WORD,
    picture=st.none() | st.just(PictureSpec("fetch", {"url": "x"})),
    state=WORD,
)  # fmt: skip
GROUPS = st.builds(AlertGroup, st.just("x"), WORD, WORD, st.lists(ALERTS, max_size=8).map(tuple), st.integers(0, 9),
                   st.none() | WORD)  # fmt: skip


@given(GROUPS, st.sampled_from(["en", "zh"]), st.sampled_from(["bytes", "characters"]), st.integers(120, 400))
def test_any_group_becomes_messages_within_the_limit(
    group: AlertGroup, language: Language, unit: str, limit: int
) -> None:
    channel = Capabilities(limit, unit)
    bodies = compose_bodies(group, channel, language, "note", timezone=SHANGHAI, now=NOW)
    texts = [body.text for body in bodies if isinstance(body, Text)]
    assert 1 <= len(texts) <= MAX_PARTS
    assert all(0 < measure_length(text, unit) <= limit for text in texts)
    assert len(bodies) - len(texts) == any(alert.picture for alert in group.alerts)


@given(ALERTS, st.sampled_from(["en", "zh"]))
def test_the_senders_title_and_message_are_always_there_in_full(alert: Alert, language: Language) -> None:
    text = text_of(AlertGroup("x", "", "", (alert,)), language)
    assert alert.title.strip() in text
    for name in ("summary", "description"):
        assert alert.annotations.get(name, "").strip() in text


@given(st.lists(ALERTS, max_size=8))
def test_worst_first_loses_nobody_and_puts_the_resolved_last(alerts: list[Alert]) -> None:
    ordered = worst_first(alerts)
    assert sorted(map(id, ordered)) == sorted(map(id, alerts))
    resolved = [alert.status is RESOLVED for alert in ordered]
    assert resolved == sorted(resolved)
