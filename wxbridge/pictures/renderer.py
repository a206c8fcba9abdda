"""Pictures: a `PictureSpec` → PNG, JPEG or GIF bytes: a page, Grafana's panel, a chart, the web, a file.

Importing this costs little: the browser's driver and the process that draws charts are started when first needed.

The kinds and their params, plain JSON. What is not said to be needed may be left out or None; times are absolute.

- `page`: a `core.pictures.PageRequest`.
- `panel`, a panel of `grafana:`: a `core.pictures.PanelRequest`.
- `fetch`: `url` (needed), and `trusted` where the operator himself wrote the address.
- `file`: `path` (needed).
- `chart`, drawn from `prometheus:`, or of a rule of `grafana:`: a `core.pictures.ChartRequest`.
- `host_chart`: a machine's figures, all of them in the params; see `host_chart`.
- `bars`: counts over time and a ranking, all of it in the params; see `bars`.
- `alert`, as `alerts.pictures` makes it: `tries` (needed), a list of `{"way": …, "kind": …, "params": …}` of the
  kinds above, of which the first that gives a picture is taken.

Any of them may have a `deadline` in seconds. Where there is nothing to draw (`NothingToDraw`: no such rule, no data, no
Prometheus) a picture of kind `alert` is left out in peace; asked for by anybody else, that is an error like others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import structlog

from wxbridge.config.types import GrafanaSettings, PictureSettings, WebSource
from wxbridge.core import imaging
from wxbridge.core.closing import Closing
from wxbridge.core.deadline import deadline_at, share_of_time
from wxbridge.core.errors import NothingToDraw, PictureError, PictureTimeout, failure_reason
from wxbridge.core.model import PictureSpec
from wxbridge.core.pictures import ALERT, CHART, FETCH, FILE, PAGE, PANEL, PageRequest
from wxbridge.core.text.i18n import language_of
from wxbridge.monitors.grafana import Grafana

if TYPE_CHECKING:  # each painter is imported for its first picture, or where there is a monitor to ask
    from wxbridge.pictures.charts.graph import ChartPainter
    from wxbridge.pictures.charts.rule_graph import RuleChartPainter
    from wxbridge.pictures.charts.worker import ChartWorker
    from wxbridge.pictures.files import FilePainter
    from wxbridge.pictures.pages.entry import PagePainter
    from wxbridge.pictures.panels import PanelPainter

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
"""Before the second try; doubles with each, so that the tries are spread over the whole time."""
LONGEST_PAUSE_SECONDS = 8.0
_GRACE_SECONDS = 0.2
"""That a painter has less than the whole, so that its own error, which says more, comes first."""
_SHARE_BEFORE_ANOTHER_WAY = 0.6
"""Of the time that is left, what one way to draw may take where there is another to be tried."""

Painter = Callable[[Mapping[str, Any]], Awaitable[bytes]]
"""A kind's params → the picture. Raises `PictureError`."""
CountOutcome = Callable[[str, str], None]


