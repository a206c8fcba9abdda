"""Dashboards for `bench.grafana`: each panel draws a patch of its own colour, so that a picture tells what it shows.

They need Grafana's TestData source only. `Generation` says what differs between Grafana 7, 9 and 12.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

Json = dict[str, Any]
Colour = tuple[int, int, int]

TAG = "wxbridge-bench"
SLOW_SECONDS = 40.0
"""What the values of the slow variable take."""
SLOW_SOURCE = "bench-slow"
"""Name and uid of the source that takes so long."""


@dataclass(frozen=True)
class Mark:
    """A colour that is to be seen, in how many places."""

    colour: Colour
    times: int = 1
    tolerance: int = 6
    """How far each of red, green and blue may be off."""


def palette() -> Iterator[Colour]:
    """Give colours that no two panels share; 72 of them, at least 12 apart in one of red, green and blue."""
    for lightness in (0.55, 0.42, 0.68):
        for step in range(24):
            yield _rgb((step + lightness) / 24, lightness, 0.9)


def _rgb(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True)
class Generation:
    """A Grafana as far as its dashboards differ: `major` is 7, 9 or 12 (others are taken for the one before)."""

    major: int
    source: str = "bench-testdata"
    """Name and uid of the TestData source; its type has another name since 10."""

    @property
    def source_type(self) -> str:
        """The type of the TestData source."""
        return "testdata" if self.major < 10 else "grafana-testdata-datasource"

    def refer(self, name: str, kind: str) -> str | Json:
        """Name a source as its dashboards do."""
        return name if self.major < 8 else {"type": kind, "uid": name}

    def kinds(self) -> list[str]:
        """Name the types of panels that it brings, those with a mark first."""
        return [name for name, kind in KINDS.items() if kind.since <= self.major <= kind.until]


# ---------------------------------------------------------------- panels


@dataclass(frozen=True)
class Kind:
    """A type of panel, as `grafana_panels.yaml` describes it; COLOUR stands for the panel's own."""

    since: int = 6
    until: int = 99
    mark: bool = True
    """Whether it can be given a colour."""
    shaded: bool = False
    """Whether it is drawn with a gradient, so that the colour is nearly there."""
    darker: bool = False
    """Whether its rim is a tenth darker than the colour, and 4° further in hue."""
    queries: Sequence[Json] = ({"scenarioId": "csv_metric_values", "stringInput": "42,42,42,42"},)
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=lambda: {"fillOpacity": 100, "lineWidth": 0, "gradientMode": "none"})
    more: Json = field(default_factory=dict)

    def mark_of(self, colour: Colour, times: int) -> Mark:
        """Tell what is to be seen of a panel in that colour; the colours of one lightness are 50 apart."""
        if self.darker:
            hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in colour))
            return Mark(_rgb(hue - 4 / 360, lightness - 0.1, saturation), times, 12)
        return Mark(colour, times, 40 if self.shaded else Mark.tolerance)


KINDS = {
    name: Kind(**(about or {}))
    for name, about in yaml.safe_load(Path(__file__).with_name("grafana_panels.yaml").read_text("utf-8")).items()
}


def panel(generation: Generation, name: str, colour: Colour) -> Json:
    """Describe a panel of a type that shows its colour."""
    code = "#{:02x}{:02x}{:02x}".format(*colour)
    kind = KINDS[name]
    custom = kind.custom
    if generation.major < 8 and "displayMode" in custom:
        custom = {"displayMode": "color-background"}
    defaults = {"color": {"mode": "fixed", "fixedColor": code}, "custom": custom, "min": 0, "max": 50}
    said = {
        "type": name,
        "datasource": generation.refer(generation.source, generation.source_type),
        "targets": [{"refId": chr(65 + number)} | query for number, query in enumerate(kind.queries)],
        "options": kind.options,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        **kind.more,
    }
    return dict(json.loads(json.dumps(said).replace("COLOUR", code)))


