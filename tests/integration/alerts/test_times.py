"""Since when and how long: bodies of senders that say it in their own way, or not at all, to what rooms are told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.alerts.test_identity import post
from tests.integration.alerts.test_pipeline import HOUR, MINUTE, Make, PipelineHarness, fires
from tests.integration.alerts.test_pipeline import make_on_default as make
from tests.support import payload_bytes

__all__ = ["make"]
"""Whatever the database: what is stored is the pipeline's, which `test_pipeline` tries on both."""


def sample(name: str, **changes: Any) -> dict[str, Any]:
    return json.loads(payload_bytes(f"generic/{name}")) | changes


def at(harness: PipelineHarness, moment: str) -> None:
    harness.clock.advance(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() - harness.clock.wall())


async def times(harness: PipelineHarness) -> list[str]:
    """The line of each text that tells its times."""
    texts = [each.text for each in await harness.texts("ops")]
    words = ("since ", "↻ since ", "lasted ", "resolved at ")
    return [next((line for line in text.splitlines() if line.startswith(words)), "") for text in texts]


async def test_zabbix_s_duration_counts_from_when_it_came_in_also_where_it_tries_again(make: Make) -> None:
    harness = make()
    at(harness, "2026-11-29T12:00:10")
    assert await post(harness, "generic/zabbix", sample("zabbix_6.0_problem", event_duration="5m 10s")) == (1, 0)
    harness.clock.advance(90)
    assert await post(harness, "generic/zabbix", sample("zabbix_6.0_problem", event_duration="5m 10s")) == (1, 0)
    at(harness, "2026-11-29T12:10:00")
    assert await post(harness, "generic/zabbix", sample("zabbix_6.0_recovery", event_duration="15m")) == (1, 0)
    harness.clock.advance(90)
    assert await post(harness, "generic/zabbix", sample("zabbix_6.0_recovery", event_duration="15m")) == (0, 1)
    assert await times(harness) == [
        "since 11:55 (5 min 10 s)", "↻ since 11:55 (6 min 40 s)", "lasted 15 min (11:55 – 12:10)",
    ]  # fmt: skip


CLOCKS = {
    "event_date": "2026.11.29", "event_time": "19:45:00", "event_duration": "15m 2s",
    "event_recovery_date": "2026.11.29", "event_recovery_time": "20:00:02",
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("2026-11-29T12:00:03", "lasted 15 min 2 s (11:45 – 12:00)"),  # a server in Shanghai, a bridge in Greenwich
        ("2026-11-29T20:00:03", "lasted 15 min 2 s (19:45 – 20:00)"),
        ("2026-11-29T14:30:30", "lasted 15 min 2 s (14:15 – 14:30)"),  # Adelaide, or so
        ("2026-11-29T20:07:00", "lasted 15 min 2 s (19:45 – 20:00)"),  # told late: the clocks count
        ("2026-12-02T09:00:00", "lasted 15 min 2 s (11-29 19:45 – 20:00)"),
    ],
)
async def test_zabbix_s_clock_may_be_of_another_zone(make: Make, now: str, told: str) -> None:
    harness = make()
    at(harness, now)
    await post(harness, "generic/zabbix", sample("zabbix_6.0_recovery", **CLOCKS))
    without_end = {name: text for name, text in CLOCKS.items() if "recovery" not in name}
    await post(harness, "generic/zabbix", sample("zabbix_6.0_recovery", **without_end, event_id="39"))
    assert await times(harness) == [told] * 2


async def test_uptime_kuma_says_again_that_it_is_down_since_when_it_was(make: Make) -> None:
    harness = make()
    at(harness, "2026-11-29T14:05:32")
    await post(harness, "generic/uptime-kuma", sample("uptime-kuma_2.5.3_down"))
    at(harness, "2026-11-29T14:35:32")
    beat = sample("uptime-kuma_2.5.3_down")["heartbeat"] | {"important": False, "time": "2026-11-29 14:35:31.500"}
    await post(harness, "generic/uptime-kuma", sample("uptime-kuma_2.5.3_down", heartbeat=beat))
    at(harness, "2026-11-29T15:06:00")
    beat = sample("uptime-kuma_2.5.3_up")["heartbeat"] | {"time": "2026-11-29 15:05:31.340"}
    await post(harness, "generic/uptime-kuma", sample("uptime-kuma_2.5.3_up", heartbeat=beat))
    assert await times(harness) == ["since 14:05", "↻ since 14:05 (30 min 1 s)", "lasted 1 h (14:05 – 15:05)"]


