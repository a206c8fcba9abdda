"""The texts of alerts as people read them."""

from __future__ import annotations

import pytest

from wxbridge.alerts.annotations import tidy_text
from wxbridge.core.model import Alert, AlertStatus

FIRING, RESOLVED = AlertStatus.FIRING, AlertStatus.RESOLVED


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("memory is short\n  VALUE = 4.7999999951571226\n  LABELS = map[job:node]", "memory is short"),
        ("CPU 使用率超过 90%（当前值: 95.3%）", "CPU 使用率超过 90%"),
        ("CPU 使用率超过 90%，当前值为95.3%。请处理", "CPU 使用率超过 90%请处理"),
        ("usage above 80 %, current value: 9.53e+01", "usage above 80 %"),
        ("当前值95%，请处理", "请处理"),
        ("VALUE = 4.8", ""),
        ("default value is 5 apples", "default value is 5 apples"),
        ("retvalue=5, value: high", "retvalue=5, value: high"),
        ("one\n\ntwo", "one\n\ntwo"),
    ],
)
def test_an_end_does_not_tell_the_value_that_it_fired_with(text: str, left: str) -> None:
    labels = {"job": "node"}
    assert tidy_text(text, Alert("alertmanager", RESOLVED, "x", labels), labels) == left


def test_what_fires_and_what_measures_its_end_tell_their_values() -> None:
    for alert in (Alert("alertmanager", FIRING, "x"), Alert("grafana", RESOLVED, "x"), Alert("zabbix", RESOLVED, "x")):
        assert tidy_text("VALUE = 4.7999999951571226", alert, {}) == "VALUE = 4.8"
    gone = Alert("grafana", RESOLVED, "x", state="MissingSeries")
    assert tidy_text("high\nvalue: 4.8", gone, {}) == "high"
