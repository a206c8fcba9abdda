from __future__ import annotations

from wxbridge.alerts import intake
from wxbridge.alerts.intake import prepare_group
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value


def test_more_labels_than_anybody_reads_are_counted() -> None:
    many = {f"label{index}": "x" * 10 for index in range(intake.MAX_LABELS + 7)}
    values = tuple(Value(name, 1.0) for name in many)
    posted = Alert("alertmanager", AlertStatus.FIRING, "x", labels=many, annotations=many, values=values)
    (alert,) = prepare_group(AlertGroup("alertmanager", "", "x", (posted,))).alerts
    for found in (alert.labels, alert.annotations):
        assert len(found) == intake.MAX_LABELS + 1
        assert found["label299"] == "x" * 10
        assert found["…"] == "+7"
    assert (len(alert.values), alert.values[-1]) == (intake.MAX_LABELS + 1, Value("…", text="+7"))
