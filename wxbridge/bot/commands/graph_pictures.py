"""What a chat's graphs are drawn from: `PictureSpec`s with absolute times, and the links to the same. Pure.

The params of each kind are in `wxbridge.pictures.renderer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from wxbridge.bot.time_range import Span
from wxbridge.config.graphs import TALL, WIDE, Size
from wxbridge.core.model import PictureSpec
from wxbridge.core.pictures import ChartRequest, PageRequest, PanelAddress, PanelRequest
from wxbridge.core.text.i18n import Language
from wxbridge.monitors.dashboards import PanelInfo


@dataclass(frozen=True)
class View:
    """What one answer shows: a dashboard of Grafana, which panels of it, when, and how."""

    uid: str
    title: str
    span: Span
    slug: str = ""
    panels: tuple[PanelInfo, ...] = ()
    """Without any: the whole dashboard."""
    variables: tuple[tuple[str, str], ...] = ()
    """(`var-…`, value), in their order; a name may come several times."""
    org: str = ""
    more: tuple[tuple[str, str], ...] = ()
    """What else stands in the shortcut's address: `autofitpanels`."""
    size: Size | None = None
    theme: str | None = None
    timezone: str = "UTC"
    left_out: tuple[PanelInfo, ...] = ()
    """Panels that were asked for too, above the cap."""


def panel_picture(view: View, panel: PanelInfo, base: str) -> PictureSpec:
    """What to draw for a panel: kind `panel`. `base` is Grafana's address, for the link."""
    start, end = view.span.milliseconds
    address = PanelAddress(str(panel.id), view.uid, org=view.org, variables=view.variables)
    request = PanelRequest(address, start, end, timezone=view.timezone, theme=view.theme, **_sides(view.size))
    return request.to_spec(base + path_of(view, panel.id))


def dashboard_picture(view: View, base: str) -> PictureSpec:
    """What to draw for a whole dashboard: kind `page`."""
    path = path_of(view)
    return page_picture(path, view.size, view.theme, view.timezone, link=base + path, only_grafana=True)


def page_picture(
    url: str, size: Size | None, theme: str | None, timezone: str, *, link: str, only_grafana: bool = False
) -> PictureSpec:
    """What to draw for any page: kind `page`, as the job kind `screenshot` does."""
    request = PageRequest(url, timezone=timezone, theme=theme, only_grafana=only_grafana, **_page_sides(size))
    return request.to_spec(link)


CHART_DEADLINE_SECONDS = 25.0
"""Others wait in the same chat while a Prometheus does not answer."""


def chart_picture(expr: str, span: Span, timezone: str, language: Language, link: str | None) -> PictureSpec:
    """What to draw for an expression: kind `chart`."""
    request = ChartRequest(
        expr,
        start=span.start.timestamp(),
        end=span.end.timestamp(),
        timezone=timezone,
        language=language,
        deadline=CHART_DEADLINE_SECONDS,
    )
    return request.to_spec(link)


def path_of(view: View, panel: int | None = None) -> str:
    """The path below Grafana of a dashboard or a panel, as people open it."""
    start, end = view.span.milliseconds
    query: list[tuple[str, str | int]] = [("orgId", view.org)] if view.org else []
    query += [("from", start), ("to", end), *view.variables]
    query += view.more if panel is None else [("viewPanel", panel)]
    return f"/d/{view.uid}/{quote(view.slug or '_', safe='-%')}?{urlencode(query)}"


def _sides(size: Size | None) -> dict[str, Any]:
    return {} if size is None else {"width": size.width, "height": size.height, "scale": size.scale}


def _page_sides(size: Size | None) -> dict[str, Any]:
    """A page is as long as it is; Grafana puts panels below one another where it is narrow."""
    if size in (WIDE, TALL):
        return {"width": 1920} if size == WIDE else {"width": 720, "scale": 2}
    return _sides(size)


def prometheus_link(base: str, expr: str, span: Span) -> str:
    """The page of Prometheus that draws the same."""
    query = {
        "g0.expr": expr,
        "g0.tab": "0",
        "g0.range_input": f"{round((span.end - span.start).total_seconds())}s",
        "g0.end_input": f"{span.end:%Y-%m-%d %H:%M:%S}",
    }
    return f"{bare(base)}/graph?{urlencode(query)}"


def bare(url: str) -> str:
    """An address without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
