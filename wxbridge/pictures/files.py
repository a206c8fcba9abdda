"""Pictures that exist already: on the web, as far as it is allowed, and on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.config.types import PictureSettings
from wxbridge.core.deadline import seconds_left
from wxbridge.core.pictures import FETCH, FILE, checked_params
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.allowed_hosts import AllowList
from wxbridge.pictures.fetch import fetch, read_file


class FilePainter:
    """Gets the pictures of kind `fetch` and `file`; their params are told in `pictures.renderer`."""

    def __init__(self, settings: PictureSettings, grafana: Grafana | None) -> None:
        self._settings = settings
        self._grafana = grafana
        self._allowed = AllowList(settings.allow)

    async def fetch(self, params: Mapping[str, Any]) -> bytes:
        """Fetch a picture from the web. Raises `PictureError`."""
        given = checked_params(params, FETCH, "url", ("trusted",))
        fetched = await fetch(
            str(given["url"]),
            allow=self._allowed,
            trusted=bool(given.get("trusted")),
            grafana=self._grafana,
            max_bytes=self._settings.max_size,
            deadline=seconds_left(self._settings.deadline),
        )
        return fetched.data

    async def read(self, params: Mapping[str, Any]) -> bytes:
        """Read a picture of this machine. Raises `PictureError`."""
        given = checked_params(params, FILE, "path")
        return (await read_file(str(given["path"]), max_bytes=self._settings.max_size)).data
