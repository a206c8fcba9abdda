"""Pictures: a `PictureSpec` → PNG, JPEG or GIF bytes: a page, Grafana's panel, a chart, the web, a file.

Importing this costs little: the browser's driver and the process that draws charts are started when first needed.

The kinds and their params, plain JSON. What is not said to be needed may be left out or None; times are absolute.

- `page`: `url` (needed; relative to Grafana, or any page), `width`, `height`, `scale`, `full_page`, `theme`, `kiosk`,
  `hide_controls`, `timezone`, `language`, `wait_for`, `selector`, `expand`, `marks`: see `browser.Shot` and
  `Grafana.url`; `only_grafana` refuses every other address: for a `url` that came from outside, in an alert.
- `fetch`: `url` (needed), and `trusted` where the operator himself wrote the address.
- `file`: `path` (needed).
- `chart`, drawn from `prometheus:`; see `graph.Graphs`:
  - `expr`: PromQL. An outer comparison with a number becomes the threshold, its other side the curve.
  - `rule`: an alerting rule's name, in place of `expr` or before it: the rule is looked up in Prometheus (by name and
    `labels`), and `expr` counts only where it is not found.
  - `labels`: the labels of the firing instance, or a list of those of several, in one chart; without any all series.
    `more`: how many more fire than `labels` has.
  - `start` and `end`, seconds since the epoch; or `at`, the moment shown last (needed without them): the time before
    it then follows from `hold` (the rule's `for`, seconds), `firing_since` and `resolved_at` (seconds since the epoch),
    as `promql.period` says. `at` equal to `end` says that this is the present: "last 15 min".
  - `step`, seconds; by itself for about 500 points.
  - `firing_since`, `resolved_at`: the stretch that is shaded.
  - `title` (without one: the rule's name, else the expression), `subtitle`, `unit` (as in `compose.figures`; by itself
    from the metric), `timezone` (an IANA name), `language` (`en`, `zh`), `theme` (`light`, `dark`).
- `panel`, a panel of `grafana:`, as `panels.panel_spec` makes it: `panel` (needed: its number), `uid` or `number` of
  its dashboard (one is needed), `from` and `to` (needed: milliseconds since the epoch), `org`, `variables` (pairs of
  `var-…` and a value), `width`, `height`, `scale`, `theme`, `timezone`, `language`.
- `host_chart`: a machine's figures, all of them in the params; see `host_chart`.
- `bars`: counts over time and a ranking, all of it in the params; see `bars`.
- `alert`, as `alert.with_pictures` makes it: `tries` (needed), a list of `{"way": …, "kind": …, "params": …}` of the
  kinds above, of which the first that gives a picture is taken.

Any of them may have a `deadline` in seconds. Where there is nothing to draw (`NothingToDraw`: no such rule, no data, no
Prometheus) a picture of kind `alert` is left out in peace; asked for by anybody else, that is an error like others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import structlog

from wxbridge.config.types import PictureSettings
from wxbridge.core.deadline import deadline_at, seconds_left, share_of_time
from wxbridge.core.errors import NothingToDraw, PictureError, PictureTimeout, failure_reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from wxbridge.config.types import GrafanaSettings, WebSource
    from wxbridge.core.model import PictureSpec
    from wxbridge.monitors.grafana import Grafana
    from wxbridge.pictures.allowed_hosts import AllowList
    from wxbridge.pictures.charts.graph import Graphs
    from wxbridge.pictures.charts.worker import Charts
    from wxbridge.pictures.pages.browser import Browser
    from wxbridge.pictures.pages.shot import Shot
    from wxbridge.pictures.panels import Panels
    from wxbridge.pictures.scratch_panel import Scratch

    Painter = Callable[[Mapping[str, Any]], Awaitable[bytes]]
    Count = Callable[[str, str], None]

log = structlog.get_logger()

MAX_TRIES = 4
_FIRST_PAUSE = 0.5
_GRACE = 0.2
"""Seconds that a painter has less than the whole, so that its own error, which says more, comes first."""
_GRAFANAS_SHARE = 0.6
"""Of the time for an alert's chart that Grafana is to draw: the rest is left for drawing it ourselves."""


