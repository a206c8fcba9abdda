"""Why a legacy rule fires without a figure, asked of the Grafana that posted it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.grafana import TOKEN
from tests.support import payload_bytes
from tests.unit.alerts.test_recorded_grafana import NOW
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.rule_errors import explain
from wxbridge.alerts.sources import grafana_legacy
from wxbridge.config.types import GrafanaSettings
from wxbridge.core.model import AlertGroup, AlertStatus
from wxbridge.monitors.grafana_alerts import GrafanaAlerts

pytestmark = pytest.mark.asyncio(loop_scope="session")


def posted(rule: int, name: str, **more: Any) -> AlertGroup:
    body = json.loads(payload_bytes("grafana/7.5.5/alerting-because-no-data"))["body"]
    return grafana_legacy.read(body | {"ruleId": rule, "ruleName": name, "title": f"[Alerting] {name}", **more})


@pytest_asyncio.fixture(loop_scope="session")
async def grafana(fake: Any) -> Any:
    recorded = json.loads(payload_bytes("grafana/7.5.5/api-alert-one"))["body"]
    no_data = {"Name": "没有值", "State": "alerting", "EvalData": {"noData": True}, "ExecutionError": ""}
    fires = {"Name": "磁盘快满了", "State": "alerting", "EvalData": {"evalMatches": []}, "ExecutionError": ""}
    fake.rules |= {"4": recorded, "10": recorded | no_data, "5": recorded | fires}
    async with GrafanaAlerts(GrafanaSettings(url=fake.url, token=TOKEN)) as client:  # type: ignore[arg-type]
        yield client


async def test_a_rule_that_could_not_be_evaluated_says_why(grafana: GrafanaAlerts) -> None:
    group = await explain(posted(4, "数据源坏了"), grafana)
    lines = write_text(group, "zh", NOW.tzinfo, NOW).splitlines()  # type: ignore[arg-type]
    assert lines[:2] == ["🔥 [Alerting] 数据源坏了", "规则执行出错"]
    assert lines[2].startswith("Error: tsdb.HandleRequest() error Post")
    assert lines[2].endswith("connection refused")


async def test_no_data_that_is_to_alert_is_told_as_no_data(grafana: GrafanaAlerts) -> None:
    (alert,) = (await explain(posted(10, "没有值"), grafana)).alerts
    assert alert.status is AlertStatus.NO_DATA


@pytest.mark.parametrize(
    "group",
    [
        posted(5, "another Grafana's"),
        posted(99, "gone"),
        posted(4, "数据源坏了", evalMatches=[{"metric": "a", "value": 1}]),
        posted(4, "数据源坏了", state="ok"),
        posted(4, "数据源坏了", orgId=0),
    ],
)
async def test_what_grafana_does_not_know_or_need_not_be_asked_stays_as_it_came(
    grafana: GrafanaAlerts, group: AlertGroup
) -> None:
    assert await explain(group, grafana) == group
    assert await explain(group, None) == group
