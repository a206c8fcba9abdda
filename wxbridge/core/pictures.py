"""What is to be drawn: one request for each kind of picture, and the plain JSON in which it waits in the outbox. Pure.

The keys of the JSON keep their meaning: what an earlier version stored is still drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from wxbridge.core.errors import PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.core.text.i18n import LANGUAGES, Language

Theme = Literal["light", "dark"]

PAGE = "page"
PANEL = "panel"
CHART = "chart"
FETCH = "fetch"
FILE = "file"
ALERT = "alert"
"""The first of several ways that gives a picture; left out in peace where there is nothing to draw."""
_DASHBOARD_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PANEL_ID = re.compile(r"(?:panel-)?(\d{1,9})|[A-Za-z0-9$_/-]{1,100}")


def checked_params(params: Mapping[str, Any], kind: str, needed: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give the params of a picture, less its deadline and those that are None.

    Raises:
        PictureError: `needed` is missing, or one is unknown.
    """
    given = {name: value for name, value in params.items() if value is not None and name != "deadline"}
    unknown = sorted(given.keys() - {needed, *optional})
    if unknown or needed not in given:
        what = f"does not know {', '.join(unknown)}" if unknown else f"needs `{needed}`"
        raise PictureError(f"a picture of kind {kind} {what}")
    return given


# ---------------------------------------------------------------- a page


