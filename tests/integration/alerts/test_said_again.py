"""What Grafana says again: reminders, ends, groups in which something else is new; recorded bodies, to what is told."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import Any

import pytest

from tests.integration.alerts.test_identity import firing, post
from tests.integration.alerts.test_pipeline import HOUR, MINUTE, Make, PipelineHarness, fires, route
from tests.integration.alerts.test_pipeline import make_on_default as make
from tests.support import payload_bytes

__all__ = ["make"]
"""Whatever the database: what is stored is the pipeline's, which `test_pipeline` tries on both."""

START = "2026-11-29T17:45:00Z"
ENDED = "2026-11-29T17:47:40Z"


def recorded(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(payload_bytes(f"grafana/{name}"))
    return data.get("body", data) if "method" in data else data


def group(*hosts: str, ended: tuple[str, ...] = (), end: str = ENDED, start: str = START, **more: str) -> Any:
    """A group of Grafana 12 about some hosts, of which some are over."""
    data = recorded("12.4.0/firing-three-instances")
    one = data["alerts"][0]
    data["alerts"] = [
        copy.deepcopy(one)
        | {
            "labels": one["labels"] | {"host": host},
            "fingerprint": host,
            "startsAt": start,
            "status": "resolved" if host in ended else "firing",
            "endsAt": end if host in ended else one["endsAt"],
            **more,
        }
        for host in (*hosts, *ended)
    ]
    return data


def at(harness: PipelineHarness, moment: str) -> None:
    harness.clock.advance(datetime.fromisoformat(moment).timestamp() - harness.clock.wall())


async def last(harness: PipelineHarness) -> str:
    return (await harness.texts("ops"))[-1].text


ROUTES = {"repeats": HOUR, "plain": None}


@pytest.mark.parametrize("repeat", ROUTES)
async def test_an_end_that_is_said_again_with_its_end_for_a_start_is_told_once(make: Make, repeat: str) -> None:
    harness = make(routes=[route("ops", repeat_interval=ROUTES[repeat])])
    at(harness, "2026-11-29T17:45:07Z")
    assert await post(harness, "grafana", recorded("12.4.0/firing-three-instances")) == (1, 0)
    at(harness, "2026-11-29T17:47:47Z")
    assert await post(harness, "grafana", recorded("12.4.0/firing-and-resolved")) == (1, 0)
    text = await last(harness)
    assert text.startswith("✅ resolved · Queue too long 队列 (2 resolved, 1 still firing)")
    assert text.count("lasted 2 min 40 s") == 2
    assert text.endswith("↻ still firing: host=db-1")
    at(harness, "2026-11-29T17:50:27Z")
    said_again = await post(harness, "grafana", recorded("12.4.0/firing-and-resolved-said-again"))
    assert said_again == ((0, 1) if ROUTES[repeat] else (1, 0)), "Grafana's reminder of the one that fires"
    texts = [each.text for each in await harness.texts("ops")]
    assert sum(text.count("host=web-1") for text in texts[1:]) == 1
    assert "lasted 0 s" not in "\n".join(texts)
    assert len(await firing(harness)) == 1


async def test_ends_are_known_one_by_one_also_after_a_restart(make: Make) -> None:
    harness = make()
    at(harness, "2026-11-29T17:50:00Z")
    await post(harness, "grafana", group("a", ended=("b", "c")))
    service = harness.service()
    await service.load()
    harness.memory = service.state
    harness.clock.advance(5 * MINUTE)
    again = group(ended=("b",), start=ENDED)
    assert await post(harness, "grafana", again) == (0, 1)
    assert await post(harness, "grafana", group(ended=("b", "d"), start=ENDED)) == (1, 0)
    text = await last(harness)
    assert "host=d" in text
    assert "host=b" not in text


async def test_a_new_firing_and_its_end_are_told(make: Make) -> None:
    harness = make()
    at(harness, "2026-11-29T18:10:00Z")
    await post(harness, "grafana", group("a", "b"))
    await post(harness, "grafana", group("a", ended=("b",)))
    again = {"start": "2026-11-29T18:00:00Z"}
    assert await post(harness, "grafana", group("b", **again)) == (1, 0)
    assert await post(harness, "grafana", group(ended=("b",), end="2026-11-29T18:05:00Z", **again)) == (1, 0)
    assert "lasted 5 min" in await last(harness)


async def test_an_end_of_what_could_never_be_told_says_no_length_and_names_its_instance(make: Make) -> None:
    harness = make()
    at(harness, "2026-11-29T18:06:00Z")
    assert await post(harness, "grafana", recorded("12.4.0/resolved-after-failed-tries")) == (1, 0)
    text = await last(harness)
    assert text.startswith("✅ resolved · Within range")
    assert "host=web-2" in text
    assert "resolved at 18:05" in text
    assert await post(harness, "grafana", recorded("12.4.0/resolved-after-failed-tries")) == (0, 1)


async def test_an_end_without_a_start_lasted_since_the_bridge_saw_it_begin(make: Make) -> None:
    harness = make()
    at(harness, START)
    await post(harness, "grafana", group("a"))
    at(harness, ENDED)
    await post(harness, "grafana", group(ended=("a",), start=ENDED))
    assert "lasted 2 min 40 s (17:45 – 17:47)" in await last(harness)


async def test_the_same_body_is_a_retry_within_seconds_and_a_reminder_after_a_minute(make: Make) -> None:
    harness = make()
    at(harness, START)
    assert await post(harness, "grafana", group("a", "b")) == (1, 0)
    harness.clock.advance(20)
    assert await post(harness, "grafana", group("a", "b")) == (0, 1)
    harness.clock.advance(45)
    assert await post(harness, "grafana", group("a", "b")) == (1, 0)
    assert (await last(harness)).count("↻ since 17:45 (1 min 5 s)") == 2
    harness.clock.advance(20)
    assert await post(harness, "grafana", group("a", "b")) == (0, 1), "another replica's"


async def test_what_comes_along_with_news_is_only_named(make: Make) -> None:
    harness = make()
    at(harness, START)
    await post(harness, "grafana", group("a", "b"))
    harness.clock.advance(5 * MINUTE)
    assert await post(harness, "grafana", group("a", "b", "c")) == (1, 0)
    text = await last(harness)
    assert text.startswith("🔴 critical · Queue too long 队列 (1 firing, 2 still firing)")
    assert text.endswith("↻ still firing: host=a, host=b")
    assert text.count("since") == 1


async def test_a_replica_says_a_group_again_of_which_a_part_was_told(make: Make) -> None:
    harness = make()
    at(harness, START)
    await post(harness, "grafana", group("a", "b"))
    for body in (group("a", "b", "c"), group("a", "c", ended=("b",)), group("a", ended=("b", "c"))):
        harness.clock.advance(70)
        assert await post(harness, "grafana", body) == (1, 0)
        harness.clock.advance(5)
        assert await post(harness, "grafana", body) == (0, 1)
    again = group("a", ended=("b", "c"), start=ENDED)
    again["alerts"][0]["startsAt"] = START
    assert await post(harness, "grafana", again) == (0, 1)


async def test_what_was_refused_is_news_when_it_comes_again(make: Make) -> None:
    harness = make()
    harness.full = True
    with pytest.raises(Exception, match="full"):
        await post(harness, "grafana", group("a"))
    harness.full = False
    harness.clock.advance(5 * MINUTE)
    assert await post(harness, "grafana", group("a")) == (1, 0)
    assert "↻" not in await last(harness)


async def test_another_target_is_told_for_the_first_time(make: Make) -> None:
    harness = make()
    await post(harness, "grafana", group("a"))
    accepted = await harness.service().accept("grafana", json.dumps(group("a")).encode(), {}, ("boss",))
    assert accepted.queued == 1


# ---------------------------------------------------------------- legacy alerting, which tells no times


async def test_a_reminder_of_a_legacy_rule_says_since_when_and_its_end_how_long(make: Make) -> None:
    harness = make()
    body = recorded("9.4.0/legacy-reminder")
    at(harness, START)
    assert await post(harness, "grafana", body) == (1, 0)
    assert "↻" not in await last(harness)
    harness.clock.advance(3)
    assert await post(harness, "grafana", body) == (0, 1)
    harness.clock.advance(57)
    assert await post(harness, "grafana", body) == (1, 0)
    assert "↻ since 17:45 (1 min)" in await last(harness)
    assert await firing(harness) == ["[Alerting] With reminder"]
    harness.clock.advance(90)
    await post(harness, "grafana", body | {"state": "ok", "title": "[OK] With reminder", "evalMatches": []})
    assert "lasted 2 min 30 s (17:45 – 17:47)" in await last(harness)
    await post(harness, "grafana", body)
    assert "↻" not in await last(harness), "it fires anew"


async def test_the_length_of_a_legacy_firing_outlasts_a_restart(make: Make) -> None:
    harness = make()
    at(harness, START)
    await post(harness, "grafana", recorded("9.4.0/legacy-alerting-three-matches"))
    service = harness.service()
    await service.load()
    harness.memory = service.state
    harness.clock.advance(2 * HOUR)
    await post(harness, "grafana", recorded("9.4.0/legacy-ok"))
    assert "lasted 2 h" in await last(harness)


async def test_an_end_whose_beginning_nobody_saw_says_nothing_of_its_length(make: Make) -> None:
    harness = make()
    await post(harness, "grafana", recorded("9.4.0/legacy-ok"))
    assert "lasted" not in await last(harness)


# ---------------------------------------------------------------- the bridge's own repeats


async def test_what_the_bridge_tells_again_is_a_reminder_and_what_was_held_back_is_news(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)])
    await harness.silence("alertname=Held", seconds=HOUR)
    await harness.post(fires("Disk"), fires("Held"))
    await harness.look(HOUR + MINUTE)
    disk, held = sorted((await last(harness)).split("\n\n")[1:])
    assert "Disk\n↻ since" in disk
    assert "Held\nsince" in held
