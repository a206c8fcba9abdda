"""Where pictures cannot be made, rooms read a word of it at most, and those in charge why, once per cause and hour."""

from __future__ import annotations

import pytest

from tests.integration.delivery.delivery_harness import PNG, Room, alert, picture
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import Offline, PictureError, Unknown
from wxbridge.core.model import Capabilities, MessageState
from wxbridge.delivery.missing_pictures import find_cause

REFUSED = "Grafana at http://grafana:3000 cannot be reached: Connection refused (4 tries in 18.2 s)"


def failing(why: str = REFUSED):
    def paint(_spec):
        raise PictureError(why)

    return paint


async def test_a_text_that_waits_says_that_its_picture_is_missing_and_no_second_message_comes(world) -> None:
    w = world()
    w.paint = failing()
    await w.put("ops", "text", picture("graph"))
    await w.draw()
    await w.put("ops", "next")
    await w.drain()
    assert w.channel.texts == ["text\n(picture missing)", "next"]
    assert await w.states() == ["sent", "no_picture", "sent"]
    assert (await w.all())[1].error == REFUSED
    assert w.counted("ops", "no_picture") == 1


async def test_of_a_text_that_was_sent_the_room_hears_no_more(world) -> None:
    w = world(paces={"a": Pace(day=Rate(2, 86400))})
    w.paint = failing()
    await w.put("ops", "text", picture("graph"))
    await w.step()
    await w.draw()
    await w.put("ops", "next")
    await w.drain()
    assert w.channel.texts == ["text", "next"]
    assert len(w.told) == 1


async def test_a_text_that_may_have_been_sent_stays_as_it_is(world) -> None:
    w = world()
    w.paint = failing()
    w.channel.faults = [Unknown("no answer")]
    await w.put("ops", "text", picture("graph"))
    await w.step()
    await w.draw()
    await w.pass_time(3)
    assert w.channel.texts == ["(possible repeat) text"]


async def test_a_text_of_a_channel_that_is_away_can_still_carry_the_word(world) -> None:
    w = world()
    w.paint = failing()
    w.channel.faults = [Offline("away")]
    await w.put("ops", "text", picture("one"), picture("two"))
    await w.step()
    await w.draw()
    await w.pass_time(3)
    assert w.channel.texts == ["text\n(picture missing)"]


@pytest.mark.parametrize(("limit", "text"), [(22, "text\n(picture missing)"), (21, "text")])
async def test_where_there_is_no_room_for_the_word_the_text_goes_without_it(world, limit, text) -> None:
    w = world(capabilities={"a": Capabilities(text_limit=limit, text_unit="bytes")})
    w.paint = failing()
    await w.put("ops", "text", picture("graph"))
    await w.drain()
    assert w.channel.texts == [text]


async def test_a_picture_that_came_alone_leaves_a_word_with_its_link(world) -> None:
    w = world(ops=Room(), boss=Room())
    w.paint = failing()
    for target in ("ops", "boss"):
        await w.put(target, picture("graph", link=f"http://grafana/{target}"))
    await w.drain()
    assert len(w.drawings) == 1
    for room in ("ops", "boss"):
        assert w.channel.to(room) == [f"(picture missing)\n🔗 http://grafana/{room}"]


async def test_those_in_charge_hear_of_a_cause_once_an_hour_also_over_a_restart(world) -> None:
    w = world()
    for tries in (3, 4):
        w.paint = failing(f"Grafana at http://grafana:3000 cannot be reached: gone ({tries} tries in {tries}.5 s)")
        await w.put("ops", "text", picture(f"graph {tries}"))
        await w.drain()
    await w.crash()
    await w.put("ops", "text", picture("graph 5"))
    await w.drain()
    assert len(w.told) == 1
    assert "Grafana at http://grafana:3000 cannot be reached: gone" in w.told[0][0]
    assert "Each cause is told once an hour" in w.told[0][0]
    w.paint = failing("Prometheus at http://prometheus:9090 cannot be reached: gone")
    await w.put("ops", "text", picture("graph 6"))
    await w.drain()
    assert len(w.told) == 2
    w.clock.advance(3601)
    await w.put("ops", "text", picture("graph 7"))
    await w.drain()
    assert len(w.told) == 3


