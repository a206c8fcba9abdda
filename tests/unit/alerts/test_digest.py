"""What a digest counts, and what people read of it."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.digest import MAX_KINDS_KEPT, MAX_KINDS_SHOWN, Digest
from wxbridge.alerts.serialization import group_to_json
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, NotificationKind

UTC = ZoneInfo("UTC")
AT = 1_800_000_000.0


def content(*alerts, truncated=0, text=None):
    made = tuple(
        Alert(
            "src", AlertStatus(status), name, {"alertname": name} | ({"severity": severity} if severity else {}),
            fingerprint=mark,
        )
        for name, status, severity, mark in alerts
    )  # fmt: skip
    return group_to_json(AlertGroup("src", "key", "title", made, truncated=truncated, text=text))


def one(name="CPU", status="firing", severity="", mark=""):
    return name, status, severity, mark


def digest_of(*alerts):
    digest = Digest()
    for each in alerts:
        digest.add(NotificationKind.ALERT, content(each), at=AT)
    return digest


def lines(digest):
    return digest.text("en", UTC).splitlines()[1:]


def again(digest, *alerts):
    """A digest of a digest that was stored, and of what came after it."""
    following = Digest()
    following.add(NotificationKind.DIGEST, json.loads(json.dumps(digest.as_json())), at=AT)
    for each in alerts:
        following.add(NotificationKind.ALERT, content(each), at=AT)
    return following


def test_grafanas_alert_of_a_rule_without_data_counts_under_the_rules_name() -> None:
    group = AlertGroup(
        "grafana", "k", "", (Alert("grafana", AlertStatus.NO_DATA, "Disk",
        labels={"alertname": "DatasourceNoData", "rulename": "Disk"}, fingerprint="f"),),
    )  # fmt: skip
    digest = Digest()
    digest.add(NotificationKind.ALERT, group_to_json(group), at=AT)
    assert "Disk" in digest.text("en", UTC)
    assert "DatasourceNoData" not in digest.text("en", UTC)


def test_counts_by_name_and_status_the_worst_first() -> None:
    digest = digest_of(
        one("info", severity="info"), one("warning", severity="warning"), one("many"), one("many"),
        one("critical", severity="critical"), one("mended", "resolved", "critical"),
        one("silent", "no_data", "Warning"),
    )  # fmt: skip
    assert digest.text("en", UTC).splitlines() == [
        "🌊 7 alerts since 08:00, in short:",
        "🔴×1 critical (critical)",
        "⚪×1 silent (warning)",
        "🟡×1 warning (warning)",
        "🔥×2 many",
        "🔵×1 info (info)",
        "✅×1 mended (critical)",
    ]


def test_the_time_is_that_of_the_first_in_the_readers_zone_and_language() -> None:
    digest = Digest()
    digest.add(NotificationKind.ALERT, content(one()), at=AT + 60)
    digest.add(NotificationKind.ALERT, content(one()), at=AT)
    assert digest.text("zh", ZoneInfo("Asia/Shanghai")).startswith("🌊 16:00 以来共 2 条告警")


def test_only_so_many_kinds_are_named_and_the_rest_is_counted() -> None:
    digest = digest_of(
        *(one(f"kind {number:02}") for number in range(MAX_KINDS_SHOWN + 3)), one("kind 99"), one("kind 99")
    )
    shown = lines(digest)
    assert len(shown) == MAX_KINDS_SHOWN + 1
    assert shown[0] == "🔥×2 kind 99"
    assert shown[-1] == "… and 4 more kinds, 4 alerts"


def test_what_fired_and_was_resolved_untold_collapses_to_a_line() -> None:
    digest = digest_of(one(mark="a"), one(mark="b"), one(status="resolved", mark="a"), one("X", "resolved", mark="c"))
    assert lines(digest) == ["🔥×1 CPU", "✅×1 X", "↩️ ×1 fired and resolved meanwhile"]


def test_what_fires_again_after_it_was_resolved_fires() -> None:
    digest = digest_of(one(mark="a"), one(status="resolved", mark="a"), one(mark="a"))
    assert lines(digest) == ["🔥×1 CPU", "↩️ ×1 fired and resolved meanwhile"]


def test_what_is_repeated_while_it_fires_counts_once() -> None:
    assert lines(digest_of(one(mark="a"), one(mark="a"), one(mark="a"))) == ["🔥×1 CPU"]


def test_what_changes_from_no_data_to_firing_counts_as_what_it_is_last() -> None:
    assert lines(digest_of(one(status="no_data", mark="a"), one(mark="a"))) == ["🔥×1 CPU"]
    assert lines(digest_of(one(status="no_data", mark="a"), one(status="resolved", mark="a"))) == [
        "↩️ ×1 fired and resolved meanwhile"
    ]


def test_the_same_mark_from_another_source_is_another_alert() -> None:
    digest = digest_of(one(mark="a"))
    other = content(one(status="resolved", mark="a"))
    other["alerts"][0]["source"] = "another"
    digest.add(NotificationKind.ALERT, other, at=AT)
    assert lines(digest) == ["🔥×1 ✅×1 CPU"]


def test_what_was_no_alert_and_what_the_sender_left_out_are_counted() -> None:
    digest = Digest()
    digest.add(NotificationKind.ALERT, content(text="free text"), at=AT)
    digest.add(NotificationKind.ALERT, content(one(), truncated=7), at=AT)
    assert digest.text("en", UTC).splitlines() == [
        "🌊 9 alerts since 08:00, in short:", "🔥×1 CPU", "📨 ×1 other messages",
    ]  # fmt: skip


def test_a_digest_of_a_digest_pairs_what_fired_in_the_first() -> None:
    first = digest_of(one(mark="a"), one(mark="b"), one(status="resolved", mark="b"))
    second = again(first, one(status="resolved", mark="a"), one("new", mark="n"))
    assert lines(second) == ["🔥×1 new", "↩️ ×2 fired and resolved meanwhile"]
    assert second.alerts == 5


def test_two_digests_with_the_same_alert_count_it_once() -> None:
    first = again(digest_of(one(mark="a")))
    first.add(NotificationKind.DIGEST, digest_of(one(mark="a")).as_json(), at=AT)
    assert lines(first) == ["🔥×1 CPU"]


@pytest.mark.parametrize("names", [10_000, 100])
def test_what_is_stored_stays_small_with_ten_thousand_alerts(names) -> None:
    digest = digest_of(
        *(one(f"alert {number % names} with quite a long name", severity="warning", mark=f"{number:064}")
          for number in range(10_000)),
    )  # fmt: skip
    assert len(json.dumps(digest.as_json())) < 100_000
    stored = again(digest)
    assert stored.text("en", UTC) == digest.text("en", UTC)
    assert stored.text("en", UTC).splitlines()[0] == "🌊 10000 alerts since 08:00, in short:"


def test_the_worst_kinds_are_kept_apart() -> None:
    digest = digest_of(
        *(one(f"k{number}", severity="info") for number in range(2 * MAX_KINDS_KEPT)), one("bad", severity="critical")
    )
    stored = again(again(digest, one("bad", severity="critical"), one("k399", severity="info")))
    assert lines(stored)[0] == "🔴×2 bad (critical)"
    assert sum(kind.waiting for kind in stored.kinds.values()) + stored.rest.waiting == 2 * MAX_KINDS_KEPT + 3


def test_long_names_and_newlines_do_not_spoil_the_lines() -> None:
    (line,) = lines(digest_of(one("a\nb " + "很" * 500, severity="s" * 500)))
    assert len(line) < 140
    assert line.startswith("🔥×1 a b 很")
    (line,) = lines(again(digest_of(one("a\nb " + "很" * 500))))
    assert line.startswith("🔥×1 a b 很")


STATUSES = st.sampled_from(["firing", "resolved", "no_data"])
EVENTS = st.lists(
    st.tuples(st.sampled_from("AB"), STATUSES, st.just(""), st.sampled_from(["", "1", "2"])), min_size=1, max_size=40
)


@given(EVENTS, st.integers(0, 40))
def test_it_makes_no_difference_where_a_digest_was_stored_in_between(events, cut) -> None:
    whole = digest_of(*events)
    stored = again(digest_of(*events[:cut]), *events[cut:])
    assert stored.text("en", UTC) == whole.text("en", UTC)


@given(EVENTS)
def test_no_count_is_ever_negative(events) -> None:
    digest = again(again(digest_of(*events), *events), *events)
    assert all(min(vars(kind).values()) >= 0 for kind in digest.kinds.values())
