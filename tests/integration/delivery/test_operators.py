"""Who hears of what the bridge itself suffers."""

from __future__ import annotations

import structlog

from tests.integration.delivery.delivery_harness import Room
from wxbridge.alerts.render import Destination
from wxbridge.core.model import Capabilities
from wxbridge.delivery.operators import OperatorReports


def reports(w, *operators: str) -> OperatorReports:
    made = OperatorReports(w.outbox)
    destinations = {name: Destination(Capabilities(text_limit=2000), 3600.0) for name in w.targets}
    made.reconfigure(operators, w.targets, destinations, "en")
    return made


async def told(w) -> list[tuple[str, str]]:
    return [(message.target, message.body.text) for message in await w.all()]


async def test_every_operator_hears_it_and_of_one_the_others_or_its_fallback(world) -> None:
    w = world(one=Room(fallback=("spare",)), two=Room(), spare=Room())
    await reports(w, "one", "two").tell("a line", "ops")
    await reports(w, "one", "two").tell("of one", "one")
    await reports(w, "one").tell("of the only one", "one")
    assert await told(w) == [
        ("one", "a line"), ("two", "a line"), ("two", "of one"), ("spare", "of the only one"),
    ]  # fmt: skip


async def test_where_there_is_none_it_stands_in_the_log(world) -> None:
    w = world(ops=Room(fallback=("spare",)), spare=Room())
    with structlog.testing.capture_logs() as lines:
        await reports(w).tell("a line", "ops")
    assert [line["event"] for line in lines] == ["nobody to tell"]
    assert await told(w) == []
