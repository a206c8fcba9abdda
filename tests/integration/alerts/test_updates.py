"""What people do with a problem in Zabbix: acknowledge, comment, close. A problem ends once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.alerts.test_identity import firing, post
from tests.integration.alerts.test_pipeline import HOUR, Make, route
from tests.integration.alerts.test_pipeline import make_on_default as make

__all__ = ["make"]
"""Whatever the database: what is stored is the pipeline's, which `test_pipeline` tries on both."""


def zabbix(value: str, *, action: str = "", message: str = "", **more: str) -> dict[str, Any]:
    """A body as the documented parameters make it, without any time."""
    update = {"event_update_status": "1", "event_update_action": action, "event_update_message": message}
    absent = {"event_update_status": "0", "event_update_action": "{EVENT.UPDATE.ACTION}"}
    return {
        "event_name": "Disk is filling", "event_id": "25", "event_value": value, "event_nseverity": "2",
        "event_opdata": "6.84 KB", "trigger_id": "7", "user_fullname": "Li Si",
        **(update if action else absent), **more,
    }  # fmt: skip


PROBLEM, RECOVERY = zabbix("1"), zabbix("0")
CLOSED = zabbix("0", action="commented and closed", message="closing by hand")
COMMENT = zabbix("0", action="commented", message="after the end")


@pytest.mark.parametrize("repeat_interval", [None, HOUR])
@pytest.mark.parametrize("order", [(CLOSED, RECOVERY), (RECOVERY, CLOSED)])
async def test_a_problem_that_is_closed_by_hand_ends_once(
    make: Make, order: tuple[Any, Any], repeat_interval: float | None
) -> None:
    harness = make(routes=[route("ops", repeat_interval=repeat_interval)])
    await post(harness, "generic/zabbix", PROBLEM)
    for body in order:
        harness.clock.advance(2)
        await post(harness, "generic/zabbix", body)
    told = await harness.told("ops")
    assert told == ["🟡 warning · Disk is filling", "✅ resolved · Disk is filling"]
    assert await firing(harness) == []


async def test_a_comment_on_what_is_over_is_a_message_and_no_second_end(make: Make) -> None:
    harness = make(routes=[route("ops")])
    for body in (PROBLEM, RECOVERY, COMMENT):
        harness.clock.advance(60)
        await post(harness, "generic/zabbix", body)
    assert [text.text.splitlines()[:3] for text in await harness.texts("ops")][-1] == [
        "📨 Disk is filling", "Li Si: commented", "after the end",
    ]  # fmt: skip
    assert [line[0] for line in await harness.told("ops")] == ["🟡", "✅", "📨"]
    assert await firing(harness) == []


@pytest.mark.parametrize("repeat_interval", [None, HOUR])
async def test_who_acknowledges_is_told_once_and_it_fires_on(make: Make, repeat_interval: float | None) -> None:
    harness = make(routes=[route("ops", repeat_interval=repeat_interval)])
    await post(harness, "generic/zabbix", PROBLEM)
    acknowledged = zabbix("1", action="acknowledged", message="")
    for _ in range(2 if repeat_interval else 1):
        harness.clock.advance(60)
        await post(harness, "generic/zabbix", acknowledged)
    told = await harness.texts("ops")
    assert len(told) == 2
    assert "Li Si: acknowledged" in told[-1].text.splitlines()
    assert await firing(harness) == ["Disk is filling"]


async def test_an_end_that_was_missed_is_the_end_also_where_a_comment_says_so_first(make: Make) -> None:
    harness = make(routes=[route("ops")])
    await post(harness, "generic/zabbix", PROBLEM)
    harness.clock.advance(60)
    await post(harness, "generic/zabbix", COMMENT)
    assert (await harness.told("ops"))[-1] == "✅ resolved · Disk is filling"
    assert await firing(harness) == []


async def test_a_test_press_is_told_each_time_and_nothing_fires(make: Make) -> None:
    harness = make(routes=[route("ops")])
    macros = dict.fromkeys(("event_id", "event_name", "event_value", "trigger_id"), "{EVENT.ID}")
    for _ in range(2):
        await post(harness, "generic/zabbix", macros)
    assert await harness.told("ops") == ["📨 Test message (zabbix)"] * 2
    assert await firing(harness) == []
