"""Grafana's API as far as `bench.grafana` asks it."""

from __future__ import annotations

from aiohttp import ClientSession

from bench.grafana_dashboards import Json


class Api:
    """Asks one Grafana, with the credentials of the session that it is given."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self._session = session
        self._base = base.rstrip("/")

    async def ask(self, method: str, path: str, body: Json | None = None, *, missing: bool = False) -> Json:
        """Ask; `missing` permits a 404, which gives an empty answer, as one does that is no object.

        Raises:
            RuntimeError: it refused; the text says what.
        """
        headers = {"X-Disable-Provenance": "true"}  # what the API makes can then be changed by hand too
        async with self._session.request(method, self._base + path, json=body, headers=headers) as response:
            if response.status == 404 and missing:
                return {}
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {(await response.text())[:300]}")
            answer = await response.json(content_type=None)
            return answer if isinstance(answer, dict) else {}

    async def set_source(self, name: str, kind: str, url: str = "") -> None:
        """Make a data source, or set its address where it is there; its uid is its name."""
        body: Json = {"name": name, "uid": name, "type": kind, "access": "proxy", "url": url}
        there = await self.ask("GET", f"/api/datasources/name/{name}", missing=True)
        if there:
            await self.ask("PUT", f"/api/datasources/{there['id']}", body)
        else:
            await self.ask("POST", "/api/datasources", body)