async def test_an_end_without_a_time_is_now_and_stays_there_when_it_is_said_again_or_told_later(make: Make) -> None:
    harness = make()
    at(harness, "2026-11-29T12:00:00")
    await harness.post(fires("Disk", start="2026-11-29T11:50:00Z"))
    await harness.silence("alertname=Disk", seconds=HOUR)
    at(harness, "2026-11-29T12:20:00")
    ended = fires("Disk", start="2026-11-29T11:50:00Z") | {"status": "resolved"}
    await harness.post(ended)
    harness.clock.advance(5 * MINUTE)
    await harness.post(ended)
    await harness.look(2 * HOUR)
    assert await times(harness) == ["since 11:50 (10 min)", "lasted 30 min (11:50 – 12:20)"]


@pytest.mark.parametrize(
    ("hook", "begins", "ends"),
    [
        ("generic", {"title": "Disk", "status": "firing"}, {"title": "Disk", "status": "ok"}),
        ("generic/jenkins", *({"name": "a", "build": {"status": word}} for word in ("FAILURE", "SUCCESS"))),
        ("grafana", *({"title": "Disk", "ruleId": 1, "state": state} for state in ("alerting", "ok"))),
        ("openfalcon", *({"tos": "a", "content": f"[P0][{state}][h][][x all(#3) a.b  1<2][O1 2026-11-29 20:00:00]"}
                         for state in ("PROBLEM", "OK"))),
    ],
)  # fmt: skip
async def test_an_end_tells_how_long_it_was_since_the_bridge_heard_of_it(
    make: Make, hook: str, begins: Any, ends: Any
) -> None:
    harness = make()
    at(harness, "2026-11-29T12:00:00")
    assert await post(harness, hook, begins) == (1, 0)
    at(harness, "2026-11-29T12:07:00")
    assert await post(harness, hook, ends) == (1, 0)
    assert (await times(harness))[-1] == "lasted 7 min (12:00 – 12:07)"


async def test_a_simple_body_tells_the_value_at_the_recovery(make: Make) -> None:
    harness = make()
    body = {"title": "Disk", "values": {"used": 93.2}}
    await post(harness, "generic", body | {"status": "firing"})
    await post(harness, "generic", body | {"status": "ok", "recovery_value": {"used": 41.5}})
    await post(harness, "generic", body | {"status": "ok", "recovery_value": None})
    texts = [each.text for each in await harness.texts("ops")]
    assert ["used: 93.2" in text for text in texts] == [True, False, False]
    assert "used: 41.5" in texts[1]


async def test_an_end_of_what_nobody_heard_of_says_no_length(make: Make) -> None:
    harness = make()
    assert await post(harness, "generic", {"title": "Disk", "status": "ok"}) == (1, 0)
    assert await times(harness) == [""]


async def test_a_simple_body_says_its_times_in_any_way(make: Make) -> None:
    harness = make()
    at(harness, "2026-11-29T12:00:00")
    body = {"title": "Disk", "status": "firing"}
    await post(harness, "generic", body | {"starts_at": 1795953000, "id": "a"})
    await post(harness, "generic", body | {"startsAt": "2026-11-29T19:50:00+08:00", "id": "b"})
    await post(harness, "generic", body | {"starts_at": "2026-11-29 11:50:00", "id": "c"})
    await post(harness, "generic", body | {"duration": "10m", "id": "d"})
    await post(harness, "generic", body | {"status": "ok", "starts_at": 1795953000, "endsAt": 1795953600, "id": "e"})
    assert await times(harness) == ["since 11:50 (10 min)"] * 4 + ["lasted 10 min (11:50 – 12:00)"]