@dataclass(frozen=True)
class PageRequest:
    """A page as a browser shows it. Sizes are CSS pixels, times are seconds."""

    url: str
    """An http(s) address, or a path below Grafana."""
    width: int = 1440
    height: int | None = None
    """The least height of the picture. A dashboard for which nobody chose one ends below its lowest panel."""
    scale: float = 1.0
    """Pixels of the picture per CSS pixel."""
    full_page: bool = True
    """The whole page (up to 16,000), also where it scrolls in an inner element; else the window
    only."""
    timezone: str | None = None
    """An IANA name; the bridge's own time zone when not given."""
    language: str | None = None
    """What the page is told that the reader speaks: `en-US`, `zh-CN`."""
    theme: str | None = None
    """The colour scheme that the page is told the reader prefers: `light`, `dark`."""
    wait_for: str | None = None
    """A CSS selector of what has to be visible before the page is shot."""
    selector: str | None = None
    """A CSS selector of the one element to shoot instead of the page."""
    expand: bool = True
    """Whether the collapsed rows of a Grafana dashboard are opened first."""
    marks: bool = False
    """Whether the PNG is to say where it may be cut (see `pages.parts`)."""
    kiosk: bool = True
    """Whether Grafana's menus are hidden; `hide_controls`: also the time picker, variables and links that are left."""
    hide_controls: bool = True
    org: str = ""
    """The organisation of Grafana that the page is shown in; empty for that of its address, else the account's own."""
    needs_data: bool = False
    """Whether a panel of Grafana's that stands alone has to have data: for an alert, whose chart is drawn otherwise."""
    only_grafana: bool = False
    """Whether every other address is refused: for a `url` that came from outside, in an alert."""
    deadline: float | None = None
    """From being asked for to the bytes; `pictures.deadline` when not given."""

    def to_spec(self, link: str | None = None) -> PictureSpec:
        """Describe the picture as it is stored: the url, the width, and what is not as usual."""
        params = {
            field.name: value
            for field in fields(PageRequest)
            if (value := getattr(self, field.name)) != field.default or field.name == "width"
        }
        return PictureSpec(PAGE, params, link=link)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read what `to_spec` wrote.

        Raises:
            PictureError: there is no url, or a key that pages do not have.
        """
        names = tuple(field.name for field in fields(PageRequest) if field.name != "url")
        given = checked_params(params, PAGE, "url", names)
        return cls(**given | {"url": str(given["url"]), "deadline": params.get("deadline")})


# ---------------------------------------------------------------- what others have drawn


def fetch_spec(url: str, *, link: str | None = None, trusted: bool = False) -> PictureSpec:
    """Describe a picture to be fetched from an http(s) or `data:` address.

    `link` stands in for it, by itself the address, where a person can open it: a `data:` address is no link, and far
    too long for one. `trusted` says that the operator himself wrote the address.
    """
    shown = url if link is None else link
    params = {"url": url, "trusted": True} if trusted else {"url": url}
    return PictureSpec(FETCH, params, link=shown if shown.startswith(("http://", "https://")) else None)


# ---------------------------------------------------------------- a chart


@dataclass(frozen=True)
class ChartRequest:
    """A chart of an alerting rule or an expression. Times are seconds since the epoch.

    It needs `expr` or `rule`, and `at` or both `start` and `end`. What is None is left to who draws it. Grafana is
    asked for its own rules, by `grafana_uid` or `grafana_number`; one has to be called `rule` where that is given.
    """

    expr: str = ""
    """PromQL. An outer comparison with a number becomes the threshold, its other side the curve."""
    rule: str = ""
    """An alerting rule's name: Prometheus is asked for it (by name and labels), and `expr` counts only where it does
    not know it."""
    instances: tuple[Mapping[str, str], ...] = ()
    """The labels of the firing instances, for one chart of them all; without any all series are drawn."""
    more: int = 0
    """How many more instances fire."""
    start: float | None = None
    end: float | None = None
    step: float | None = None
    """In seconds; by itself for about 500 points."""
    at: float | None = None
    """The moment shown last: the time before it follows from the next three, see `promql.choose_period`. Where it is
    equal to `end`, that is the present: "last 15 min"."""
    hold: float = 0.0
    """The rule's `for`, in seconds."""
    firing_since: float | None = None
    """From when to when (None: still) the alert fired: the stretch that is shaded."""
    resolved_at: float | None = None
    grafana_uid: str = ""
    """The uid of a rule of unified alerting."""
    grafana_number: int = 0
    """The number of a rule of legacy alerting."""
    org: str = ""
    """The organisation of Grafana that the rule is in; empty for the account's own."""
    title: str = ""
    """Without one: the rule's name, else the expression."""
    subtitle: str = ""
    unit: str = ""
    """As `core.text.units` knows it; by itself from the metric."""
    timezone: str | None = None
    """An IANA name."""
    language: Language | None = None
    theme: Theme | None = None
    deadline: float | None = None
    """Seconds; `pictures.deadline` when not given."""

    def to_spec(self, link: str | None = None) -> PictureSpec:
        """Describe the picture as it is stored: what is not as usual."""
        params = {
            field.name: value
            for field in fields(ChartRequest)
            if field.name != "instances" and (value := getattr(self, field.name)) != field.default
        }
        labels = {"labels": [dict(each) for each in self.instances]} if self.instances else {}
        return PictureSpec(CHART, params | labels, link=link)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read what `to_spec` wrote; the deadline, which is everybody's, is left out.

        Raises:
            PictureError: a param is unknown, missing or of another type.
        """
        given = {name: value for name, value in params.items() if value is not None and name != "deadline"}
        labels = given.pop("labels", ())
        if unknown := sorted(given.keys() - _CHART_NUMBERS - _CHART_COUNTS - _CHART_TEXTS):
            raise PictureError(f"a picture of kind {CHART} does not know {', '.join(unknown)}")
        try:
            instances = tuple(
                {str(name): str(value) for name, value in each.items()}
                for each in (labels if isinstance(labels, list | tuple) else [labels])
            )
            words: dict[str, Any] = {name: str(given[name]) for name in _CHART_TEXTS & given.keys()}
            words |= {name: float(given[name]) for name in _CHART_NUMBERS & given.keys()}
            read = cls(instances=instances, **words | {name: int(given[name]) for name in _CHART_COUNTS & given.keys()})
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise PictureError(f"a picture of kind {CHART} cannot read its params: {error}") from None
        if read.language not in (None, *LANGUAGES) or read.theme not in (None, *get_args(Theme)):
            raise PictureError(f"a picture of kind {CHART} has no language {read.language} or theme {read.theme}")
        is_named = read.expr.strip() or read.rule or read.grafana_uid or read.grafana_number
        if not is_named or (read.at is None and None in (read.start, read.end)):
            raise PictureError(f"a picture of kind {CHART} needs `expr` or `rule`, and `at` or `start` and `end`")
        return read


_CHART_COUNTS = frozenset({"more", "grafana_number"})
_CHART_NUMBERS = frozenset({"start", "end", "step", "at", "hold", "firing_since", "resolved_at"})
_CHART_TEXTS = frozenset({
    "expr", "rule", "grafana_uid", "org", "title", "subtitle", "unit", "timezone", "language", "theme",
})  # fmt: skip


# ---------------------------------------------------------------- a panel


@dataclass(frozen=True)
class PanelAddress:
    """A panel of a dashboard, which is known by its `uid`, or by its `number` where an old Grafana told only that."""

    panel: str
    """Its number, or the key of a repeated panel (`panel-4-clone-1`)."""
    uid: str = ""
    number: int | None = None
    org: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    """`var-…` parameters, in their order; a name may come several times."""


@dataclass(frozen=True)
class PanelRequest:
    """A panel of Grafana between two moments, in milliseconds since the epoch. Sizes are CSS pixels.

    What is None is left to who draws it.
    """

    panel: PanelAddress
    start: int
    end: int
    width: int | None = None
    height: int | None = None
    scale: int | None = None
    """Pixels of the picture per CSS pixel."""
    theme: str | None = None
    timezone: str | None = None
    language: str | None = None

    def to_spec(self, link: str | None = None) -> PictureSpec:
        """Describe the picture as it is stored."""
        panel = self.panel
        more = {
            "uid": panel.uid,
            "number": panel.number,
            "org": panel.org,
            "variables": [list(pair) for pair in panel.variables],
            **{name: getattr(self, name) for name in _PANEL_LOOK},
        }
        params = {"panel": panel.panel, "from": self.start, "to": self.end}
        return PictureSpec(PANEL, params | {name: value for name, value in more.items() if value}, link=link)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read what `to_spec` wrote; the deadline, which is everybody's, is left out.

        Raises:
            PictureError: the panel or an end is missing, or there is a key that panels do not have.
        """
        unknown = sorted(params.keys() - _PANEL_NEEDED - _PANEL_MAY_HAVE)
        missing = sorted(_PANEL_NEEDED - params.keys())
        if unknown or missing:
            what = f"does not know {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
            raise PictureError(f"a picture of kind {PANEL} {what}")
        number = params.get("number")
        address = PanelAddress(
            str(params["panel"]),
            uid=str(params.get("uid") or ""),
            number=int(number) if number else None,
            org=str(params.get("org") or ""),
            variables=tuple((str(name), str(value)) for name, value in params.get("variables") or ()),
        )
        look = {name: params[name] for name in _PANEL_LOOK if params.get(name)}
        look |= {name: int(look[name]) for name in ("width", "height", "scale") if name in look}
        return cls(address, int(params["from"]), int(params["to"]), **look)


_PANEL_LOOK = ("width", "height", "scale", "theme", "timezone", "language")
_PANEL_NEEDED = frozenset({"panel", "from", "to"})
_PANEL_MAY_HAVE = frozenset({"uid", "number", "org", "variables", "deadline", *_PANEL_LOOK})


def parse_panel_id(text: str) -> str:
    """Read `4` of `4` or `panel-4`, the key of a repeated panel (`panel-4-clone-1`) as it is; else nothing."""
    found = _PANEL_ID.fullmatch(text.strip())
    return "" if found is None else found[1] or found[0]


def is_dashboard_uid(text: str) -> bool:
    """Whether a text may be the uid of a dashboard of Grafana."""
    return _DASHBOARD_UID.fullmatch(text) is not None
