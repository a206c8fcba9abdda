from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wxbridge.config.types import Pace, Rate
from wxbridge.core.sliding_window import SlidingWindow
from wxbridge.delivery.rate_limit import DAY_SECONDS, Pacer

RATES = st.builds(Rate, st.integers(1, 5), st.integers(1, 20).map(float))
WAITS = st.lists(st.integers(0, 8), min_size=1, max_size=60)


@given(RATES, WAITS)
def test_no_window_of_the_rate_ever_holds_more_than_its_count(rate: Rate, waits: list[int]) -> None:
    window, now, sent = SlidingWindow(rate), 0.0, []
    for wait in waits:
        now += wait
        if not window.wait(now):
            window.note(now)
            sent.append(now)
    for first in sent:
        assert sum(first <= moment < first + rate.seconds for moment in sent) <= rate.count


@given(RATES, st.integers(1, 60))
def test_waiting_as_told_is_enough_and_not_a_second_too_long(rate: Rate, count: int) -> None:
    window, now, sent = SlidingWindow(rate), 0.0, []
    for _ in range(count):
        now += window.wait(now)
        assert window.wait(now) == 0
        window.note(now)
        sent.append(now)
    # A burst of `count` at once, then `count` more as soon as the window has passed.
    assert sent == [(index // rate.count) * rate.seconds for index in range(count)]


def test_what_may_go_at_once_shrinks_with_each_and_comes_back_with_time() -> None:
    window = SlidingWindow(Rate(3, 10.0))
    window.note(0.0)
    window.note(4.0)
    assert (window.left(4.0), window.left(9.9), window.left(10.0), window.left(14.0)) == (1, 1, 2, 3)


def test_a_chat_waits_for_its_own_rate_and_for_that_of_the_whole_channel() -> None:
    pacer = Pacer(Pace(chat=Rate(1, 1.0), total=Rate(3, 60.0)))
    for chat in ("a", "b"):
        assert pacer.wait(chat, 0.0) == 0
        pacer.note(chat, 0.0)
    assert pacer.wait("a", 0.25) == 0.75
    assert pacer.wait("c", 0.25) == 0
    assert pacer.budget(0.25) == 1
    pacer.note("c", 0.25)
    assert pacer.wait("d", 0.25) == 59.75
    assert pacer.budget(0.25) == 0


def test_a_day_counts_over_all_chats() -> None:
    pacer = Pacer(Pace(day=Rate(2, DAY_SECONDS)))
    pacer.note("a", 0.0)
    pacer.note("b", 3600.0)
    assert pacer.wait("c", 3600.0) == DAY_SECONDS - 3600


def test_without_a_pace_nothing_waits() -> None:
    pacer = Pacer(Pace())
    for _ in range(1000):
        pacer.note("a", 0.0)
    assert pacer.wait("a", 0.0) == 0
    assert pacer.budget(0.0) is None


def test_a_target_with_its_own_pace_is_not_held_to_that_of_the_others() -> None:
    pacer = Pacer(Pace(chat=Rate(1, 60.0)))
    pacer.give_own("fast", Pace(chat=Rate(5, 1.0)))
    pacer.give_own("free", Pace())
    for chat in ("fast", "free", "other"):
        pacer.note(chat, 0.0)
    assert [pacer.wait(chat, 0.5) for chat in ("fast", "free", "other")] == [0, 0, 59.5]


def test_what_was_sent_before_a_restart_still_counts() -> None:
    pacer = Pacer(Pace(chat=Rate(1, 60.0), total=Rate(2, 60.0)))
    pacer.remember([("a", 1_000_000.0), ("b", 1_000_030.0)], wall=1_000_040.0, now=5.0)
    assert pacer.wait("a", 5.0) == 20
    assert pacer.wait("b", 5.0) == 50
    assert pacer.budget(5.0) == 0
    assert pacer.budget(25.0) == 1


def test_a_clock_that_was_set_back_neither_bursts_nor_blocks_for_long() -> None:
    pacer = Pacer(Pace(chat=Rate(1, 60.0)))
    pacer.remember([("a", 2_000_000.0)], wall=1_000_000.0, now=5.0)
    assert pacer.wait("a", 5.0) == 60


@given(RATES, st.lists(st.integers(0, 100), min_size=2, max_size=40).map(sorted))
def test_a_restart_in_between_changes_nothing(rate: Rate, moments: list[int]) -> None:
    pace = Pace(chat=rate)
    running, past = Pacer(pace), []
    for moment, following in pairwise(moments):
        running.note("a", float(moment))
        past.append(("a", 1_000_000.0 + moment))
        restarted = Pacer(pace)
        restarted.remember(past, wall=1_000_000.0 + following, now=7.0)
        assert restarted.wait("a", 7.0) == running.wait("a", float(following))
