"""Shooting the page that a request describes: Grafana's with its credentials, all others without."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property

from wxbridge.config.types import PictureSettings
from wxbridge.core.closing import Closing
from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import PictureError
from wxbridge.core.pictures import PageRequest
from wxbridge.monitors.grafana import Grafana, take_org
from wxbridge.pictures.pages.browser import Browser
from wxbridge.pictures.pages.network import LoginPage
from wxbridge.pictures.pages.shot import Shot


async def shoot_as_account(shot: Shot, grafana: Grafana, browser: Browser) -> bytes:
    """Shoot a page with Grafana's credentials where it is Grafana's; an expired session is renewed once.

    The organisation that its address names travels as a header of each of the page's requests.

    Raises:
        PictureError: as `Browser.shoot`; a login page becomes a sentence about the credentials.
    """
    if not grafana.owns(shot.url):
        return await browser.shoot(shot)
    clock = asyncio.get_running_loop().time
    until = clock() + shot.deadline
    address = take_org(shot.url)
    shot = replace(shot, url=address.url, trust_key=shot.trust_key or await grafana.fetch_trusted_key())
    auth = await grafana.get_credentials(shot.url, shot.org or address.org)
    is_renewed = False
    while True:
        try:
            return await browser.shoot(replace(shot, auth=auth, deadline=until - clock()))
        except LoginPage as error:
            auth = None if is_renewed else await grafana.renew(auth)
            if auth is None:
                raise grafana.login_error(str(error)) from None
            is_renewed = True


class PagePainter(Closing):
    """Shoots pages with one browser, which starts with the first. `close()` it in the end.

    Args:
        settings: The `pictures` section.
        grafana: Whose pages an address without a host means; None where there is none.
        timezone: For pages whose request names none.
        language: Likewise.
    """

    def __init__(
        self, settings: PictureSettings, grafana: Grafana | None, timezone: str | None, language: str | None
    ) -> None:
        self._settings = settings
        self._grafana = grafana
        self._timezone = timezone
        self._language = language

    @cached_property
    def browser(self) -> Browser:
        """The one browser; it starts with the first page."""
        settings = self._settings
        return Browser(settings.browser, idle=settings.browser_idle, shots=settings.pages)

    async def close(self) -> None:
        """Close the browser, where it was opened."""
        if "browser" in vars(self):
            await self.browser.close()

    async def paint(self, request: PageRequest) -> bytes:
        """Shoot a page. Raises `PictureError`."""
        grafana, url = self._grafana, request.url
        timezone = request.timezone or self._timezone
        if grafana is not None:
            url = grafana.page_url(
                url,
                theme=request.theme,
                timezone=timezone,
                kiosk=request.kiosk,
                hide_controls=request.hide_controls,
            )
        elif "://" not in url:
            raise PictureError(f"{url!r} is relative to Grafana, but there is no `grafana: url:`")
        if request.only_grafana and (grafana is None or not grafana.owns(url)):
            raise PictureError("the page to shoot is not below `grafana: url:`")
        shot = Shot.of(
            request,
            url=url,
            timezone=timezone,
            language=request.language or self._language,
            deadline=seconds_left(self._settings.deadline),
            max_bytes=self._settings.max_size,
        )
        return await (shoot_as_account(shot, grafana, self.browser) if grafana else self.browser.shoot(shot))
