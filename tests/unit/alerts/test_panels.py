"""The Grafana panel that an alert names, and the request for its picture."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wxbridge.alerts.panels import MIN_MARGIN, panel_of, panel_spec, span_of
from wxbridge.core.model import Alert, AlertStatus, PictureSpec
from wxbridge.core.pictures import PanelAddress

NOW = datetime(2026, 3, 7, 6, 0, tzinfo=UTC)


def alert(**given: Any) -> Alert:
    return Alert("grafana", AlertStatus.FIRING, "CPU", starts_at=NOW - timedelta(minutes=10), **given)


@pytest.mark.parametrize(
    ("given", "panel"),
    [
        (
            {"links": {"panel": "http://g:3000/d/kafka/overview?orgId=1&viewPanel=4"}},
            PanelAddress("4", "kafka", org="1"),
        ),
        (
            {"links": {"panel": "https://else.where/grafana/d/kafka?viewPanel=panel-4&var-host=a&var-host=b+c"}},
            PanelAddress("4", "kafka", variables=(("var-host", "a"), ("var-host", "b c"))),
        ),
        (
            {"link": "http://localhost:3000/d/S0mwAVzRz/mq135?fullscreen&edit&tab=alert&panelId=2&orgId=1"},
            PanelAddress("2", "S0mwAVzRz", org="1"),
        ),
        ({"links": {"panel": "/d-solo/kafka/x?panelId=7"}}, PanelAddress("7", "kafka")),
        ({"links": {"panel": "/d/kafka/x?viewPanel=panel-3-clone-1"}}, PanelAddress("panel-3-clone-1", "kafka")),
        (
            {"annotations": {"__dashboardUid__": "k1", "__panelId__": "9", "__orgId__": "3"}},
            PanelAddress("9", "k1", org="3"),
        ),
        ({"annotations": {"__dashboardId__": "12", "__panelId__": "9"}}, PanelAddress("9", number=12)),
        (
            {
                "annotations": {"__dashboardUid__": "k1", "__panelId__": "9"},
                "links": {"dashboard": "http://g/d/k1/x?var-a=1&from=2", "panel": "http://g/d/other/x?viewPanel=1"},
            },
            PanelAddress("9", "k1", variables=(("var-a", "1"),)),
        ),
        ({"links": {"dashboard": "http://g:3000/d/kafka/overview"}}, None),
        ({"links": {"panel": "http://g:3000/alerting/list?viewPanel=4"}}, None),
        ({"links": {"panel": "http://g:3000/d/..%2F..%2Fadmin/x?viewPanel=4"}}, None),
        ({"links": {"panel": "http://[broken/d/kafka/x?viewPanel=4"}}, None),
        ({"annotations": {"__dashboardUid__": "../admin", "__panelId__": "9"}}, None),
        ({"annotations": {"__dashboardId__": "0", "__panelId__": "9"}}, None),
        ({"annotations": {"__dashboardUid__": "k1", "__panelId__": "9&from=0"}}, None),
        ({}, None),
    ],
)
def test_an_alert_names_its_panel_by_address_or_by_annotations(given, panel) -> None:
    assert panel_of(alert(**given)) == panel


@pytest.mark.parametrize(
    ("started", "ended", "start", "end"),
    [
        (timedelta(0), None, timedelta(minutes=15), timedelta(0)),
        (timedelta(minutes=40), None, timedelta(minutes=50), timedelta(0)),
        (timedelta(days=9), None, timedelta(days=1), timedelta(0)),
        (None, None, timedelta(minutes=15), timedelta(0)),
        (timedelta(hours=3), timedelta(hours=1), timedelta(hours=3, minutes=30), timedelta(minutes=30)),
        (timedelta(minutes=31), timedelta(minutes=30), timedelta(minutes=40), timedelta(minutes=25)),
        (timedelta(days=4), timedelta(0), timedelta(days=5), timedelta(0)),
        (timedelta(minutes=-5), None, timedelta(minutes=15), timedelta(0)),
    ],
)
def test_the_whole_episode_is_shown_with_a_margin_and_nothing_after_now(started, ended, start, end) -> None:
    found = span_of(NOW, None if started is None else NOW - started, None if ended is None else NOW - ended)
    assert found == (NOW - start, NOW - end)
    assert found[1] - found[0] >= timedelta(minutes=15)


def test_a_panels_picture_has_absolute_times_and_the_link_that_people_know() -> None:
    link = "http://g:3000/d/kafka/overview?orgId=1&viewPanel=4&var-host=a"
    linked = alert(links={"panel": link})
    panel = panel_of(linked)
    assert panel is not None
    spec = panel_spec(panel, linked, NOW, timezone="Asia/Shanghai", language="zh-CN")
    assert spec == PictureSpec(
        "panel",
        {
            "panel": "4",
            "uid": "kafka",
            "org": "1",
            "variables": [["var-host", "a"]],
            "from": int((NOW - timedelta(minutes=10) - MIN_MARGIN).timestamp()) * 1000,
            "to": int(NOW.timestamp()) * 1000,
            "timezone": "Asia/Shanghai",
            "language": "zh-CN",
        },
        link=link,
    )
    assert panel_of(alert()) is None
