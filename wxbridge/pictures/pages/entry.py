"""Shooting Grafana's pages: with its credentials."""

from __future__ import annotations

import asyncio
from dataclasses import replace

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
