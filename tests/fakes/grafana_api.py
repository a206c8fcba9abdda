"""A Grafana of which dashboards are asked (and panels drawn), on a real socket, with answers as Grafana gives them."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from aiohttp import web
from PIL import Image

TOKEN = "glsa_viewer"
USER, PASSWORD = "wx", "sesame"


def panel(number: int, title: str, y: int = 0, x: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": title, "type": "timeseries", "gridPos": {"x": x, "y": y, "w": 12, "h": 8}, **more}


def row(title: str, y: int, *panels: dict[str, Any], collapsed: bool = False) -> dict[str, Any]:
    return {"id": 900 + y, "type": "row", "title": title, "collapsed": collapsed, "panels": list(panels),
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}  # fmt: skip


def variable(name: str, current: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "query", "current": {"text": current, "value": current}, **more}


KAFKA = {
    "title": "Kafka 集群",
    "time": {"from": "now-3h", "to": "now"},
    "templating": {"list": [
        variable("host", "web-1", multi=True, includeAll=True),
        variable("topic", "orders", options=[{"text": "Orders", "value": "t_orders"}]),
    ]},
    "panels": [
        # In the order of the file, which is not that of the page.
        panel(7, "Disk usage", y=8),
        panel(12, "CPU usage of $host", y=0, x=0),
        panel(4, "Messages in", y=0, x=12),
        row("JVM", 20, panel(31, "Heap", y=22, x=12), panel(30, "GC pauses", y=22), collapsed=True),
        row("消费者", 40),
        panel(40, "消费延迟", y=41, repeat="topic"),
        {**panel(41, "消费延迟", y=41, x=12), "repeatPanelId": 40},
        {"id": 50, "gridPos": {"x": 0, "y": 60}, "libraryPanel": {"uid": "l", "name": "Lag"}},
    ],
}  # fmt: skip
OLD = {"title": "Old rows", "rows": [{"title": "first", "panels": [panel(2, "A"), panel(1, "B")]}]}
NEW = {
    "title": "Tabs of tomorrow",
    "timeSettings": {"from": "now-1h", "to": "now"},
    "variables": [{"kind": "QueryVariable", "spec": {"name": "zone", "current": {"text": "north"}, "multi": True}}],
    "elements": {
        "panel-1": {"kind": "Panel", "spec": {"id": 1, "title": "Left"}},
        "panel-2": {"kind": "Panel", "spec": {"id": 2, "title": "Right"}},
        "panel-3": {"kind": "LibraryPanel", "spec": {"id": 3, "libraryPanel": {"name": "Shared"}}},
    },
    "layout": {"kind": "TabsLayout", "spec": {"tabs": [
        {"kind": "TabsLayoutTab", "spec": {"title": "one", "layout": {"kind": "GridLayout", "spec": {"items": [
            {"kind": "GridLayoutItem", "spec": {"x": 12, "y": 0, "element": {"name": "panel-2"}}},
            {"kind": "GridLayoutItem", "spec": {"x": 0, "y": 0, "element": {"name": "panel-1"},
                                                "repeat": {"mode": "variable", "value": "zone"}}},
        ]}}}},
        {"kind": "TabsLayoutTab", "spec": {"title": "two", "layout": {"kind": "AutoGridLayout", "spec": {"items": [
            {"kind": "AutoGridLayoutItem", "spec": {"element": {"name": "panel-3"}}},
        ]}}}},
    ]}},
}  # fmt: skip
MANY = {"title": "Many", "panels": [panel(n, f"CPU {n}", y=n) for n in range(1, 8)]}


class GrafanaApi:
    """`url` is where it is; `asked` the paths it was asked for. `broken` is the status of every answer, where set."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {"kfk": KAFKA, "old": OLD, "tabs": NEW, "many": MANY}
        self.hits = [
            hit("kfk", "Kafka 集群", "Infra", "kafka"),
            hit("old", "Old rows", "", "old-rows"),
            hit("tabs", "Tabs of tomorrow", "", "tabs-of-tomorrow"),
            hit("many", "Many", "", "many"),
            hit("n1", "Node exporter", "Infra", "node-exporter"),
            hit("n2", "Node exporter", "Lab", "node-exporter"),
            {**hit("f1", "Kafka 集群", "", "kafka"), "type": "dash-folder"},
        ]
        self.asked: list[str] = []
        self.searched: list[dict[str, str]] = []
        self.broken = 0
        self.body: bytes | None = None
        self.session = ""
        self.logins = 0
        self.silent = asyncio.Event()
        self.hang = False
        self.drawn: list[dict[str, list[str]]] = []

    async def start(self) -> None:
        app = web.Application()
        app.add_routes([
            web.get("/api/search", self._search),
            web.get("/api/dashboards/uid/{uid}", self._dashboard),
            web.get("/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/{uid}", self._newer),
            web.get("/render/d-solo/{uid}/{slug}", self._render),
            web.post("/login", self._login),
        ])  # fmt: skip
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.silent.set()
        await self.runner.cleanup()

    async def _refusal(self, request: web.Request) -> web.Response | None:
        self.asked.append(request.path)
        if self.hang:
            await self.silent.wait()
        if self.body is not None:
            return web.Response(body=self.body, content_type="application/json")
        if self.broken:
            return web.json_response({"message": "no"}, status=self.broken)
        known = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        known = known or (bool(self.session) and request.cookies.get("grafana_session") == self.session)
        return None if known else web.json_response({"message": "Unauthorized"}, status=401)

    async def _search(self, request: web.Request) -> web.Response:
        if refusal := await self._refusal(request):
            return refusal
        query = dict(request.query)
        self.searched.append(query)
        wanted = query.get("query", "").casefold()
        # As words: a part of a word is not found, and Chinese is one word.
        found = [
            each for each in self.hits
            if each["type"] == query.get("type", each["type"])
            and (not wanted or set(wanted.split()) <= set(each["title"].casefold().split()))
        ]  # fmt: skip
        limit, page = int(query.get("limit", 1000)), int(query.get("page", 1))
        return web.json_response(found[(page - 1) * limit : page * limit])

    async def _dashboard(self, request: web.Request) -> web.Response:
        if refusal := await self._refusal(request):
            return refusal
        uid = request.match_info["uid"]
        if uid not in self.models:
            return web.json_response({"message": "Dashboard not found"}, status=404)
        if "elements" in self.models[uid]:
            path = f"/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/{uid}"
            return web.json_response(
                {"message": f"dashboard api version not supported, use {path} instead"}, status=406
            )
        slug = next((each["url"].rsplit("/", 1)[1] for each in self.hits if each["uid"] == uid), "x")
        return web.json_response({"meta": {"slug": slug, "url": f"/d/{uid}/{slug}"}, "dashboard": self.models[uid]})

    async def _newer(self, request: web.Request) -> web.Response:
        if refusal := await self._refusal(request):
            return refusal
        uid = request.match_info["uid"]
        return web.json_response({"kind": "Dashboard", "metadata": {"name": uid}, "spec": self.models[uid]})

    async def _render(self, request: web.Request) -> web.Response:
        if refusal := await self._refusal(request):
            return refusal
        self.drawn.append({name: request.query.getall(name) for name in request.query})
        scale = int(request.query["scale"])
        image = Image.effect_noise((int(request.query["width"]) * scale, int(request.query["height"]) * scale), 64)
        out = io.BytesIO()
        image.save(out, "PNG")
        return web.Response(body=out.getvalue(), content_type="image/png")

    async def _login(self, request: web.Request) -> web.Response:
        self.logins += 1
        given = await request.json()
        if (given["user"], given["password"]) != (USER, PASSWORD):
            return web.json_response({"message": "Invalid username or password"}, status=401)
        self.session = f"s{self.logins}"
        response = web.json_response({"message": "Logged in"})
        response.set_cookie("grafana_session", self.session)
        return response


def hit(uid: str, title: str, folder: str, slug: str) -> dict[str, Any]:
    return {"id": 1, "uid": uid, "title": title, "uri": f"db/{slug}", "url": f"/d/{uid}/{slug}", "slug": "",
            "type": "dash-db", "tags": [], "folderTitle": folder}  # fmt: skip
