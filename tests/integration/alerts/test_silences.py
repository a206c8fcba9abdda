from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.postgresql import database_url
from wxbridge.alerts import silences
from wxbridge.alerts.silences import Silence, SilenceSet, silenced_by
from wxbridge.core.database import make_engine, migrate
from wxbridge.core.matchers import Matcher, parse_matchers

NOW = 1_800_000_000.0


@pytest.fixture
def connection(each_database: str, tmp_path: Path) -> Iterator[sa.Connection]:
    engine = make_engine(database_url(tmp_path))
    migrate(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def silence(*matchers: str, starts_at: float = NOW, ends_at: float = NOW + 60, name: str = "a") -> Silence:
    return Silence(name, parse_matchers(matchers), starts_at, ends_at, NOW)


def test_a_silence_holds_from_its_start_to_its_end_where_all_its_matchers_do() -> None:
    found = silence("team=db", 'severity!="page"')
    assert silenced_by([found], {"team": "db"}, NOW) is found
    assert silenced_by([found], {"team": "db"}, NOW + 59.9) is found
    assert silenced_by([found], {"team": "db"}, NOW + 60) is None
    assert silenced_by([found], {"team": "db"}, NOW - 1) is None
    assert silenced_by([found], {"team": "db", "severity": "page"}, NOW) is None
    assert [found.state(NOW + seconds) for seconds in (-1, 0, 60)] == ["pending", "active", "expired"]


def test_of_several_silences_the_one_that_ends_last_counts() -> None:
    short, long = silence("team=db"), silence("team=db", ends_at=NOW + 600)
    assert silenced_by([long, short], {"team": "db"}, NOW) is long
    assert silenced_by([], {"team": "db"}, NOW) is None


def test_a_silence_is_kept_listed_and_ended(connection: sa.Connection) -> None:
    made = silences.add(
        connection, parse_matchers(["team=db"]), ends_at=NOW + 60, now=NOW, created_by="张三", comment="works \ud800"
    )
    assert len(made.id) == 8
    assert int(made.id, 16) >= 0
    later = silences.add(
        connection, parse_matchers(["a=b"]), starts_at=NOW + 10, ends_at=NOW + 30, now=NOW
    )  # fmt: skip
    assert silences.get(connection, made.id) == made
    assert silences.list_silences(connection, now=NOW) == [later, made]
    assert silences.expire(connection, made.id, now=NOW + 5)
    assert silences.expire(connection, later.id, now=NOW + 5)
    assert not silences.expire(connection, made.id, now=NOW + 6)
    assert not silences.expire(connection, "00000000", now=NOW)
    assert silences.list_silences(connection, now=NOW + 5) == []
    ended = silences.list_silences(connection, now=NOW + 5, expired=True)
    assert {each.id for each in ended} == {made.id, later.id}
    assert all(each.starts_at <= each.ends_at == NOW + 5 for each in ended)
    assert silences.prune(connection, before=NOW + 5) == 0
    assert silences.prune(connection, before=NOW + 6) == 2


@pytest.mark.parametrize("matchers", [[], ['team=~".*"'], ["team!=db"], ["a=", 'b=~"x|"']])
def test_a_silence_of_everything_is_refused(connection: sa.Connection, matchers: list[str]) -> None:
    with pytest.raises(ValueError, match="this would silence everything; give at least one matcher such as"):
        silences.add(connection, parse_matchers(matchers), ends_at=NOW + 60, now=NOW)


@pytest.mark.parametrize(("starts_at", "ends_at"), [(None, NOW), (NOW + 60, NOW + 60), (NOW - 60, NOW - 1)])
def test_a_silence_that_is_over_already_is_refused(
    connection: sa.Connection, starts_at: float | None, ends_at: float
) -> None:
    with pytest.raises(ValueError, match="over before it begins"):
        silences.add(connection, parse_matchers(["a=b"]), starts_at=starts_at, ends_at=ends_at, now=NOW)


def test_what_is_in_memory_is_what_was_in_the_table_when_it_was_loaded(connection: sa.Connection) -> None:
    holder = SilenceSet()
    made = silences.add(connection, parse_matchers(["team=db"]), ends_at=NOW + 60, now=NOW)
    assert holder.find({"team": "db"}, NOW) is None
    holder.reload(connection, now=NOW)
    assert holder.find({"team": "db"}, NOW) == made
    silences.expire(connection, made.id, now=NOW + 1)
    holder.reload(connection, now=NOW + 1)
    assert holder.find({"team": "db"}, NOW + 1) is None


def test_a_silence_that_cannot_be_read_holds_nothing_back(connection: sa.Connection) -> None:
    made = silences.add(connection, parse_matchers(["team=db"]), ends_at=NOW + 60, now=NOW)
    connection.execute(sa.text("UPDATE silences SET matchers = '[\"team ~~ db\"]'"))
    assert silences.list_silences(connection, now=NOW) == []
    assert silences.get(connection, made.id) is None


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(min_size=1))))
def test_any_labels_are_silenced_by_themselves(pairs: list[tuple[str, str]]) -> None:
    labels = dict(pairs)
    exact = Silence("a", tuple(Matcher(name, "=", value) for name, value in labels.items()), NOW, NOW + 1, NOW)
    assert silenced_by([exact], labels, NOW) is exact
