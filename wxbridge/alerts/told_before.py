"""What a target was told before: which of what comes again is a reminder, and which is left out or only named.

Grafana does not retry. It says a group again after its `repeat_interval`, or because something in it is new; legacy
rules repeat themselves where they are to send reminders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wxbridge.alerts.known_alerts import HeardGroup, KnownAlerts
from wxbridge.alerts.notification_log import PendingAlert
from wxbridge.alerts.routing import RoutedGroup
from wxbridge.alerts.sources import UPDATE
from wxbridge.alerts.store import alert_key
from wxbridge.core.frozen import replace
from wxbridge.core.model import Alert, AlertGroup, AlertStatus

CLOSED = re.compile(r"\bclosed\b")
"""Of what somebody did with a problem: it ended by that."""


def is_told(known: KnownAlerts, pending: PendingAlert, heard: HeardGroup, now: float) -> bool:
    """Tell whether a target was told of an alert already, and its sender does not say it again on purpose.

    The same from a replica is the outbox's to absorb, unless a part of it was told only.
    """
    if not known.is_told(pending.key, pending.target):
        return False
    retry, before = heard.group.dedupe_seconds, heard.before.get(pending.key)
    is_soon = retry is not None and known.seconds_since_told(pending.key, now) < retry
    if is_soon and len(heard.keys) == 1 and before is not None and before.said == heard.said:
        return False
    return pending.status is AlertStatus.RESOLVED or is_soon or (retry is not None and heard.has_news)


def set_comments_apart(known: KnownAlerts, group: AlertGroup) -> AlertGroup:
    """Make messages of what somebody did with a problem that was over already: it is no second end."""
    alerts = [
        replace(
            alert, status=AlertStatus.FIRING, is_test=True, fingerprint="", starts_at=None, ends_at=None, duration=None
        )
        if alert.status is AlertStatus.RESOLVED
        and alert.fingerprint
        and (done := alert.annotations.get(UPDATE))
        and not CLOSED.search(done)
        and not known.is_firing(alert)
        else alert
        for alert in group.alerts
    ]
    return group.with_alerts(alerts)


def list_still_firing(group: AlertGroup, pending: Sequence[PendingAlert], due: Sequence[bool]) -> tuple[Alert, ...]:
    """List what fires still and came along with news, for `AlertGroup.still`: no more of it than its name is told."""
    if group.dedupe_seconds is None:
        return ()
    return tuple(
        replace(alert, annotations={}, links={}, picture=None)
        for alert, each, is_due in zip(group.alerts, pending, due, strict=False)
        if each.is_told and not (is_due or each.held or alert.status is AlertStatus.RESOLVED)
    )


def mark_reminders(known: KnownAlerts, due: RoutedGroup, now: float) -> AlertGroup:
    """Tell reminders from news in what a target is due to be told."""
    group = due.group
    alerts = []
    for alert in group.alerts:
        # Of what tells neither times nor comes from Grafana it is not known whether its end would be said.
        has_end = alert.starts_at is not None or group.dedupe_seconds is not None
        is_again = (
            has_end
            and alert.fingerprint
            and alert.status is not AlertStatus.RESOLVED
            and known.is_told(alert_key(group, alert), due.place)
        )
        alerts.append(replace(alert, is_reminder=True) if is_again else alert)
    return date_alerts(known, group.with_alerts(alerts), now)


def date_alerts(known: KnownAlerts, group: AlertGroup, now: float) -> AlertGroup:
    """Give alerts whose sender tells no times those of the bridge: reminders their start, ends both."""
    dated = [
        known.date(alert, alert_key(group, alert), now)
        if alert.fingerprint and (alert.is_reminder or alert.status is AlertStatus.RESOLVED)
        else alert
        for alert in group.alerts
    ]
    return group.with_alerts(dated)


def note_told(known: KnownAlerts, group: AlertGroup, target: str, now: float) -> None:
    """Note that a target was told of a group, also of what was only named."""
    for alert in (*group.alerts, *group.still):
        if alert.fingerprint:
            known.note_told(alert_key(group, alert), target, now)
