from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core.model import Severity
from wxbridge.core.severities import BUILT_IN, UNKNOWN_RANK, SeverityTable, find_severity_labels

CRITICAL, MAJOR, WARNING, INFO = Severity
WORDS = {
    CRITICAL: "critical page emergency fatal disaster p0 p1 sev1 blocker crit sev-1 P1 SEV_1 紧急 严重 灾难 致命 一级",
    MAJOR: "major high error sev2 重要 主要 高 错误",
    WARNING: "minor average warning warn medium p2 sev3 警告 次要 一般严重 中",
    INFO: "info information notice low debug none p3 P6 P12 sev4 sev9 提示 一般 通知 低 未分类",
}


@pytest.mark.parametrize("form", ["{}", " {} ", "[{}]", "🔴 {}", "{}告警", "severity: {}", "1 - {}"])
@pytest.mark.parametrize("severity", Severity)
def test_the_words_of_monitors_mean_the_same_in_whatever_capitals_and_signs(severity: Severity, form: str) -> None:
    for word in WORDS[severity].split():
        for written in (word, word.upper(), word.capitalize()):
            assert BUILT_IN.find(form.format(written)) is severity, written


@pytest.mark.parametrize(
    "word",
    ["", " ", "?", "5", "-1", "customer", "non-critical", "not critical at all", "p", "sev", "x" * 500, "严重" * 100],
)
def test_a_word_that_nobody_is_known_to_use_says_nothing(word: str) -> None:
    assert (BUILT_IN.find(word), BUILT_IN.rank(word)) == (None, UNKNOWN_RANK)


@pytest.mark.parametrize(
    ("source", "severities"),
    [
        ("zabbix", [INFO, INFO, WARNING, WARNING, MAJOR, CRITICAL, None]),
        ("nightingale", [None, CRITICAL, WARNING, INFO, None]),
        ("openfalcon", [CRITICAL, CRITICAL, WARNING, INFO, INFO, INFO, INFO, None]),
        ("graylog", [None, INFO, WARNING, MAJOR, None]),
        ("generic", [None] * 6),
    ],
)
def test_a_number_means_what_its_sender_means_by_it(source: str, severities: list[Severity | None]) -> None:
    assert [BUILT_IN.find(str(number), source) for number in range(len(severities))] == severities


@pytest.mark.parametrize(
    "worse_to_better",
    [
        ["紧急", "严重", "重要", "警告", "something", "提示"],
        ["Disaster", "High", "Average", "Warning", "Information"],
        ["P0", "P1", "P2", "P3"],
        ["blocker", "critical", "major", "minor", "unheard of", "low", "info"],
    ],
)
def test_words_rank_as_their_monitors_have_them(worse_to_better: list[str]) -> None:
    shuffled = worse_to_better[1:] + worse_to_better[:1]
    assert sorted(shuffled, key=BUILT_IN.rank) == worse_to_better


def test_numbers_of_zabbix_rank_finer_than_the_severities() -> None:
    assert sorted("042135", key=lambda word: BUILT_IN.rank(word, "zabbix")) == list("543210")


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"severity": "critical"}, "severity"),
        ({"Severity": "critical"}, "Severity"),
        ({"level": "紧急", "job": "x"}, "level"),
        ({"priority": "P1"}, "priority"),
        ({"event_severity": "High"}, "event_severity"),
        ({"告警级别": "严重"}, "告警级别"),
        ({"severity": "of its own"}, "severity"),
        ({"severity": "of its own", "level": "warning"}, "level"),
        ({"severity": "", "priority": "high"}, "priority"),
    ],
)
def test_a_label_says_how_bad_it_is(labels: dict[str, str], name: str) -> None:
    assert find_severity_labels(labels) == [name]


@pytest.mark.parametrize("labels", [{}, {"severity": ""}, {"level": "7"}, {"priority": "100"}, {"team": "critical"}])
def test_other_labels_do_not(labels: dict[str, str]) -> None:
    assert find_severity_labels(labels) == []


def test_words_of_ones_own_come_first() -> None:
    table = SeverityTable({"红牌": CRITICAL, "P 1": INFO})
    assert (table.find("红牌"), table.find("p1"), table.find("P2")) == (CRITICAL, INFO, WARNING)
    assert table.rank("红牌") == BUILT_IN.rank("critical")


@given(st.text(), st.text(max_size=12))
def test_whatever_a_label_says_it_has_a_rank(word: str, source: str) -> None:
    severity = BUILT_IN.find(word, source)
    assert (severity is None) == (BUILT_IN.rank(word, source) == UNKNOWN_RANK)
    assert find_severity_labels({word: source, "severity": word}, source)[:1] in ([], ["severity"], [word])
