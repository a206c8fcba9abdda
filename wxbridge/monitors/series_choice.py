"""Which of the series that a query is answered with are an alert's, and the query for them alone. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wxbridge.monitors.promql import AlertCurve

_MAX_NARROWED_SERIES = 30
"""Of one query that gives the chosen series alone."""

LABELS_DIFFER = "some labels of the series are not the alert's"
"""Said of series that are chosen by those of their labels that the alert has."""
_LABEL_NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)


@dataclass(frozen=True)
class SeriesChoice:
    """Which of the answered series are the alert's, by their place, and a word about it where it is not plain."""

    places: tuple[int, ...]
    note: str = ""


def choose_series(
    curve: AlertCurve, series: Sequence[Mapping[str, str]], instances: Sequence[Mapping[str, str]]
) -> SeriesChoice:
    """Choose the series of the firing instances by their labels.

    A series is an instance's where all its labels in the curve's scope are among the alert's; of several such, those
    with the most. Where there is none, labels were dropped or changed on the alert's way: those that agree in the
    labels whose values occur at all; where there is none either: all. The note says so.
    """
    own = [
        {name: value for name, value in each.items() if name in curve.scope and name != "__name__"} for each in series
    ]
    by_names: dict[frozenset[str], list[int]] = {}
    for place, each in enumerate(own):
        by_names.setdefault(frozenset(each), []).append(place)
    index = _SeriesIndex(own)
    places: set[int] = set()
    for labels in instances:
        most = 0
        within: list[int] = []
        for names, some in by_names.items():
            if len(names) >= most and names <= labels.keys() and (found := index.values(some, names, labels)):
                within = [*within, *found] if len(names) == most else found
                most = len(names)
        places.update(within)
    if places:
        return SeriesChoice(tuple(sorted(places)))
    there = {pair for each in own for pair in each.items()}
    for labels in instances:
        kept = dict(labels.items() & there)
        for names, some in by_names.items():
            if both := names.intersection(kept):
                places.update(index.values(some, both, kept))
    if places:
        return SeriesChoice(tuple(sorted(places)), LABELS_DIFFER)
    return SeriesChoice(tuple(range(len(series))), "no series has the alert's labels: all are drawn" if own else "")


class _SeriesIndex:
    """Finds series by the values of some of their labels: many times among many, so with an index of each question."""

    def __init__(self, series: Sequence[Mapping[str, str]]) -> None:
        self._series = series
        self._known: dict[tuple[int, tuple[str, ...]], dict[tuple[str, ...], list[int]]] = {}

    def values(self, places: list[int], names: frozenset[str], labels: Mapping[str, str]) -> list[int]:
        """Those of the places that have the labels' values for all names; no series is in two lists of places."""
        order = tuple(sorted(names))
        key = places[0], order
        if key not in self._known:
            index = self._known[key] = {}
            for place in places:
                index.setdefault(tuple(self._series[place][name] for name in order), []).append(place)
        return self._known[key].get(tuple(labels[name] for name in order), [])


def narrow_query(query: str, chosen: Sequence[Mapping[str, str]], answered: Sequence[Mapping[str, str]]) -> str | None:
    """Make a query that gives the chosen ones of the series that `query` was answered with.

    Its own text is left as it is: the series are met with constants that have the labels of the chosen.

    Args:
        query: PromQL that gives series.
        chosen: The labels of those to be given.
        answered: The labels of all.

    Returns:
        None where there is no such query: labels do not tell the series apart, or too many are chosen.
    """
    names = sorted({name for each in answered for name in each} - {"__name__"})
    # Of a label that all have with the same value there is nothing to be told.
    telling = [name for name in names if len({each.get(name) for each in answered}) > 1]
    wanted = {tuple(each.get(name, "") for name in telling) for each in chosen}
    given = [each for each in answered if tuple(each.get(name, "") for name in telling) in wanted]
    if len(given) == len(answered):
        return query if len(chosen) == len(answered) else None
    if (
        len(given) != len(chosen)
        or not 0 < len(wanted) <= _MAX_NARROWED_SERIES
        or not all(map(_LABEL_NAME.fullmatch, telling))
    ):
        return None
    constants = " or ".join(_constant(dict(zip(telling, values, strict=True))) for values in sorted(wanted))
    return f"({query}) and on ({', '.join(telling)}) ({constants})"


def _constant(labels: Mapping[str, str]) -> str:
    """A series with these labels that is always there."""
    expr = "vector(1)"
    for name, value in labels.items():
        if value:  # an empty label is one that is not there
            # In the replacement `$1` would mean a group; JSON's escapes are a part of Go's.
            expr = (
                f'label_replace({expr}, "{name}", {json.dumps(value.replace("$", "$$"), ensure_ascii=False)}, "", "")'
            )
    return expr
