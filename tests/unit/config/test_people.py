"""Whose turn it is: by the local clock, whatever is done to it, and whoever is away."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wxbridge.config.people import PeopleSettings, RotaSettings

SHANGHAI, BERLIN, LORD_HOWE = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")
NAMES = ["张三", "李四", "王五"]


def rota(**given) -> RotaSettings:
    return RotaSettings.model_validate({"rota": ["张三", "李四"]} | given)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def on_duty(settings: RotaSettings, text: str, zone: ZoneInfo = SHANGHAI) -> str:
    return ", ".join(settings.find_on_duty(at(text, zone), zone))


@pytest.mark.parametrize(
    ("given", "moment", "who"),
    [
        ({"start": "2026-11-30"}, "2026-11-30 00:00", "张三"),
        ({"start": "2026-11-30"}, "2026-12-06 23:59", "张三"),
        ({"start": "2026-11-30"}, "2026-12-07 00:00", "李四"),
        ({"start": "2026-11-30"}, "2026-12-14 00:00", "张三"),
        ({"start": "2026-11-30"}, "2026-11-29 23:59", "李四"),
        ({"start": "2026-11-30 09:00"}, "2026-12-07 08:59", "张三"),
        ({"start": "2026-11-30 09:00"}, "2026-12-07 09:00", "李四"),
        ({"start": "2026-11-30", "turn": "1d"}, "2026-12-01 12:00", "李四"),
        ({"start": "2026-11-30 08:00", "turn": "12h"}, "2026-11-30 20:00", "李四"),
        ({"start": "2026-11-30 08:00", "turn": "12h"}, "2026-12-01 08:00", "张三"),
        # a year later, over the end of months and years
        ({"start": "2026-11-30", "turn": "2w"}, "2027-11-29 12:00", "张三"),
        ({"start": "2026-11-30", "turn": "2w"}, "2027-12-13 12:00", "李四"),
        # by weekday, from the first of the year 2000
        ({"start": "monday"}, "2000-01-03 00:00", "张三"),
        ({"start": "周一"}, "2000-01-10 00:00", "李四"),
        ({"start": "wed 10:30", "turn": "1w"}, "2000-01-12 10:29", "张三"),
        ({"start": "wed 10:30", "turn": "1w"}, "2000-01-12 10:30", "李四"),
        # certain days
        ({"start": "2026-11-30", "days": {"sat-sun": "王五"}}, "2026-12-05 12:00", "王五"),
        ({"start": "2026-11-30", "days": {"sat-sun": "王五"}}, "2026-12-07 00:00", "李四"),
        ({"start": "2026-11-30", "days": {"fri-mon": "王五"}}, "2026-12-07 12:00", "王五"),
        ({"start": "2026-11-30 09:00", "days": {"周六-周日": ["王五", "赵六"]}}, "2026-12-07 08:59", "王五, 赵六"),
        ({"start": "2026-11-30", "days": {"sat-sun": "王五", "2026-12-05": "赵六"}}, "2026-12-05 12:00", "赵六"),
        ({"start": "2026-11-30", "days": {"2026-12-1..2026-12-9": "a", "2026-12-5": "b"}}, "2026-12-05 12:00", "b"),
        ({"start": "2026-11-30", "days": {"2026-12-01至2026-12-09": "a"}}, "2026-12-10 00:00", "李四"),
        # away
        ({"start": "2026-11-30", "away": {"张三": "2026-12-02"}}, "2026-12-02 12:00", "李四"),
        ({"start": "2026-11-30", "away": {"张三": "2026-12-02"}}, "2026-12-03 00:00", "张三"),
        ({"start": "2026-11-30", "away": {"张三": ["2026-11-01..", "2026-12-02.."]}}, "2027-06-01 00:00", "李四"),
        ({"start": "2026-11-30", "away": {"张三": "2026-12-02", "李四": "2026-12-02"}}, "2026-12-02 12:00", "张三"),
        ({"rota": [], "days": {"mon-fri": "张三", "sat": "李四"}}, "2026-12-05 12:00", "李四"),
        ({"rota": [], "days": {"mon-fri": "张三", "sat": "李四"}}, "2026-12-06 12:00", ""),
    ],
)  # fmt: skip
def test_whose_turn_it_is(given, moment, who) -> None:
    assert on_duty(rota(**given), moment) == who


@pytest.mark.parametrize(
    ("moment", "who"),
    [
        # the clock goes from 2 to 3, and back from 3 to 2; turns change at 02:30 all the same, once
        ("2027-03-28T00:59:00+00:00", "b"),
        ("2027-03-28T01:00:00+00:00", "a"),
        ("2027-03-29T00:29:00+00:00", "a"),
        ("2027-03-29T00:30:00+00:00", "b"),
        ("2027-10-31T00:29:00+00:00", "a"),
        ("2027-10-31T00:30:00+00:00", "b"),
        ("2027-10-31T01:15:00+00:00", "b"),
        ("2027-10-31T01:30:00+00:00", "b"),
        ("2027-11-01T01:29:00+00:00", "b"),
        ("2027-11-01T01:30:00+00:00", "a"),
    ],
)
def test_a_turn_changes_once_where_the_clock_is_changed(moment, who) -> None:
    settings = rota(rota=["a", "b"], start="2027-03-26 02:30", turn="1d")
    assert settings.find_on_duty(datetime.fromisoformat(moment), BERLIN) == (who,)


ZONES = st.sampled_from([SHANGHAI, BERLIN, LORD_HOWE, ZoneInfo("America/New_York"), ZoneInfo("Pacific/Apia"), UTC])
MOMENTS = st.integers(1_260_000_000, 1_960_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TURNS = st.sampled_from(["1h", "8h", "12h", "1d", "36h", "1w", "2w"])
STARTS = st.sampled_from(["monday", "sun 02:30", "2026-03-29 02:30", "2026-11-30", "2026-10-25 03:00"])


@given(MOMENTS, TURNS, STARTS, ZONES)
def test_turns_go_round_and_never_back(moment, turn, start, zone) -> None:
    settings = rota(rota=NAMES, turn=turn, start=start)
    names = [settings.find_on_duty(moment + timedelta(minutes=30 * step), zone)[0] for step in range(60)]
    for before, after in pairwise(names):
        step = (NAMES.index(after) - NAMES.index(before)) % 3
        # Where a day of the calendar is left out, several short turns are over at once.
        assert step in ((0, 1) if turn not in ("1h", "8h", "12h", "1d") else (0, 1, 2))


@given(MOMENTS, STARTS, ZONES)
def test_a_turn_of_a_week_is_a_week_of_the_calendar(moment, start, zone) -> None:
    settings = rota(rota=NAMES, start=start)
    local = moment.astimezone(zone).replace(tzinfo=None)
    later = (local + timedelta(days=7)).replace(tzinfo=zone)
    if later.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local + timedelta(days=7) or later.fold:
        return  # there is no such moment
    if moment.astimezone(zone).fold or later.replace(fold=1).utcoffset() != later.utcoffset():
        return  # there are two
    who, then = settings.find_on_duty(moment, zone)[0], settings.find_on_duty(later, zone)[0]
    assert NAMES.index(then) == (NAMES.index(who) + 1) % 3


@given(MOMENTS, TURNS, STARTS, ZONES)
def test_it_is_the_same_after_a_restart_and_in_any_zone_that_the_moment_is_given_in(moment, turn, start, zone) -> None:
    first = rota(rota=NAMES, turn=turn, start=start).find_on_duty(moment, zone)
    assert rota(rota=NAMES, turn=turn, start=start).find_on_duty(moment.astimezone(SHANGHAI), zone) == first


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.sets(st.sampled_from(NAMES)), STARTS)
def test_who_is_away_leaves_everybody_elses_turn_alone(day, gone, start) -> None:
    whole = rota(rota=NAMES, start=start, turn="1d")
    less = rota(rota=NAMES, start=start, turn="1d", away={name: f"{day}..{day + timedelta(days=30)}" for name in gone})
    for step in range(0, 40 * 24, 13):
        moment = datetime.combine(day, datetime.min.time(), SHANGHAI) + timedelta(hours=step)
        usual, now = whole.find_on_duty(moment, SHANGHAI)[0], less.find_on_duty(moment, SHANGHAI)[0]
        assert usual == now or usual in gone
        assert now not in gone or len(gone) == 3 or step > 29 * 24 or step < 24


# ---------------------------------------------------------------- the section


def people(**given) -> PeopleSettings:
    return PeopleSettings.model_validate(given)


def test_people_and_rosters_stand_beside_each_other() -> None:
    read = people(
        user2={"wechat": "用户二", "dingtalk": 13800000000}, rota=["张三", "李四"], turn="1w", start="2026-11-30",
        dba={"rota": ["王五"]}, weekend={"days": {"sat-sun": "赵六"}},
    )  # fmt: skip
    assert read.persons == {"user2": {"wechat": "用户二", "dingtalk": "13800000000"}}
    assert list(read.rotas) == ["rota", "dba", "weekend"]
    moment = at("2026-12-05 12:00")
    assert read.resolve(("rota", "user2", "weekend", "all", "rota", "nobody"), moment, SHANGHAI) == (
        "张三", "user2", "赵六", "all", "nobody",
    )  # fmt: skip
    assert people().rotas == people(user2={"wechat": "x"}).rotas == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rota": ["a"], "turn": "30m"}, "an hour at least"),
        ({"turn": "1w"}, "`turn` without a `rota`"),
        ({"rota": ["a"], "start": "someday"}, "neither a date nor a weekday"),
        ({"rota": ["a"], "start": "2026-02-30"}, "no day 2026-02-30"),
        ({"rota": ["a"], "start": "monday 25:00"}, "no time of day"),
        ({"rota": ["a"], "days": {"frday": "b"}}, "'frday' is no day"),
        ({"rota": ["a"], "days": {"2026-12-09..2026-12-01": "b"}}, "ends before it begins"),
        ({"rota": ["a"], "days": {"2026-12-09..fri": "b"}}, "does not end with one"),
        ({"rota": ["a"], "away": {"b": "2026-01-01"}}, "not in the rota"),
        ({"rota": ["a"], "away": {"a": "soon"}}, "'soon' is no day"),
        ({"rota": ["a"], "start": "9999-12-31"}, "not of our time"),
        ({"dba": {"rota": ["a"], "trun": "1w"}}, "not permitted"),
        ({"dba": ["a"]}, "valid dictionary"),
    ],
)
def test_what_is_wrong_is_told(given, said) -> None:
    with pytest.raises(ValidationError, match=said):
        people(**given)


@given(
    st.text(max_size=30) | st.from_regex(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ T][0-9]{1,2}:[0-9]{2})?", fullmatch=True)
)
def test_any_text_is_a_start_and_a_day_or_is_refused(text) -> None:
    for given_ in ({"start": text}, {"days": {text: "x"}}, {"away": {"张三": text}}):
        try:
            settings = rota(**given_)
        except ValidationError:
            continue
        settings.find_on_duty(datetime(2026, 11, 30, tzinfo=UTC), SHANGHAI)