class PictureRenderer(Closing):
    """Draws what a `PictureSpec` describes, by its kind's painter, with retries within one deadline.

    The kinds and their params are told at the top of this module. Use from one event loop, and `close()` in the end.

    Args:
        settings: The `pictures` section.
        grafana: The `grafana` section, where there is one.
        prometheus: The `prometheus` section, where there is one.
        painters: More painters by kind, which are given the params alone.
        timezone: For pages and charts where the params name none.
        language: Likewise: `en-US`, `zh-CN`.
        count: Is told of every picture what became of it: its kind, and `drawn` or the `failure_reason`.
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
        count: CountOutcome | None = None,
    ) -> None:
        self.settings = settings or PictureSettings()
        self.grafana = Grafana(grafana) if grafana is not None else None
        """The configured Grafana; None where there is none."""
        self.chart_painter: ChartPainter | None = None
        """What draws charts from the configured Prometheus; None where there is none."""
        self._rule_charts: RuleChartPainter | None = None
        if prometheus is not None or self.grafana is not None:
            from wxbridge.pictures.charts.graph import ChartLook, ChartPainter
            from wxbridge.pictures.charts.rule_graph import RuleChartPainter

            look = ChartLook(timezone or "UTC", language_of(language), self.settings.alerts.theme)
            self.chart_painter = ChartPainter(prometheus, self.charts, look) if prometheus is not None else None
            self._rule_charts = RuleChartPainter(self.grafana, self.charts, look) if self.grafana is not None else None
        self._timezone = timezone
        self._language = language
        self._count = count or (lambda _kind, _outcome: None)
        self._panels: PanelPainter | None = None
        if self.grafana is not None:
            from wxbridge.pictures.panels import PanelPainter

            self._panels = PanelPainter(self.grafana, self._shoot, max_bytes=self.settings.max_size)
        self.painters: dict[str, Painter] = {
            PAGE: self._page,
            FETCH: self._fetch,
            FILE: self._file,
            CHART: self._chart,
            PANEL: self._panel,
            ALERT: self._alert,
            "host_chart": self._host_chart,
            "bars": self._bars,
            **(painters or {}),
        }

    async def close(self) -> None:
        """Close the connections, the process that draws charts and the browser, as far as they were opened."""
        if self.chart_painter is not None:
            await self.chart_painter.close()
        if "charts" in vars(self):
            await self.charts.close()
        if "pages" in vars(self):
            await self.pages.close()
        if self.grafana is not None:
            await self.grafana.close()

    async def draw(self, spec: PictureSpec) -> bytes:
        """Draw a picture. What may succeed at another attempt is tried again until the deadline.

        Raises:
            NothingToDraw: there is no such picture, and nothing is wrong.
            PictureError: a sentence that says why there is none; `retry` tells whether it is worth asking again later.
        """
        try:
            picture = await self._draw_in_time(spec)
        except PictureError as error:
            self._count(spec.kind, failure_reason(error))
            raise
        self._count(spec.kind, "drawn")
        return picture

    async def _draw_in_time(self, spec: PictureSpec) -> bytes:
        painter = self.painters.get(spec.kind)
        if painter is None:
            raise PictureError(f"{spec.kind!r} is no kind of picture; there are {', '.join(sorted(self.painters))}")
        usual = self.settings.alerts.deadline if spec.kind == ALERT else self.settings.deadline
        seconds = float(spec.params.get("deadline") or usual)
        tries = _Tries(asyncio.get_running_loop().time())
        deadline = tries.began + seconds
        try:
            with deadline_at(deadline - _GRACE_SECONDS):
                async with asyncio.timeout_at(deadline):
                    return await _try_repeatedly(painter, spec.params, deadline, tries)
        except TimeoutError:
            late = PictureTimeout(f"the picture ({spec.kind}) was not drawn within {seconds:g} s")
            raise tries.tell(late) from None

    @cached_property
    def charts(self) -> ChartWorker:
        """The one process that draws charts; it starts with the first."""
        from wxbridge.pictures.charts.worker import ChartWorker

        return ChartWorker()

    @cached_property
    def pages(self) -> PagePainter:
        """What shoots pages; it has the one browser."""
        from wxbridge.pictures.pages.entry import PagePainter

        return PagePainter(self.settings, self.grafana, self._timezone, self._language)

    @cached_property
    def _files(self) -> FilePainter:
        from wxbridge.pictures.files import FilePainter

        return FilePainter(self.settings, self.grafana)

    # ------------------------------------------------------------ painters

    async def _page(self, params: Mapping[str, Any]) -> bytes:
        return await self._shoot(PageRequest.from_params(params))

    async def _shoot(self, request: PageRequest) -> bytes:
        return await self.pages.paint(request)

    async def _fetch(self, params: Mapping[str, Any]) -> bytes:
        return await self._files.fetch(params)

    async def _file(self, params: Mapping[str, Any]) -> bytes:
        return await self._files.read(params)

    async def _host_chart(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.pictures.charts.host_chart import charts_of

        return await self.charts.draw(*charts_of(params), title=str(params.get("title", "")), columns=1)

    async def _bars(self, params: Mapping[str, Any]) -> bytes:
        return await self.charts.bars(params)

    async def _panel(self, params: Mapping[str, Any]) -> bytes:
        if self._panels is None:
            raise NothingToDraw("there is no `grafana: url:` to get a panel from", reason="no_source")
        return await self._panels.paint(params)

    async def _chart(self, params: Mapping[str, Any]) -> bytes:
        if params.get("grafana_uid") or params.get("grafana_number"):
            if self._rule_charts is None:
                raise NothingToDraw("there is no `grafana: url:` to ask for the rule", reason="no_source")
            return await self._rule_charts.paint(params)
        if self.chart_painter is None:
            raise NothingToDraw("there is no `prometheus: url:` to draw a chart from", reason="no_source")
        return await self.chart_painter.paint(params)

    # ------------------------------------------------------------ alerts

    async def _alert(self, params: Mapping[str, Any]) -> bytes:
        """Draw by the first way that gives a picture; what each failed way failed of is counted.

        Raises:
            NothingToDraw: no way failed, and none has a picture.
            PictureError: one of them failed, and no other has a picture; `retry` where one of them may succeed later.
        """
        tries = params.get("tries")
        kinds = self.painters.keys() - {ALERT}
        if not isinstance(tries, list) or not tries or any(each.get("kind") not in kinds for each in tries):
            raise PictureError(f"a picture of kind {ALERT} needs `tries`, of the kinds {', '.join(sorted(kinds))}")
        failures: list[PictureError] = []
        nothing: list[NothingToDraw] = []
        for place, each in enumerate(tries):
            kind = each["kind"]
            try:
                with share_of_time(_SHARE_BEFORE_ANOTHER_WAY if place + 1 < len(tries) else 1.0):
                    return await self._alert_by(kind, each["params"])
            except NothingToDraw as error:
                nothing.append(error)
            except PictureError as error:
                failures.append(error)
                self._count(kind, failure_reason(error))
                log.info("no picture by this way", kind=kind, error=str(error))
        if not failures:
            raise nothing[0] if len(nothing) == 1 else NothingToDraw(_together(nothing), reason=nothing[-1].reason)
        if len(failures) == 1:
            raise failures[0]
        raise PictureError(_together(failures), retry=any(each.retry for each in failures))

    async def _alert_by(self, kind: str, params: Mapping[str, Any]) -> bytes:
        """Draw an alert's picture by one way."""
        picture = await self.painters[kind](params)
        if kind == FETCH and await asyncio.to_thread(imaging.is_blank, picture, "the alert's picture"):
            raise PictureError("the alert's own picture is empty")
        return picture


