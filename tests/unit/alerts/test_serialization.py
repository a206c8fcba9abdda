"""What is kept of an alert group can be read again, whatever was in it and whoever wrote it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.serialization import group_from_json, group_to_json
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec, Value

TEXT = st.text(max_size=8)
LABELS = st.dictionaries(TEXT, TEXT, max_size=3)
VALUES = st.builds(Value, TEXT, st.none() | st.floats(allow_nan=False), st.none() | TEXT, LABELS)
PICTURES = st.builds(PictureSpec, TEXT, st.dictionaries(TEXT, st.integers() | TEXT | st.lists(TEXT)), st.none() | TEXT)
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
ALERTS = st.builds(
    Alert, TEXT, st.sampled_from(AlertStatus), TEXT, LABELS, LABELS, st.lists(VALUES, max_size=2).map(tuple),
    TIMES, TIMES, st.none() | TEXT, LABELS, st.none() | PICTURES, TEXT, TEXT,
)  # fmt: skip
GROUPS = st.builds(
    AlertGroup, TEXT, TEXT, TEXT, st.lists(ALERTS, max_size=3).map(tuple), st.integers(0, 9), st.none() | TEXT,
    st.none() | TEXT, st.lists(TEXT, max_size=2).map(tuple),
)  # fmt: skip


@given(GROUPS)
def test_what_was_stored_is_read_again(group) -> None:
    assert group_from_json(json.loads(json.dumps(group_to_json(group), allow_nan=False))) == group


def test_a_figure_that_is_none_survives() -> None:
    group = AlertGroup("s", "k", "t", (Alert("s", AlertStatus.FIRING, "t", values=(Value("v", math.nan),)),))
    (alert,) = group_from_json(json.loads(json.dumps(group_to_json(group), allow_nan=False))).alerts
    assert math.isnan(alert.values[0].number)


def test_what_another_version_wrote_is_read_as_far_as_it_is_known() -> None:
    group = group_from_json(
        {
            "source": "s", "group_key": "k", "title": "t", "new": 1,
            "alerts": [
                {
                    "source": "s", "status": "suppressed", "title": "a", "starts_at": "2026-11-21T03:00:00+00:00",
                    "values": [{"name": "v", "number": 1, "colour": "B"}],
                    "picture": {"kind": "url", "params": {}, "size": 3}, "shade": "red",
                }
            ],
        }
    )  # fmt: skip
    (alert,) = group.alerts
    assert (alert.status, alert.values, alert.picture) == (
        AlertStatus.FIRING, (Value("v", 1.0),), PictureSpec("url", {}),
    )  # fmt: skip
    assert alert.starts_at == datetime(2026, 11, 21, 3, tzinfo=UTC)


def test_a_group_without_alerts_is_read() -> None:
    assert group_from_json({"source": "s", "group_key": "k", "title": "t"}).alerts == ()
