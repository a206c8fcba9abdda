"""Pictures: a `PictureSpec` → PNG, JPEG or GIF bytes, from the browser, Grafana, the web or a file.

Importing this costs little: the browser's driver is loaded with the first shot.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from wxbridge.errors import PictureError
from wxbridge.settings import PictureSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from wxbridge.model import PictureSpec
    from wxbridge.pictures.browser import Browser, Shot
    from wxbridge.pictures.grafana import Grafana
    from wxbridge.pictures.hosts import AllowList
    from wxbridge.settings import GrafanaSettings

    Painter = Callable[[Mapping[str, Any]], Awaitable[bytes]]

__all__ = ["Pictures", "time_left"]

MAX_TRIES = 4
_FIRST_PAUSE = 0.5
_GRACE = 0.2
"""Seconds that a painter has less than the whole, so that its own error, which says more, comes first."""
_due: ContextVar[float | None] = ContextVar("picture_due", default=None)


def time_left(default: float) -> float:
    """Tell a painter how many seconds its picture has left; `default` outside `Pictures.draw`."""
    due = _due.get()
    return default if due is None else max(0.0, due - asyncio.get_running_loop().time())


class Pictures:
    """Draws what a `PictureSpec` describes, by its kind's painter, with retries within one deadline.

    Its own painters and their params, all optional but the first:

    - `page`: `url` (relative to Grafana, or any page), `width`, `height`, `scale`, `full_page`, `theme`, `kiosk`,
      `hide_controls`, `timezone`, `language`, `wait_for`, `selector`: see `browser.Shot` and `Grafana.url`;
      `only_grafana` refuses every other address: for a `url` that came from outside, in an alert.
    - `fetch`: `url`, and `trusted` where the operator himself wrote the address.
    - `file`: `path`.

    Use from one event loop, and `close()` in the end.

    Args:
        settings: The `pictures` section.
        grafana: The `grafana` section, where there is one.
        painters: More painters by kind (charts), which are given the params alone.
        timezone: For pages where the params name none.
        language: Likewise: `en-US`, `zh-CN`.
    """

    def __init__(
        self,
        settings: PictureSettings | None = None,
        grafana: GrafanaSettings | None = None,
        *,
        painters: Mapping[str, Painter] | None = None,
        timezone: str | None = None,
        language: str | None = None,
    ) -> None:
        self.settings = settings or PictureSettings()
        self._grafana_settings = grafana
        self._timezone = timezone
        self._language = language
        self._browser: Browser | None = None
        self._grafana: Grafana | None = None
        self._allow: AllowList | None = None
        self.painters: dict[str, Painter] = {
            "page": self._page,
            "fetch": self._fetch,
            "file": self._file,
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
            from wxbridge.pictures.browser import Browser

            self._browser = Browser(self.settings.browser, idle=self.settings.browser_idle)
        return self._browser

    @property
    def grafana(self) -> Grafana | None:
        """The configured Grafana; None where there is none."""
        if self._grafana is None and self._grafana_settings is not None:
            from wxbridge.pictures.grafana import Grafana

            self._grafana = Grafana(self._grafana_settings, self.browser)
        return self._grafana

    async def draw(self, spec: PictureSpec) -> bytes:
        """Draw a picture. What may succeed at another attempt is tried up to four times within the deadline.

        Raises:
            PictureError: a sentence that says why there is none; `retry` tells whether it is worth asking
            again
                later.
        """
        painter = self.painters.get(spec.kind)
        if painter is None:
            raise PictureError(f"{spec.kind!r} is no kind of picture; there are {', '.join(sorted(self.painters))}")
        clock = asyncio.get_running_loop().time
        deadline = float(spec.params.get("deadline") or self.settings.deadline)
        until = clock() + deadline
        token = _due.set(until - _GRACE)
        failure: PictureError | None = None
        try:
            async with asyncio.timeout_at(until):
                for number in range(MAX_TRIES):
                    try:
                        return await painter(spec.params)
                    except PictureError as error:
                        pause = _FIRST_PAUSE * 2**number
                        failure = error
                        if not error.retry or clock() + 2 * pause >= until or number + 1 == MAX_TRIES:
                            raise
                        await asyncio.sleep(pause)
        except TimeoutError:
            raise failure or PictureError(
                f"the picture ({spec.kind}) was not drawn within {deadline:g} s", retry=True
            ) from None
        finally:
            _due.reset(token)
        raise AssertionError  # pragma: no cover - the last try returns or raises

    async def close(self) -> None:
        """Close the browser, where one was started."""
        if self._browser is not None:
            await self._browser.close()

    # ------------------------------------------------------------ painters

    async def _page(self, params: Mapping[str, Any]) -> bytes:
        shot = self._shot(params)
        grafana = self.grafana
        return await (grafana.shoot(shot) if grafana is not None else self.browser.shoot(shot))

    def _shot(self, params: Mapping[str, Any]) -> Shot:
        from wxbridge.pictures.browser import Shot

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
        return Shot(url, deadline=time_left(self.settings.deadline), max_bytes=self.settings.max_size, **given)

    async def _fetch(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.pictures.fetch import fetch
        from wxbridge.pictures.hosts import AllowList

        given = _take(params, "fetch", "url", ("trusted",))
        if self._allow is None:
            self._allow = AllowList(self.settings.allow)
        fetched = await fetch(
            str(given["url"]),
            allow=self._allow,
            trusted=bool(given.get("trusted")),
            grafana=self.grafana,
            max_size=self.settings.max_size,
            deadline=time_left(self.settings.deadline),
        )
        return fetched.data

    async def _file(self, params: Mapping[str, Any]) -> bytes:
        from wxbridge.pictures.fetch import read_file

        given = _take(params, "file", "path", ())
        return (await read_file(str(given["path"]), max_size=self.settings.max_size)).data


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
)
_GRAFANA_KEYS = ("kiosk", "hide_controls", "only_grafana")


def _take(params: Mapping[str, Any], kind: str, needed: str, optional: tuple[str, ...]) -> dict[str, Any]:
    """The params of a painter, less those that are None.

    Raises:
        PictureError: one is missing or unknown.
    """
    given = {key: value for key, value in params.items() if value is not None}
    unknown = sorted(given.keys() - {needed, *optional})
    if unknown or needed not in given:
        what = f"does not know {', '.join(unknown)}" if unknown else f"needs `{needed}`"
        raise PictureError(f"a picture of kind {kind} {what}")
    return given
