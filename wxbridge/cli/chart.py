"""`chart --expr EXPR -o F.png`: see what picture an alert would bring, and how it comes about."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wxbridge.cli.common import (
    ConfigOption,
    check_writable,
    config_path,
    print_json,
    read_config,
    say,
    write_file,
)
from wxbridge.config.types import parse_duration
from wxbridge.core import logging
from wxbridge.core.errors import PictureError
from wxbridge.core.pictures import ChartRequest, Theme

if TYPE_CHECKING:
    from wxbridge.pictures.charts.graph import ChartPainter
    from wxbridge.pictures.renderer import PictureRenderer


def _labels(text: str) -> list[dict[str, str]]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    every = found if isinstance(found, list) else [found]
    if not every or not all(isinstance(each, dict) for each in every):
        raise typer.BadParameter(f"""{text!r} is no JSON object; write one like '{{"instance": "db-1:9100"}}'""")
    return [{name: str(value) for name, value in each.items()} for each in every]


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def chart(  # noqa: PLR0913, PLR0917 - one for each option
    expr: str | None = None,
    rule: str | None = None,
    labels: str | None = None,
    hold: Annotated[str, typer.Option("--for")] = "0s",
    last: str | None = None,
    output: Annotated[Path, typer.Option("-o", "--output")] = Path("chart.png"),
    explain: Annotated[bool, typer.Option("--explain")] = False,  # noqa: FBT002 - typer's way
    prometheus: str | None = None,
    title: str | None = None,
    theme: Theme | None = None,
    config: ConfigOption = None,
) -> None:
    """Draw the chart that an alert would bring. Without a configuration file: `--prometheus`, or `--explain`."""
    if (expr is None) == (rule is None) or not (expr or rule or "").strip():
        raise typer.BadParameter("give one of --expr and --rule")
    logging.configure("auto", "warning")
    now = time.time()
    request = ChartRequest(
        expr or "", rule or "", tuple(_labels(labels)) if labels else (), at=now, hold=_duration(hold) if expr else 0.0,
        title=title or "", theme=theme,
    )  # fmt: skip
    if last is not None:
        request = replace(request, start=now - _duration(last), end=now)
    if explain:
        found = asyncio.run(_explained(config, prometheus, request))
        print_json(found)
        return
    check_writable(output)
    begun = time.monotonic()
    png = asyncio.run(_drawn(config, prometheus, request))
    write_file(output, png)
    say(f"{output}: {len(png)} bytes in {time.monotonic() - begun:.1f} s")


async def _explained(config: Path | None, prometheus: str | None, request: ChartRequest) -> dict[str, Any]:
    from wxbridge.monitors.promql import explain_analysis
    from wxbridge.pictures.charts.graph import KnownRule, resolve_period

    known = KnownRule(request)
    if request.rule:
        async with _pictures(config, prometheus) as pictures:
            painter = _painter_of(pictures)
            await _tell_namesakes(painter, request)
            known = await painter.look_up_rule(request)
    return explain_analysis(known.analyze(), resolve_period(known.request))


async def _drawn(config: Path | None, prometheus: str | None, request: ChartRequest) -> bytes:
    async with _pictures(config, prometheus) as pictures:
        await _tell_namesakes(_painter_of(pictures), request)
        return await pictures.draw(request.to_spec())


async def _tell_namesakes(painter: ChartPainter, request: ChartRequest) -> None:
    """Say which rule is taken where several have the name that was asked for."""
    if not request.rule:
        return
    with suppress(PictureError):  # whoever draws is told of it
        named = [rule for rule in await painter.prometheus.rules() if rule.name == request.rule]
        if len(named) > 1:
            taken = (await painter.look_up_rule(request)).request
            others = "".join(f"\n  {' '.join(rule.expr.split())}  {json.dumps(dict(rule.labels))}" for rule in named)
            say(
                f"{len(named)} rules are called {request.rule}; --labels tells which is meant. "
                f"Taken is {' '.join(taken.expr.split())}, of:{others}"
            )


def _painter_of(pictures: PictureRenderer) -> ChartPainter:
    if pictures.chart_painter is None:
        raise typer.BadParameter("no Prometheus: set `prometheus: url:` in jobs.yaml, or give --prometheus URL")
    return pictures.chart_painter


def _pictures(config: Path | None, prometheus: str | None) -> PictureRenderer:
    from pydantic import ValidationError

    from wxbridge.config.types import WebSource
    from wxbridge.pictures.renderer import PictureRenderer

    given = None
    if prometheus is not None:
        try:
            given = WebSource(url=prometheus)
        except ValidationError:
            raise typer.BadParameter(f"{prometheus!r} is no web address; write one like http://db:9090") from None
    if config is None and not config_path(None).exists():
        return PictureRenderer(prometheus=given)
    from wxbridge import parts

    found = read_config(config)
    return parts.make_renderer(found if given is None else found.model_copy(update={"prometheus": given}))
