"""Pictures are drawn ahead: what several want is drawn once, and none waits for nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.integration.delivery.delivery_harness import PNG, Room, picture
from tests.support import wait_until
from wxbridge.core.errors import NothingToDraw
from wxbridge.core.model import ChannelState, Picture, PictureSpec
from wxbridge.delivery.render_loop import MAX_DRAWINGS


async def test_one_picture_for_several_targets_is_drawn_once_and_is_one_file(world) -> None:
    w = world(ops=Room(), boss=Room(), duty=Room())
    for target in ("ops", "boss", "duty"):
        await w.put(target, "text", picture("graph"))
    await w.put("ops", picture("another"))
    await w.drain()
    assert [spec.params["url"] for spec in w.drawings] == ["graph", "another"]
    for room in ("ops", "boss", "duty"):
        assert w.channel.to(room)[:2] == ["text", "[graph.png]"]
    assert len(list((w.directory / "pictures").iterdir())) == 2


async def test_a_picture_wanted_while_the_same_is_being_drawn_waits_for_that_one(world) -> None:
    w = world(ops=Room(), boss=Room())
    gate = asyncio.Event()

    async def slowly(_spec):
        await gate.wait()
        return PNG

    w.paint = slowly
    await w.put("ops", picture("graph"))
    await w.delivery.render_loop.round()
    await w.put("boss", picture("graph"))
    await w.delivery.render_loop.round()
    gate.set()
    await w.drain()
    assert len(w.drawings) == 1
    assert (w.channel.to("ops"), w.channel.to("boss")) == (["[graph.png]"], ["[graph.png]"])


async def test_the_same_address_drawn_in_another_way_is_another_picture(world) -> None:
    w = world()
    body = picture("graph")
    await w.put("ops", body)
    await w.put("ops", replace(body, spec=replace(body.spec, params={"url": "graph", "width": 400})))
    await w.drain()
    assert len(w.drawings) == 2


async def test_pictures_that_are_done_at_the_same_moment_leave_no_other_waiting(world) -> None:
    w = world()
    w.channel.state = ChannelState.UNREACHABLE  # nothing else wakes the painter
    gate = asyncio.Event()

    async def together(_spec):
        await gate.wait()
        return PNG

    w.paint = together
    for number in range(9):
        await w.put("ops", picture(f"graph {number}"))
    w.outbox.connect(render_waker=w.delivery.render_loop.waker, stir=[])
    running = asyncio.create_task(w.delivery.render_loop.run())
    record = w.outbox.record_picture
    arrived, both = [], asyncio.Event()

    async def recorded_together(message, file):
        # As in a shared commit: those who wait at the same time go on in the same turn of the loop.
        result = await record(message, file)
        arrived.append(None)
        if len(arrived) == MAX_DRAWINGS:
            both.set()
        await both.wait()
        return result

    w.outbox.record_picture = recorded_together
    gate.set()
    try:
        await wait_until(lambda: len(w.drawings) == 9)
    finally:
        running.cancel()
        await asyncio.wait([running])


def of_alert(name: str, link: str | None = None) -> Picture:
    return Picture(spec=PictureSpec("alert", {"tries": [name]}, link))


async def test_an_alerts_picture_of_which_there_is_none_is_left_out_without_a_word(world) -> None:
    w = world(ops=Room(), boss=Room())

    def nothing(_spec):
        raise NothingToDraw("Prometheus has no data", reason="no_data")

    w.paint = nothing
    for target in ("ops", "boss"):
        await w.put(target, "text", of_alert("load", link="http://prometheus/graph"))
    await w.drain()
    assert (w.channel.to("ops"), w.channel.to("boss")) == (["text"], ["text"])
    assert len(w.drawings) == 1
    assert not w.told


async def test_a_chart_that_somebody_asked_for_tells_that_there_is_nothing_to_draw(world) -> None:
    w = world(ops=Room())

    def nothing(_spec):
        raise NothingToDraw("Prometheus has no data")

    w.paint = nothing
    await w.put("ops", Picture(spec=PictureSpec("chart", {"expr": "up"})))
    await w.drain()
    assert w.channel.to("ops") == ["(picture missing)"]
    assert "Prometheus has no data" in w.told[0][0]


async def test_dashboards_that_take_long_leave_room_for_the_pictures_of_alerts(world) -> None:
    w = world(ops=Room())
    gate = asyncio.Event()

    async def slowly(spec):
        if spec.kind != "alert":
            await gate.wait()
        return PNG

    w.paint = slowly
    for number in range(MAX_DRAWINGS + 2):
        await w.put("ops", picture(f"dashboard{number}"))
    await w.put("ops", of_alert("load"))
    await w.delivery.render_loop.round()
    assert len(w.delivery.render_loop.under_way) == MAX_DRAWINGS + 1
    await wait_until(lambda: len(w.delivery.render_loop.under_way) == MAX_DRAWINGS)
    assert [spec.kind for spec in w.drawings].count("alert") == 1
    gate.set()
    await w.drain()
    assert len(w.drawings) == MAX_DRAWINGS + 3
