"""`render URL -o F.png`: try what a screenshot job would send."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from wxbridge.cli.common import ConfigOption, check_writable, say, write_file
from wxbridge.config.types import find_timezone
from wxbridge.core import logging
from wxbridge.core.pictures import PageRequest, Theme


def render(  # noqa: PLR0913, PLR0917 - one for each option
    url: str,
    output: Annotated[Path, typer.Option("-o", "--output")],
    width: Annotated[int, typer.Option(min=200, max=7680)] = 1440,
    height: Annotated[int | None, typer.Option(min=100, max=16000)] = None,
    scale: Annotated[float, typer.Option(min=0.5, max=4)] = 1.0,
    theme: Theme | None = None,
    timezone: str | None = None,
    wait_for: str | None = None,
    selector: str | None = None,
    kiosk: bool = True,  # noqa: FBT001, FBT002
    full_page: bool = True,  # noqa: FBT001, FBT002
    config: ConfigOption = None,
) -> None:
    """Take a screenshot of a page, whole, once it has settled. Works without a configuration file."""
    if "://" in url and not url.lower().startswith(("http://", "https://", "/")):
        raise typer.BadParameter(f"{url!r} is no http or https address")
    if timezone is not None:
        try:
            find_timezone(timezone)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    logging.configure("auto", "warning")
    request = PageRequest(
        url,
        width=width,
        height=height,
        scale=scale,
        theme=theme,
        timezone=timezone,
        wait_for=wait_for,
        selector=selector,
        kiosk=kiosk,
        full_page=full_page,
    )
    check_writable(output)
    started = time.monotonic()
    png = asyncio.run(_draw(config, request))
    write_file(output, png)
    from wxbridge.pictures.pages.parts import read_missing

    say(f"{output}: {len(png)} bytes in {time.monotonic() - started:.1f} s")
    if missing := read_missing(png):
        say(f"not in the picture: {', '.join(missing)}")


async def _draw(config: Path | None, request: PageRequest) -> bytes:
    from wxbridge import parts
    from wxbridge.cli import demo_setup
    from wxbridge.pictures.renderer import PictureRenderer

    settings = demo_setup.find_config(config)
    async with parts.make_renderer(settings) if settings else PictureRenderer() as pictures:
        return await pictures.draw(request.to_spec())
