"""What stands in a dashboard's address: its time range (`from=now-1h&to=now`) and its variables (`var-host=a`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from wxbridge.core.text.date_math import parse_moment, subtract_seconds


@dataclass(frozen=True)
class TimeRange:
    """A span of time with its ends, in a time zone of its own."""

    start: datetime
    end: datetime

    def before(self, seconds: float) -> TimeRange:
        """The same span earlier. Whole days go by the calendar: 9 o'clock stays 9 o'clock when clocks change."""
        return TimeRange(subtract_seconds(self.start, seconds), subtract_seconds(self.end, seconds))


def read_range(url: str, now: datetime) -> TimeRange:
    """Read the time range in an address, with `now` filled in; `to` is now where it does not say.

    Raises:
        ValueError: there is no `from=`, or it makes no range.
    """
    given = {_key(part): unquote_plus(part.partition("=")[2]) for part in _parts(url)}
    if not given.get("from"):
        raise ValueError("the url has no `from=`: write it with its range, such as `?from=now-1h&to=now`")
    found = TimeRange(parse_moment(given["from"], now), parse_moment(given.get("to") or "now", now, end=True))
    if found.start >= found.end:
        raise ValueError("the range in the url ends before it begins")
    return found


def with_range(url: str, span: TimeRange) -> str:
    """Put a range into an address, in milliseconds, in place of its own."""
    ends = {"from": span.start, "to": span.end}
    return with_query(url, {name: str(round(at.timestamp() * 1000)) for name, at in ends.items()})


def with_variables(url: str, variables: Mapping[str, str]) -> str:
    """Put a dashboard's variables into an address, in place of those of the same name."""
    return with_query(url, {f"var-{name}": value for name, value in variables.items()})


def with_query(url: str, query: Mapping[str, str]) -> str:
    """Put parameters into an address, in place of those of the same name; all else stays as it is."""
    parts = urlsplit(url)
    kept = [part for part in _parts(url) if _key(part) not in query]
    kept += [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()]
    return urlunsplit(parts._replace(query="&".join(kept)))


def _parts(url: str) -> Iterable[str]:
    return [part for part in urlsplit(url).query.split("&") if part]


def _key(part: str) -> str:
    return unquote_plus(part.partition("=")[0])
