"""The texts of an alert as a person reads them: no dumps, numbers in full, and after the end no figure of before it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wxbridge.alerts.dumps import leave_out_dumps
from wxbridge.alerts.sources.grafana_unified import GONE_REASONS
from wxbridge.core.model import Alert, AlertStatus
from wxbridge.core.text.figures import write_figures

_BLANKS = r"[ \t]{0,8}"
_FIGURE = r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?:[ \t]?(?:[%％°µA-Za-z/]{1,8}|[个次条秒天]|毫秒|分钟|小时))?(?![A-Za-z0-9])"
_NAMED = (
    rf"(?:(?:当前|现|触发|告警|监控)(?:使用率|数值|值){_BLANKS}(?:为|是|[:：=])?"
    rf"|(?:(?:the )?(?:current|triggering|measured|actual) |(?:^|(?<=[,，;；(（\[])){_BLANKS})"
    rf"value{_BLANKS}(?:[:：=]|is |was )){_BLANKS}{_FIGURE}"
)
_OLD_VALUE = re.compile(
    rf"{_BLANKS}[(（\[]{_NAMED}[)）\]]|(?:{_BLANKS}[,，;；])?{_BLANKS}{_NAMED}[.。;；]?", re.IGNORECASE
)
_MAX_CHARS_SEARCHED = 4000
_NOTHING_LEFT = "\0"
"""Stands for a line that was nothing but a value."""


def tidy_text(text: str, alert: Alert, labels: Mapping[str, str]) -> str:
    """Write an annotation of an alert for people; `labels` are those that a dump within need not repeat.

    Alertmanager says again with an end what the rule said last, while it fired: of that the value is left out, where it
    is named as one (`VALUE = 4.8`, 当前值：95 %).
    """
    text = leave_out_dumps(text, labels, alert.values)
    if says_old_values(alert) and len(text) <= _MAX_CHARS_SEARCHED:
        text = "\n".join(_leave_out_value(line) for line in text.split("\n"))
    return "\n".join(line for line in write_figures(text).split("\n") if line != _NOTHING_LEFT).strip()


def _leave_out_value(line: str) -> str:
    left = _OLD_VALUE.sub("", line)
    return line if left == line else left.strip(" \t,，;；") or _NOTHING_LEFT


def says_old_values(alert: Alert) -> bool:
    """Whether an alert that is over comes with what was measured before."""
    is_over = alert.status is AlertStatus.RESOLVED
    return is_over and (alert.source == "alertmanager" or (alert.source == "grafana" and alert.state in GONE_REASONS))
