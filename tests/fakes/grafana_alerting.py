"""The alerting of a Grafana: the Alertmanager within it, or the legacy rules of one before that. As measured."""

from __future__ import annotations

import uuid
from typing import Any, Protocol

from aiohttp import web

LEGACY_RULES: list[dict[str, Any]] = [
    {
        "id": 5, "dashboardId": 5, "dashboardUid": "al", "dashboardSlug": "al", "panelId": 5, "name": "磁盘快满了",
        "state": "alerting", "newStateDate": "2026-11-29T13:02:06Z", "evalDate": "0001-01-01T00:00:00Z",
        "evalData": {"evalMatches": [{"metric": "web-2", "tags": {"host": "web-2", "mount": "/data"}, "value": 95}]},
        "executionError": "", "url": "/d/al/gao-jing",
    },
    {
        "id": 4, "dashboardId": 5, "dashboardUid": "al", "dashboardSlug": "al", "panelId": 4, "name": "数据源坏了",
        "state": "alerting", "newStateDate": "2026-11-29T13:04:46Z", "evalDate": "0001-01-01T00:00:00Z",
        "evalData": {"error": "connection refused"}, "executionError": "connection refused", "url": "/d/al/gao-jing",
    },
    {
        "id": 10, "dashboardId": 5, "dashboardUid": "al", "dashboardSlug": "al", "panelId": 10, "name": "没有值",
        "state": "alerting", "newStateDate": "2026-11-29T13:03:08Z", "evalDate": "0001-01-01T00:00:00Z",
        "evalData": {"noData": True}, "executionError": "", "url": "/d/al/gao-jing",
    },
]  # fmt: skip
"""What `/api/alerts` of a 7.5 lists: one that fires, one that cannot be evaluated, one without data."""


class EntersApi(Protocol):
    async def _enter(self, request: web.Request) -> str: ...


class FakeAlerting:
    """What of a Grafana is about alerts. `kind` is `unified`, `legacy`, or empty where it has none."""

    def __init__(self, grafana: EntersApi) -> None:
        self._grafana = grafana
        self.kind = ""
        self.alerts: list[dict[str, Any]] = []
        """As the Alertmanager within lists them."""
        self.silences: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[web.RouteDef]:
        root = "/api/alertmanager/grafana/api/v2"
        return [
            web.get("/api/alerts", self._legacy),
            web.get(root + "/alerts", self._alerts),
            web.get(root + "/silences", self._silences),
            web.post(root + "/silences", self._silence),
            web.get(root + "/silence/{id}", self._one),
            web.delete(root + "/silence/{id}", self._expire),
        ]

    async def _enter(self, request: web.Request, kind: str, *, changes: bool = False) -> None:
        role = await self._grafana._enter(request)
        if self.kind != kind:
            raise web.HTTPNotFound(text='{"message":"Not found"}', content_type="application/json")
        if changes and role == "Viewer":
            raise web.HTTPForbidden(text='{"message":"Access denied"}', content_type="application/json")

    async def _legacy(self, request: web.Request) -> web.Response:
        await self._enter(request, "legacy")
        assert request.query.getall("state") == ["alerting", "no_data"]
        return web.json_response(LEGACY_RULES)

    async def _alerts(self, request: web.Request) -> web.Response:
        await self._enter(request, "unified")
        return web.json_response(self.alerts)

    async def _silences(self, request: web.Request) -> web.Response:
        await self._enter(request, "unified")
        return web.json_response(list(self.silences.values()))

    async def _silence(self, request: web.Request) -> web.Response:
        await self._enter(request, "unified", changes=True)
        made = str(uuid.uuid4())
        self.silences[made] = {**await request.json(), "id": made, "status": {"state": "active"}}
        return web.json_response({"silenceID": made}, status=202)

    async def _one(self, request: web.Request) -> web.Response:
        await self._enter(request, "unified")
        return web.json_response(self.silences[request.match_info["id"]])

    async def _expire(self, request: web.Request) -> web.Response:
        await self._enter(request, "unified", changes=True)
        self.silences[request.match_info["id"]]["status"]["state"] = "expired"
        return web.json_response({"message": "silence deleted"})
