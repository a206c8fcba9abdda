"""Charts of Grafana's own rules: Grafana computes their series, whatever their data source; the bridge draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wxbridge.core.errors import NothingToDraw
from wxbridge.core.pictures import ChartRequest
from wxbridge.monitors.grafana import Grafana
from wxbridge.monitors.grafana_series import GrafanaRules
from wxbridge.monitors.promql import Analysis
from wxbridge.monitors.promql_units import unit_in
from wxbridge.pictures.charts.chart import Chart
from wxbridge.pictures.charts.graph import ChartLook, compose_chart, resolve_period
from wxbridge.pictures.charts.worker import ChartWorker


class RuleChartPainter:
    """Draws the charts of one Grafana's rules; whoever gave the Grafana and the worker closes them."""

    def __init__(self, grafana: Grafana, worker: ChartWorker, look: ChartLook | None = None) -> None:
        self._rules = GrafanaRules(grafana)
        self._worker = worker
        self._look = look or ChartLook()

    async def paint(self, params: Mapping[str, Any]) -> bytes:
        """Draw the chart of the rule that the params of the kind `chart` name.

        Raises:
            NothingToDraw: there is no such rule that we may read (`no_rule`), or no data (`no_data`).
            PictureError: the params are wrong; Grafana cannot be reached or is too late; drawing failed.
        """
        return await self._worker.draw(await self.make_chart(ChartRequest.from_params(params)))

    async def make_chart(self, request: ChartRequest) -> Chart:
        """Ask Grafana for what a chart shows: the time covers what the rule itself looks back on.

        Raises:
            NothingToDraw: as `paint`. PictureError, likewise.
        """
        if request.grafana_number:
            rule = await self._rules.find_legacy(request.grafana_number, request.org)
        else:
            rule = await self._rules.find_unified(request.grafana_uid, request.org)
        # Another Grafana than ours may have sent the alert, and have another rule of this number.
        if request.rule.strip() not in ("", rule.title):
            raise NothingToDraw(
                f"Grafana's rule is called {rule.title[:200]}, not {request.rule[:200]}", reason="no_rule"
            )
        request = replace(request, title=request.title or rule.title, hold=max(rule.hold, rule.window / 4))
        shown = await self._rules.fetch_chart_data(rule, request.instances, resolve_period(request), request.org)
        curves = tuple(curve for curve, _ in shown.curves)
        unit = request.unit or (unit_in(rule.curves[0].promql, lambda _: "") if len(curves) == 1 else "")
        return compose_chart(request, Analysis(rule.title, curves, request.instances), shown, unit, self._look)