class Pictures:
    """Draws what a `PictureSpec` describes, by its kind's painter, with retries within one deadline.

    The kinds and their params are told at the top of this module. Use from one event loop, and `close()` in the end.

    Args:
        settings: The `pictures` section.
        grafana: The `grafana` section, where there is one.
        prometheus: The `prometheus` section, where there is one.
        painters: More painters by kind, which are given the params alone.
        timezone: For pages and charts where the params name none.
        language: Likewise: `en-US`, `zh-CN`.
        fonts: A directory for the list of the system's fonts; see `chart_worker.Charts`.
        count: Is told of every picture what became of it: its kind, and `drawn` or `failure_reason` the error.
    """

    def __init__(
        self,
        settings: PictureSettings | None = None,
        grafana: GrafanaSettings | None = None,
        *,
        prometheus: WebSource | None = None,
        painters: Mapping[str, Painter] | None = None,
        timezone: str | None = None,
        language: str | None = None,
        fonts: Path | None = None,
        count: Count | None = None,
    ) -> None:
        self.settings = settings or PictureSettings()
        self._grafana_settings = grafana
        self._prometheus_settings = prometheus
        self._fonts = fonts
        self._count = count or (lambda _kind, _outcome: None)
        self._timezone = timezone
        self._language = language
        self._browser: Browser | None = None
        self._grafana: Grafana | None = None
        self._panels: Panels | None = None
        self._charts: Charts | None = None
        self._graphs: Graphs | None = None
        self._scratch: Scratch | None = None
        self._allow: AllowList | None = None
        self.painters: dict[str, Painter] = {
            "page": self._page,
            "fetch": self._fetch,
            "file": self._file,
            "chart": self._chart,
            "panel": self._panel,
            "alert": self._alert,
            "host_chart": self._host_chart,
            "bars": self._bars,
            **(painters or {}),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def browser(self) -> Browser:
        """The one browser; it is not started by asking for it."""
        if self._browser is None:
            from wxbridge.pictures.pages.browser import Browser

            self._browser = Browser(self.settings.browser, idle=self.settings.browser_idle)
        return self._browser

    @property
    def grafana(self) -> Grafana | None:
        """The configured Grafana; None where there is none."""
        if self._grafana is None and self._grafana_settings is not None:
            from wxbridge.monitors.grafana import Grafana

            self._grafana = Grafana(self._grafana_settings)
        return self._grafana

    @property
    def charts(self) -> Charts:
        """The one process that draws charts; it is not started by asking for it."""
        if self._charts is None:
            from wxbridge.pictures.charts.worker import Charts

            self._charts = Charts(fonts=self._fonts)
        return self._charts

    @property
    def graphs(self) -> Graphs | None:
        """What draws charts from the configured Prometheus; None where there is none."""
        if self._graphs is None and self._prometheus_settings is not None:
            from wxbridge.pictures.charts.graph import Graphs

            self._graphs = Graphs(
                self._prometheus_settings,
                self.charts,
                timezone=self._timezone or "UTC",
                language="zh" if (self._language or "").startswith("zh") else "en",
                theme=self.settings.alerts.theme,
            )
        return self._graphs

    async def draw(self, spec: PictureSpec) -> bytes:
        """Draw a picture. What may succeed at another attempt is tried up to four times within the deadline.

        Raises:
            NothingToDraw: there is no such picture, and nothing is wrong.
            PictureError: a sentence that says why there is none; `retry` tells whether it is worth asking again later.
        """
        try:
            picture = await self._drawn(spec)
        except PictureError as error:
            self._count(spec.kind, failure_reason(error))
            raise
        self._count(spec.kind, "drawn")
        return picture

    async def _drawn(self, spec: PictureSpec) -> bytes:
        painter = self.painters.get(spec.kind)
        if painter is None:
            raise PictureError(f"{spec.kind!r} is no kind of picture; there are {', '.join(sorted(self.painters))}")
        usual = self.settings.alerts.deadline if spec.kind == "alert" else self.settings.deadline
        seconds = float(spec.params.get("deadline") or usual)
        deadline = asyncio.get_running_loop().time() + seconds
        failures: list[PictureError] = []
        try:
            with deadline_at(deadline - _GRACE):
                async with asyncio.timeout_at(deadline):
                    return await _repeated(painter, spec.params, deadline, failures)
        except TimeoutError:
            late = PictureTimeout(f"the picture ({spec.kind}) was not drawn within {seconds:g} s")
            raise (failures[-1] if failures else late) from None

    async def close(self) -> None:
        """Close the browser and the process that draws charts, where they were started."""
        if self._scratch is not None:
            await self._scratch.close()
        if self._graphs is not None:
            await self._graphs.close()
        if self._charts is not None:
            await self._charts.close()
        if self._browser is not None:
            await self._browser.close()
        if self._grafana is not None:
            await self._grafana.close()

    # ------------------------------------------------------------ painters

    async def _page(self, params: Mapping[str, Any]) -> bytes:
        shot = self._shot(params)
        from wxbridge.pictures.pages.grafana import GrafanaPages

        grafana = self.grafana
        return await (GrafanaPages(grafana, self.browser).shoot(shot) if grafana else self.browser.shoot(shot))

    def _shot(self, params: Mapping[str, Any]) -> Shot:
        from wxbridge.pictures.pages.shot import Shot

        given = _take(params, "page", "url", (*_SHOT_KEYS, *_GRAFANA_KEYS))
        url = str(given.pop("url"))
        grafana_keys = {key: given.pop(key) for key in _GRAFANA_KEYS if key in given}
        only_grafana = grafana_keys.pop("only_grafana", False)
        given.setdefault("timezone", self._timezone)
        given.setdefault("language", self._language)
        if self.grafana is not None:
            url = self.grafana.url(url, theme=given.get("theme"), timezone=given["timezone"], **grafana_keys)
        elif "://" not in url:
            raise PictureError(f"{url!r} is relative to Grafana, but there is no `grafana: url:`")
        if only_grafana and (self.grafana is None or not self.grafana.owns(url)):
            raise PictureError("the page to shoot is not below `grafana: url:`")
        return Shot(url, deadline=seconds_left(self.settings.deadline), max_bytes=self.settings.max_size, **given)

    async def _fetch(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.pictures.allowed_hosts import AllowList
        from wxbridge.pictures.fetch import fetch

        given = _take(params, "fetch", "url", ("trusted",))
        if self._allow is None:
            self._allow = AllowList(self.settings.allow)
        fetched = await fetch(
            str(given["url"]),
            allow=self._allow,
            trusted=bool(given.get("trusted")),
            grafana=self.grafana,
            max_size=self.settings.max_size,
            deadline=seconds_left(self.settings.deadline),
        )
        return fetched.data

    async def _file(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.pictures.fetch import read_file

        given = _take(params, "file", "path", ())
        return (await read_file(str(given["path"]), max_size=self.settings.max_size)).data

    async def _chart(self, params: Mapping[str, Any]) -> bytes:
        if self.graphs is None:
            raise NothingToDraw("there is no `prometheus: url:` to draw a chart from", reason="no_source")
        return await self.graphs.paint(params)

    async def _host_chart(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.pictures.charts.host_chart import painter

        return await painter(self.charts)(params)

    async def _panel(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.pictures.panels import Panels

        if self._panels is None:
            if self.grafana is None:
                raise NothingToDraw("there is no `grafana: url:` to get a panel from", reason="no_source")
            self._panels = Panels(self.grafana, self._page, max_size=self.settings.max_size)
        return await self._panels.paint(params)

    async def _bars(self, params: Mapping[str, Any]) -> bytes:
        return await self.charts.bars(params)

    async def _alert(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.alerts.pictures import first_picture

        painters = dict(self.painters)
        if self.settings.alerts.painter is not None:
            painters["chart"] = self._chart_by_grafana
        return await first_picture(params, painters, self._count)

    async def _chart_by_grafana(self, params: Mapping[str, Any]) -> bytes:
        """Have Grafana draw a chart, and draw it ourselves where it does not."""
        try:
            with share_of_time(_GRAFANAS_SHARE):
                picture = await self._by_grafana(params)
        except PictureError as error:
            self._count("scratch", failure_reason(error))
            log.info("Grafana draws no chart; the bridge does", reason=failure_reason(error), error=str(error))
            return await self.painters["chart"](params)
        self._count("scratch", "drawn")
        return picture

    async def _by_grafana(self, params: Mapping[str, Any]) -> bytes:
        if self._scratch is None:
            from wxbridge.pictures.scratch_panel import Scratch

            settings, grafana, graphs = self.settings.alerts, self._grafana_settings, self.graphs
            if settings.painter is None or grafana is None or graphs is None:
                raise PictureError("`pictures: alerts: painter:` needs both `grafana: url:` and `prometheus: url:`")
            self._scratch = Scratch(
                settings.painter,
                grafana,
                graphs,
                self.painters["panel"],
                theme=settings.theme,
                timezone=self._timezone,
            )
        return await self._scratch.paint(params)


_SHOT_KEYS = (
    "width",
    "height",
    "scale",
    "full_page",
    "theme",
    "timezone",
    "language",
    "wait_for",
    "selector",
    "expand",
    "marks",
)
_GRAFANA_KEYS = ("kiosk", "hide_controls", "only_grafana")


async def _repeated(
    painter: Painter, params: Mapping[str, Any], deadline: float, failures: list[PictureError]
) -> bytes:
    """Paint, again after pauses while that may help and the loop's time `deadline` permits.

    The last of `failures` is always the one to be told. Raises `PictureError`: that one.
    """
    clock = asyncio.get_running_loop().time
    for number in range(MAX_TRIES):
        try:
            return await painter(params)
        except PictureError as error:
            pause = _FIRST_PAUSE * 2**number
            # Of those that took too long the first had the most time, and says how much.
            if not (failures and isinstance(error, PictureTimeout) and isinstance(failures[-1], PictureTimeout)):
                failures.append(error)
            if not error.retry or clock() + 2 * pause >= deadline or number + 1 == MAX_TRIES:
                raise failures[-1] from None
            await asyncio.sleep(pause)
    raise AssertionError  # pragma: no cover - the last try returns or raises


def _take(params: Mapping[str, Any], kind: str, needed: str, optional: tuple[str, ...]) -> dict[str, Any]:
    """The params of a painter, less those that are None.

    Raises:
        PictureError: one is missing or unknown.
    """
    given = {key: value for key, value in params.items() if value is not None and key != "deadline"}
    unknown = sorted(given.keys() - {needed, *optional})
    if unknown or needed not in given:
        what = f"does not know {', '.join(unknown)}" if unknown else f"needs `{needed}`"
        raise PictureError(f"a picture of kind {kind} {what}")
    return given
