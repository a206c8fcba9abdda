"""`chart --expr EXPR -o F.png`: see what picture an alert would bring, and how it comes about."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wxbridge.cli.common import FAILED, ConfigOption, config_path, fail, read_config, say
from wxbridge.config.types import parse_duration
from wxbridge.core import logging
from wxbridge.core.errors import PictureError
from wxbridge.core.model import PictureSpec

if TYPE_CHECKING:
    from wxbridge.pictures.charts.graph import Graphs, Request
    from wxbridge.pictures.renderer import PictureRenderer

Theme = Literal["light", "dark"]


def _labels(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    every = found if isinstance(found, list) else [found]
    if not every or not all(isinstance(each, dict) for each in every):
        raise typer.BadParameter(f"""{text!r} is no JSON object; write one like '{{"instance": "db-1:9100"}}'""")
    return found


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def chart(  # noqa: PLR0913, PLR0917 - one for each option
    expr: Annotated[str | None, typer.Option(help="An alert's expression.")] = None,
    rule: Annotated[str | None, typer.Option(help="An alerting rule's name, as Prometheus knows it.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="The firing alert's labels as JSON; a list for several alerts of one rule.")
    ] = None,
    hold: Annotated[str, typer.Option("--for", help="The rule's `for`.")] = "0s",
    last: Annotated[str | None, typer.Option(help="How much of the past to show; else it follows from `for`.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The PNG file to write.")] = Path("chart.png"),
    explain: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--explain", help="Print what would be asked as JSON, and draw nothing.")
    ] = False,
    prometheus: Annotated[str | None, typer.Option(help="Prometheus's address, in place of the configured.")] = None,
    title: Annotated[str | None, typer.Option(help="In place of the rule's name or the expression.")] = None,
    theme: Annotated[Theme | None, typer.Option(help="How it looks.")] = None,
    config: ConfigOption = None,
) -> None:
    """Draw the chart that an alert would bring. Without a configuration file: `--prometheus`, or `--explain`."""
    if (expr is None) == (rule is None) or not (expr or rule or "").strip():
        raise typer.BadParameter("give one of --expr and --rule")
    logging.configure("auto", "warning")
    now = time.time()
    params: dict[str, Any] = {
        "expr": expr, "rule": rule, "labels": _labels(labels) if labels else None, "at": now,
        "hold": _duration(hold) if expr else None, "title": title, "theme": theme,
    }  # fmt: skip
    if last is not None:
        params |= {"start": now - _duration(last), "end": now}
    params = {name: value for name, value in params.items() if value is not None}
    if explain:
        found = asyncio.run(_explained(config, prometheus, params))
        print(json.dumps(found, ensure_ascii=False))  # noqa: T201 - this is the command line
        return
    begun = time.monotonic()
    png = asyncio.run(_drawn(config, prometheus, params))
    try:
        output.write_bytes(png)
    except OSError as error:
        raise fail(f"cannot write {output}: {error.strerror}", FAILED) from None
    say(f"{output}: {len(png)} bytes in {time.monotonic() - begun:.1f} s")


async def _explained(config: Path | None, prometheus: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    from wxbridge.monitors.promql import explain_analysis
    from wxbridge.pictures.charts import graph

    request = graph.requested(params)
    if request.rule:
        async with _pictures(config, prometheus) as pictures:
            if pictures.graphs is None:
                raise _nowhere()
            await _tell_namesakes(pictures.graphs, request)
            request = await pictures.graphs.looked_up(request)
    return explain_analysis(graph.analysis_of(request), graph.period_of(request))


async def _drawn(config: Path | None, prometheus: str | None, params: Mapping[str, Any]) -> bytes:
    from wxbridge.pictures.charts import graph

    async with _pictures(config, prometheus) as pictures:
        if pictures.graphs is None:
            raise _nowhere()
        await _tell_namesakes(pictures.graphs, graph.requested(params))
        return await pictures.draw(PictureSpec("chart", params))


async def _tell_namesakes(graphs: Graphs, request: Request) -> None:
    """Say which rule is taken where several have the name that was asked for."""
    if not request.rule:
        return
    with suppress(PictureError):  # whoever draws is told of it
        named = [rule for rule in await graphs.prometheus.rules() if rule.name == request.rule]
        if len(named) > 1:
            taken = await graphs.looked_up(request)
            others = "".join(f"\n  {' '.join(rule.expr.split())}  {json.dumps(dict(rule.labels))}" for rule in named)
            say(
                f"{len(named)} rules are called {request.rule}; --labels tells which is meant. "
                f"Taken is {' '.join(taken.expr.split())}, of:{others}"
            )


def _nowhere() -> typer.BadParameter:
    return typer.BadParameter("no Prometheus: set `prometheus: url:` in jobs.yaml, or give --prometheus URL")


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
    from wxbridge import app

    found = read_config(config)
    return app.make_pictures(found if given is None else found.model_copy(update={"prometheus": given}))
