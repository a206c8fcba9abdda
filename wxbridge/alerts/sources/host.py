"""`/hooks/host`: the alerts that machines push, in the words of `model.Alert`; their samples are the host monitor's.

`{"host": "db-1", "at": RFC 3339, "alerts": [{"alertname": "HostCpuHigh", "status": "firing", "title": …, "labels": {…},
"annotations": {…}, "values": [{"name", "value", "unit"}], "starts_at": RFC 3339, "ends_at": …, "chart": {…}}]}`; `at`
is when it was found, which tells a reminder from the same body sent again, and `chart` are params of the painter
`host_chart`. Alerts of Grafana's and Alertmanager's are known here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wxbridge.alerts.sources import MAX_ALERTS_PER_BODY, by_content, short_hash
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_labels, as_number, as_text, as_time, read_json_or_text
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec, Value

NAME = "host"
_IDENTITY = ("alertname", "host", "mount")


def parse(body: bytes, headers: Mapping[str, str]) -> AlertGroup:  # noqa: ARG001 - every source is given them
    """Read alerts.

    Raises:
        BadBody: there are none; where there are samples, it says that nobody here takes them.
    """
    data = read_json_or_text(body)
    if others := by_content.read_known(data):
        return others
    items = data.get("alerts") if isinstance(data, dict) else None
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        if isinstance(data, dict) and "samples" in data:
            raise BadBody("This bridge takes no samples: add a `host:` section to its jobs.yaml.")
        raise BadBody("A body with `samples` or with `alerts` was expected.")
    alerts = tuple(_alert(item) for item in items[:MAX_ALERTS_PER_BODY])
    host = as_text(data.get("host"))
    return AlertGroup(
        source=NAME,
        group_key=short_hash([host, sorted(alert.fingerprint for alert in alerts)]),
        title=alerts[0].title if len(alerts) == 1 else host,
        alerts=alerts,
        truncated=max(0, len(items) - MAX_ALERTS_PER_BODY),
        dedupe=short_hash([host, as_text(data.get("at"))]),
    )


def _alert(item: dict[str, Any]) -> Alert:
    name = as_text(item.get("alertname")).strip()
    labels = as_labels(item.get("labels"))
    if name:
        labels = {"alertname": name, **labels}
    chart = item.get("chart")
    return Alert(
        source=NAME,
        status=AlertStatus.RESOLVED if item.get("status") == "resolved" else AlertStatus.FIRING,
        title=as_text(item.get("title")).strip() or name or NAME,
        labels=labels,
        annotations=as_labels(item.get("annotations")),
        values=tuple(_values(item.get("values"))),
        starts_at=as_time(item.get("starts_at")),
        ends_at=as_time(item.get("ends_at")),
        picture=PictureSpec("host_chart", chart) if isinstance(chart, dict) else None,
        # What makes two of them the same problem: a severity may change with the configuration.
        fingerprint=short_hash([[key, labels[key]] for key in _IDENTITY if key in labels] or as_text(item)),
    )


def _values(items: Any) -> Iterator[Value]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield Value(
                as_text(item.get("name")), as_number(item.get("value")), unit=as_text(item.get("unit")),
                labels=as_labels(item.get("labels")),
            )  # fmt: skip