def _together(errors: Iterable[PictureError]) -> str:
    return "; ".join(dict.fromkeys(map(str, errors)))


@dataclass
class _Tries:
    """The tries at one picture that failed."""

    began: float
    """On the event loop's clock."""
    count: int = 0
    told: PictureError | None = None
    """The one to be told."""

    def add(self, error: PictureError) -> None:
        """Take note of another one. One that took too long says less than those before it, which had more time."""
        self.count += 1
        if self.told is None or not isinstance(error, PictureTimeout):
            self.told = error

    def tell(self, error: PictureError) -> PictureError:
        """Give the error to be told, with how long was waited in all; `error` where none failed."""
        # A copy: the same error may be told of other pictures, which were tried more or less often.
        told = copy(self.told or error)
        if self.count > 1:
            seconds = asyncio.get_running_loop().time() - self.began
            told.args = (f"{told} ({self.count} tries in {seconds:.3g} s)",)
        return told


async def _try_repeatedly(painter: Painter, params: Mapping[str, Any], deadline: float, tries: _Tries) -> bytes:
    """Paint, again after growing pauses while that may help and the loop's time `deadline` permits.

    Raises `PictureError`: the one that says most.
    """
    clock = asyncio.get_running_loop().time
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await painter(params)
        except PictureError as error:
            tries.add(error)
            if not error.retry or clock() + 2 * pause >= deadline:
                raise tries.tell(error) from None
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
