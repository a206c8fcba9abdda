"""When a figure is too high, and when that is over."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.config.hosts import FigureLimit, HostSettings, resolve_limits
from wxbridge.hosts.thresholds import (
    MIN_WARNING_INTERVAL_SECONDS,
    FigureChange,
    FigureState,
    ThresholdVerdict,
    apply_sample,
)

EVERY = 10.0
OLDER = FigureLimit(above=80, clear=76, hold=50, repeat=300)
"""The older script's rule: the mean of the last 5 samples ≥ 80 %, at most one warning in 5 minutes."""


def told(values: list[float | None], limit: FigureLimit = OLDER, every: float = EVERY) -> list[FigureChange]:
    """What is told of one value after another; None is a sample that was not taken."""
    state, changes = FigureState(), []
    for index, value in enumerate(values):
        if value is not None:
            state, change = apply_sample(state, 1000 + index * every, value, limit, every)
            changes += [change] if change else []
    return changes


def verdicts(values: list[float | None], limit: FigureLimit = OLDER) -> list[tuple[str, float]]:
    return [(change.verdict.value, change.at - 1000) for change in told(values, limit)]


def test_the_mean_of_five_samples_decides_as_in_the_older_script() -> None:
    assert verdicts([70, 70, 90, 90, 70]) == []
    assert verdicts([70, 75, 80, 85, 90]) == [("firing", 40)]
    assert told([70, 75, 80, 85, 90])[0].mean == 80


def test_four_samples_are_too_few_however_high() -> None:
    assert verdicts([100, 100, 100, 100]) == []


def test_it_is_over_only_below_the_lower_limit() -> None:
    assert verdicts([90] * 5 + [78] * 20) == [("firing", 40)]
    assert verdicts([90] * 5 + [75] * 20) == [("firing", 40), ("resolved", 90)]


def test_flapping_at_the_threshold_gives_one_warning() -> None:
    values: list[float | None] = [79.5 if index % 2 else 80.6 for index in range(25)]
    assert verdicts(values) == [("firing", 40)]


def test_what_comes_back_at_once_warns_again_only_after_five_minutes() -> None:
    on, off = [95.0] * 6, [10.0] * 6
    firing = [at for verdict, at in verdicts([*on, *off] * 12, FigureLimit(80, 76, 50, None)) if verdict == "firing"]
    assert len(firing) > 2
    assert all(later - earlier >= MIN_WARNING_INTERVAL_SECONDS for earlier, later in pairwise(firing))


def test_what_lasts_is_told_again_after_the_repeat_interval() -> None:
    assert verdicts([95] * 70) == [("firing", 40), ("still", 340), ("still", 640)]
    assert verdicts([95] * 70, FigureLimit(80, 76, 50, None)) == [("firing", 40)]


def test_samples_before_a_gap_are_no_evidence() -> None:
    assert verdicts([95, 95, 95, 95, None, None, None, 95, 95, 95, 95]) == []
    assert verdicts([95] * 5 + [None] * 100 + [10] * 4) == [("firing", 40)]
    assert verdicts([95] * 5 + [None] * 100 + [10] * 5)[-1] == ("resolved", 1090)


def test_one_lost_sample_is_no_gap() -> None:
    assert verdicts([95, 95, None, 95, 95]) == [("firing", 40)]


def test_a_clock_that_is_set_back_begins_anew() -> None:
    state = FigureState()
    for at in (1000.0, 1010, 1020, 1030, 500, 510, 520, 530):
        state, change = apply_sample(state, at, 99, OLDER, EVERY)
        assert change is None
    assert apply_sample(state, 540, 99, OLDER, EVERY)[1] == FigureChange(ThresholdVerdict.FIRING, 540, 500, 99)


def test_without_a_time_to_wait_one_sample_decides() -> None:
    assert verdicts([95, 10], FigureLimit(80, 76, 0, None)) == [("firing", 0), ("resolved", 10)]


values_with_gaps = st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=200)


@given(
    values_with_gaps, st.floats(10, 95), st.sampled_from([0.0, 10.0, 50.0, 120.0]), st.sampled_from([None, 60.0, 300.0])
)
def test_firing_and_resolved_alternate_and_warnings_keep_their_distance(
    values: list[float | None], above: float, hold: float, repeat: float | None
) -> None:
    limit = FigureLimit(above, above * 0.95, hold, repeat)
    changes = told(values, limit)
    ends = [change.verdict for change in changes if change.verdict is not ThresholdVerdict.STILL]
    assert ends == [
        ThresholdVerdict.FIRING if index % 2 == 0 else ThresholdVerdict.RESOLVED for index in range(len(ends))
    ]
    warned = [change.at for change in changes if change.verdict is not ThresholdVerdict.RESOLVED]
    least = MIN_WARNING_INTERVAL_SECONDS if repeat is None else min(MIN_WARNING_INTERVAL_SECONDS, repeat)
    assert all(later - earlier >= least for earlier, later in pairwise(warned))
    for change in changes:
        assert change.mean < limit.clear if change.verdict is ThresholdVerdict.RESOLVED else change.mean >= limit.clear
        assert change.since <= change.at


@given(values_with_gaps)
def test_what_is_never_above_is_never_told(values: list[float | None]) -> None:
    assert told([None if value is None else value * 0.79 for value in values]) == []


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=30))
def test_the_sampler_may_be_late_without_a_difference(late: list[float]) -> None:
    state, found = FigureState(), []
    for index, delay in enumerate(late):
        state, change = apply_sample(state, 1000 + index * EVERY + delay, 95, OLDER, EVERY)
        found += [change] if change else []
    assert found
    assert found[0].verdict is ThresholdVerdict.FIRING
    assert found[0].at < 1000 + 5 * EVERY


# ---------------------------------------------------------------- settings


def test_a_machine_may_have_thresholds_of_its_own() -> None:
    settings = HostSettings.model_validate(
        {
            "cpu": 70,
            "disk": {"above": 85, "for": "5m", "clear": 80, "severity": "critical"},
            "hosts": {"db-1": {"cpu": {"above": 95}, "memory": None, "for": "2m"}},
        }
    )
    figures = dict.fromkeys(("cpu", "memory", "disk:/", "net_in"))
    assert resolve_limits(settings, "web-1", figures, 8) == {
        "cpu": FigureLimit(70, 66.5, 50, 3600),
        "memory": FigureLimit(90, 85.5, 50, 3600),
        "disk:/": FigureLimit(85, 80, 300, 3600, "critical"),
    }
    assert resolve_limits(settings, "db-1", figures, 8) == {
        "cpu": FigureLimit(95, 90.25, 120, 3600),
        "disk:/": FigureLimit(85, 80, 300, 3600, "critical"),
    }


def test_a_load_may_be_counted_per_core() -> None:
    settings = HostSettings.model_validate({"load": 1.5, "load_per_core": True})
    assert resolve_limits(settings, "web-1", {"load1": None}, 8)["load1"].above == 12


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"cpu": {"above": 80, "clear": 90}}, "`clear` (90) is above `above` (80)"),
        ({"cpu": "80%"}, "a threshold is a number, such as 80, or a mapping with `above`, not '80%'"),
        ({"cpu": 101}, "it is in percent: 101 is never reached"),
        ({"hosts": {"db-1": {"disk": {"above": 900}}}}, "it is in percent: 900 is never reached"),
        ({"memory": 0}, "greater than 0"),
        ({"name": "a b"}, "no name for a machine"),
        ({"for": "soon"}, "no duration"),
        ({"cpuu": 80}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused_in_words(given_: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        HostSettings.model_validate(given_)
    assert words in str(caught.value)
