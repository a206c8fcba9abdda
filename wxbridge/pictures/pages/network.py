"""What a page's network is doing: what is under way, what was refused, and what was answered of its dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wxbridge.core.errors import PictureError
from wxbridge.monitors.dashboards import Dashboard, read_dashboard

if TYPE_CHECKING:
    from playwright.async_api import Page, Request, Response

_BACKGROUND_TYPES = frozenset({"eventsource", "websocket", "media", "ping", "beacon", "texttrack", "manifest"})
"""Kinds of requests that say nothing about whether a page has loaded."""
_DATA_TYPES = frozenset({"xhr", "fetch"})
_RETRY_STATUS = frozenset({408, 429, *range(500, 600)})
_DASHBOARD = re.compile(r"/api/dashboards/uid/|/apis/dashboard\.grafana\.app/[^?]*/dashboards/")
"""Without an answer to these, Grafana draws a page that says that there is no such dashboard."""
_QUERY = re.compile(r"/api/(?:ds|tsdb)/query|/api/datasources/")
_LIVE = "/api/live/"
_BODY_SECONDS = 2.0


class LoginPage(PictureError):
    """The page that was asked for is behind a login, and the login page came instead."""


class PageNetwork:
    """Listens to a page's requests, from before the first one.

    Args:
        url: The page's address; requests to its scheme, host and port are its own.
    """

    def __init__(self, url: str) -> None:
        self._origin = urlsplit(url)[:2]
        self.pending: set[Request] = set()
        self.events = 0
        """How many requests have begun and ended."""
        self._stirred = asyncio.Event()
        self.status = 0
        """The HTTP status of the page's own document, the last one where it navigated."""
        self.refused: tuple[int, str] | None = None
        """Status and address of the first request for a dashboard that was not answered well."""
        self.cut: tuple[str, str] | None = None
        """What ended the first of its own requests for data or scripts that had no answer, and its address."""
        self._dashboard: Response | None = None
        self._failed_query: Response | None = None

    def attach(self, page: Page) -> None:
        """Listen to a page's requests."""
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_ended)
        page.on("requestfailed", self._on_failed)
        page.on("response", lambda response: self._on_response(page, response))

    @property
    def awaits_data(self) -> bool:
        """Whether something that the page asked for by script is still to come."""
        return any(request.resource_type in _DATA_TYPES for request in self.pending)

    def _is_own(self, url: str) -> bool:
        return urlsplit(url)[:2] == self._origin

    def _on_request(self, request: Request) -> None:
        # Of a worker's `blob:` script nobody ever hears that it ended.
        if request.resource_type not in _BACKGROUND_TYPES and not request.url.startswith(("blob:", "data:")):
            self.pending.add(request)
            self._stir()

    def _on_ended(self, request: Request) -> None:
        self.pending.discard(request)
        self._stir()

    def _stir(self) -> None:
        self.events += 1
        self._stirred.set()

    async def wait_for_event(self, seconds: float, *, after: int) -> None:
        """Wait until more than `after` requests have begun and ended, for at most `seconds`."""
        self._stirred.clear()
        if self.events == after:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stirred.wait()

    def _on_failed(self, request: Request) -> None:
        self._on_ended(request)
        why = (request.failure or "").removeprefix("net::ERR_")
        # Grafana itself aborts queries that it no longer needs.
        if (
            self.cut is None
            and why != "ABORTED"
            and request.resource_type in (*_DATA_TYPES, "script")
            and self._is_own(request.url)
            and _LIVE not in request.url
        ):
            self.cut = (why, request.url)

    def _on_response(self, page: Page, response: Response) -> None:
        request = response.request
        if request.is_navigation_request():
            if request.frame == page.main_frame:
                self.status = response.status
            return
        if not self._is_own(response.url):
            return
        if _DASHBOARD.search(response.url):
            if response.status < 400:  # noqa: PLR2004 - HTTP
                self._dashboard = response
            elif self.refused is None:
                self.refused = (response.status, response.url)
        elif _QUERY.search(response.url) and response.status not in range(200, 207):
            self._failed_query = response

    def check(self, *, is_grafana: bool) -> None:
        """Raise `PictureError` where the page's document or dashboard was refused, or its data were cut off."""
        if self.refused is not None:
            raise refusal_of(*self.refused)
        if self.status >= 400:  # noqa: PLR2004 - HTTP
            raise refusal_of(self.status, "the page")
        if is_grafana and self.cut is not None:
            why, url = self.cut
            raise PictureError(f"the page lost its server: {urlsplit(url).path} had no answer ({why})", retry=True)

    async def read_dashboard(self) -> Dashboard | None:
        """Read what the page was told of its dashboard; None where it was told nothing that can be read."""
        answer = await _read_json(self._dashboard)
        return read_dashboard(answer, "") if answer is not None else None

    async def read_query_error(self) -> str:
        """Read why the last query failed, in its data source's words; empty where nothing says."""
        answer = await _read_json(self._failed_query)
        results = answer.get("results") if answer else None
        told = [each.get("error") for each in results.values()] if isinstance(results, dict) else []
        words = next(filter(None, [*told, answer.get("error"), answer.get("message")]), "") if answer else ""
        return " ".join(str(words).split())[:300]


async def _read_json(response: Response | None) -> Mapping[str, Any] | None:
    from playwright.async_api import Error

    if response is None:
        return None
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            answer = json.loads(await response.body())
    except (Error, TimeoutError, ValueError):  # the page has gone on, or it is no JSON
        return None
    return answer if isinstance(answer, dict) else None


def refusal_of(status: int, what: str) -> PictureError:
    """The error for an HTTP status ≥ 400: 401 is a `LoginPage`; 408, 429 and 5xx are worth a retry."""
    what = what.partition("?")[0]
    if status == 401:  # noqa: PLR2004 - HTTP
        return LoginPage(f"{what} wants a login (HTTP 401)")
    hint = {403: ": this account may not see it", 404: ": there is no such page"}.get(status, "")
    return PictureError(f"{what} was answered with HTTP {status}{hint}", retry=status in _RETRY_STATUS)