@dataclass
class Board:
    """A dashboard that grows panel by panel, and what is to be seen of it."""

    generation: Generation
    uid: str
    title: str
    panels: list[Json] = field(default_factory=list)
    variables: list[Json] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    unmarked: int = 0
    """Panels that show no mark."""
    across: int = 4
    """Panels side by side."""

    def __post_init__(self) -> None:
        self._colours = palette()
        self._top = self._count = self._inside = 0
        self._row: Json | None = None

    def add(self, kind: str, times: int = 1, **more: Any) -> Self:
        """Add a panel below the last row; `times` is how often it is to be seen."""
        colour = next(self._colours)
        width, (down, right) = 24 // self.across, divmod(self._inside, self.across)
        place = {"x": right * width, "y": self._top + down * 7, "w": width, "h": 7}
        made = self._new(panel(self.generation, kind, colour) | {"title": f"{kind} {self._count + 1}"}) | more
        (self.panels if self._row is None else self._row["panels"]).append(made | {"gridPos": place})
        self._inside += 1
        if KINDS[kind].mark:
            self.marks.append(KINDS[kind].mark_of(colour, times))
        else:
            self.unmarked += 1
        return self

    def row(self, title: str, *, closed: bool = False, **more: Any) -> Self:
        """Begin a row."""
        self._top += -(-self._inside // self.across) * 7
        made = self._new({"type": "row", "title": title, "collapsed": closed, "panels": []}) | more
        self.panels.append(made | {"gridPos": {"x": 0, "y": self._top, "w": 24, "h": 1}})
        self._row = made if closed else None
        if closed:
            self.panels[-1]["panels"] = made["panels"]
        self._top, self._inside = self._top + 1, 0
        return self

    def _new(self, body: Json) -> Json:
        self._count += 1
        return {"id": self._count} | body

    def variable(self, name: str, values: int) -> Self:
        """Add a variable with that many values, all of them chosen."""
        names = [f"{name}{number}" for number in range(1, values + 1)]
        everything = {"text": "All", "value": "$__all", "selected": True}
        options = [everything, *({"text": each, "value": each, "selected": False} for each in names)]
        self.variables.append(
            {"type": "custom", "name": name, "query": ",".join(names), "options": options, "multi": True,
             "includeAll": True, "current": everything | {"text": ["All"], "value": ["$__all"]}, "hide": 0}
        )  # fmt: skip
        return self

    @property
    def json(self) -> Json:
        """The dashboard as the API takes it."""
        return {
            "uid": self.uid, "title": self.title, "tags": [TAG], "panels": self.panels, "schemaVersion": 27,
            "templating": {"list": self.variables}, "time": {"from": "now-1h", "to": "now"},
        }  # fmt: skip

    @property
    def expected(self) -> int:
        """How many marks there are to be seen."""
        return sum(mark.times for mark in self.marks)


# ---------------------------------------------------------------- dashboards


def boards(generation: Generation) -> list[Board]:
    """Make the dashboards of the old form, which every version takes."""
    return [
        _most(generation), _sixty(generation), _streaming(generation), _slow(generation), _every(generation),
        _closed(generation),
    ]  # fmt: skip


def _most(generation: Generation) -> Board:
    board = Board(generation, "bench-most", "Bench: 30 panels").variable("host", 2).variable("disk", 4)
    kinds = [kind for kind in generation.kinds() if KINDS[kind].mark and kind != "geomap"]
    board.row("Open")
    for number in range(12):
        board.add(kinds[number % len(kinds)])
    board.row("Host $host", repeat="host")
    for kind in ("stat", "timeseries", "text"):
        board.add(kind, 2)
    board.row("Disks").add("stat", 4, title="disk $disk", repeat="disk", repeatDirection="h", maxPerRow=4)
    board.row("Closed", closed=True)
    for number in range(8):
        board.add(kinds[-1 - number % len(kinds)])
    return board


def _sixty(generation: Generation) -> Board:
    board = Board(generation, "bench-sixty", "Bench: 60 panels", across=2)
    for number in range(60):
        board.add(("stat", "timeseries", "gauge")[number % 3])
    return board


def _streaming(generation: Generation) -> Board:
    board = Board(generation, "bench-streaming", "Bench: streaming")
    for _ in range(5):
        board.add("stat")
    stream = {"type": "signal", "speed": 250, "spread": 3.5, "noise": 2.2, "bands": 1}
    return board.add("stat", targets=[{"refId": "A", "scenarioId": "streaming_client", "stream": stream}])


def _slow(generation: Generation) -> Board:
    board = Board(generation, "bench-slow", "Bench: slow variables")
    source = generation.refer(SLOW_SOURCE, "prometheus")
    query = {"query": "label_values(up, job)", "refId": "StandardVariableQuery"}
    board.variables.append(
        {"type": "query", "name": "service", "label": "Services", "datasource": source, "refresh": 1, "hide": 0,
         "definition": query["query"], "query": query["query"] if generation.major < 8 else query}
    )  # fmt: skip
    for _ in range(6):
        board.add("stat", title="stat of $service")
    return board


def _every(generation: Generation) -> Board:
    board = Board(generation, "bench-every", "Bench: every type")
    for kind in generation.kinds():
        board.add(kind)
    return board


def _closed(generation: Generation) -> Board:
    board = Board(generation, "bench-closed", "Bench: collapsed rows of 12")
    for number in range(1, 4):
        board.row(f"Closed {number}", closed=True)
        for each in range(12):
            board.add(("stat", "timeseries")[each % 2])
    return board


# ---------------------------------------------------------------- dashboards of Grafana 12


def new_boards(generation: Generation) -> list[tuple[Board, Json]]:
    """Make the dashboards with tabs and with an auto grid, each with what the API of Grafana 12 takes."""
    tabs = Board(generation, "bench-tabs", "Bench: tabs")
    grid = Board(generation, "bench-grid", "Bench: auto grid")
    for board in (tabs, grid):
        for number in range(24):
            board.add(("stat", "timeseries", "gauge")[number % 3])
    names = [f"panel-{each['id']}" for each in tabs.panels]
    pages = [
        {"kind": "TabsLayoutTab", "spec": {"title": title, "layout": _auto_grid(names[first : first + 8])}}
        for first, title in ((0, "First"), (8, "Second"), (16, "Third"))
    ]
    return [
        (tabs, _new_form(tabs, {"kind": "TabsLayout", "spec": {"tabs": pages}})),
        (grid, _new_form(grid, _auto_grid(names))),
    ]


def _auto_grid(names: list[str]) -> Json:
    items = [
        {"kind": "AutoGridLayoutItem", "spec": {"element": {"kind": "ElementReference", "name": name}}}
        for name in names
    ]
    sizes = {"maxColumnCount": 3, "columnWidthMode": "standard", "rowHeightMode": "standard"}
    return {"kind": "AutoGridLayout", "spec": sizes | {"items": items}}


def _new_form(board: Board, layout: Json) -> Json:
    times = {"from": "now-1h", "to": "now", "autoRefresh": "", "autoRefreshIntervals": [], "hideTimepicker": False,
             "fiscalYearStartMonth": 0}  # fmt: skip
    spec = {
        "title": board.title, "tags": [TAG], "cursorSync": "Off", "preload": False, "editable": True, "links": [],
        "annotations": [], "variables": [], "timeSettings": times, "layout": layout,
        "elements": {f"panel-{each['id']}": _new_panel(board.generation, each) for each in board.panels},
    }  # fmt: skip
    about = {"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "metadata": {"name": board.uid}}
    return about | {"spec": spec}


def _new_panel(generation: Generation, old: Json) -> Json:
    queries = []
    for target in old["targets"]:
        query = {
            "kind": "DataQuery", "group": generation.source_type, "version": "v0",
            "datasource": {"name": generation.source}, "spec": target,
        }  # fmt: skip
        queries.append({"kind": "PanelQuery", "spec": {"refId": target["refId"], "hidden": False, "query": query}})
    look = {"options": old["options"], "fieldConfig": old["fieldConfig"]}
    return {
        "kind": "Panel",
        "spec": {
            "id": old["id"], "title": old["title"], "description": "", "links": [],
            "data": {"kind": "QueryGroup", "spec": {"queries": queries, "transformations": [], "queryOptions": {}}},
            "vizConfig": {"kind": "VizConfig", "group": old["type"], "version": "", "spec": look},
        },
    }  # fmt: skip