async def test_many_causes_are_not_all_told(world) -> None:
    w = world()
    for name in "abcdefghijklmnop":
        w.paint = failing(f"there is no dashboard {name}")
        await w.put("ops", "text", picture(name))
        await w.drain()
    assert len(w.told) == 10


async def test_a_missing_picture_can_be_asked_for_again(world) -> None:
    w = world()
    w.paint = failing()
    _, graph = await w.put("ops", "text", picture("graph"))
    await w.drain()
    w.paint = None
    await w.outbox.retry([graph], now=w.clock.wall(), expires_after=60)
    await w.drain()
    assert w.channel.texts == ["text\n(picture missing)", "[graph.png]"]


async def test_a_fallback_gets_the_alert_in_its_own_words_and_its_picture_another_try(world) -> None:
    w = world(ops=Room(fallback=("boss",), failover_after="60s"), boss=Room(channel="b"))
    w.paint = failing()
    w.channel.faults = [Offline("away")] * 200
    await w.alert("ops", alert("CPU", picture=picture("graph").spec))
    await w.draw()
    w.paint = None
    await w.pass_time(70)
    text, graph = w.channels["b"].texts
    assert "CPU" in text
    assert "missing" not in text
    assert graph == "[picture.png]"


class Store:
    """A place for pictures that takes none."""

    async def address(self, path, content_type) -> str:
        raise PictureError("https://store answered 403; look at `pictures.publish`")


async def test_a_store_that_takes_no_picture_costs_the_room_nothing_and_no_place_in_its_pace(world) -> None:
    w = world(paces={"a": Pace(day=Rate(2, 86400))}, capabilities={"a": Capabilities(text_limit=2000, pictures="url")})
    object.__setattr__(w.context, "publisher", Store())
    await w.put("ops", "text", picture("graph"))
    await w.put("ops", "next")
    await w.drain()
    assert w.channel.texts == ["text", "next"]
    assert (await w.all())[1].state is MessageState.NO_PICTURE
    assert "https://store answered 403" in w.told[0][0]


# ---------------------------------------------------------------- whose picture it is


async def test_a_picture_that_follows_other_texts_says_whose_it_is_also_after_a_restart(world) -> None:
    w = world()
    await w.put("ops", "first", picture("one"))
    await w.put("ops", "second", picture("two"))
    await w.step()
    await w.step()
    await w.crash()
    await w.draw()
    await w.drain()
    assert w.channel.texts == [
        "first", "second", "🖼 The picture of: first", "[one.png]", "🖼 The picture of: second", "[two.png]"
    ]  # fmt: skip


async def test_what_another_target_of_the_chat_was_sent_comes_between_too(world) -> None:
    w = world(ops=Room(room="same"), db=Room(room="same"))
    await w.put("ops", "first", picture("one"))
    await w.step()
    await w.put("db", "second")
    await w.step()
    await w.draw()
    await w.drain()
    assert w.channel.texts == ["first", "second", "🖼 The picture of: first", "[one.png]"]


async def test_a_picture_right_behind_its_text_needs_no_word_after_a_restart(world) -> None:
    w = world()
    await w.put("ops", "zero")
    await w.put("ops", "first", picture("one"))
    await w.step()
    await w.step()
    await w.crash()
    w.paint = lambda _spec: PNG
    await w.draw()
    await w.drain()
    assert w.channel.texts == ["zero", "first", "[one.png]"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Grafana cannot be reached: x (2 tries in 1.5 s)", "Grafana cannot be reached: x (9 tries in 19 s)"),
        ("Grafana answered /render/d-solo/a/b with HTTP 500", "Grafana answered /render/d-solo/c/d with HTTP 500"),
        ("http://g/d/1?token=x cannot be loaded: it is late", "http://g/d/2 cannot be loaded: it is late"),
    ],
)
def test_what_differs_by_paths_and_figures_only_is_one_cause(one, other) -> None:
    assert find_cause(one) == find_cause(other)


def test_hosts_and_words_tell_causes_apart() -> None:
    causes = ["http://a/x is gone", "http://b/x is gone", "http://a/x is late"]
    assert len(set(map(find_cause, causes))) == 3
