"""A Grafana on a real socket: its login, pages, API and renderer, and some pages that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import secrets
import zlib
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from aiohttp import web
from multidict import MultiMapping
from PIL import Image, ImageDraw

from tests.fakes.grafana_alerting import FakeAlerting
from tests.fakes.grafana_boards import board_page, model_of
from tests.fakes.grafana_models import KAFKA, MANY, NEW, OLD, hit
from tests.fakes.grafana_pages import (
    ARTICLE,
    HOME,
    LOGIN,
    PAGES,
    PANELS,
    PANELS_DASHBOARD,
    ROWS,
    ROWS_DASHBOARD,
    SOLO_PANEL,
)

TOKEN, EDITOR_TOKEN = "glsa_fake_service_account_token", "glsa_editor"
USER, PASSWORD = "wx", "sesame 芝麻"
MAX_ORG = 3
"""The last organisation that the account of the sessions is in. Tokens are of the first."""
WHO_ASKS = ("/api/user", "/api/org")
API = ("/api/", "/apis/", "/render/")


def png(width: int = 400, height: int = 300, colour: str = "#3366cc") -> bytes:
    """A picture that is neither blank nor one of no data: the same bytes for the same arguments."""
    image = Image.new("RGB", (width, height), colour)
    image.paste(Image.linear_gradient("L").resize((width // 4, height // 4)), (width // 4, height // 4))
    return _bytes_of(image)


def panel_png(title: str, width: int = 1080, height: int = 640) -> bytes:
    """What the renderer makes of a panel with a title."""
    return png(width, height, "#" + hashlib.sha256(title.encode()).hexdigest()[:6])


def no_data_png(width: int = 1080, height: int = 640) -> bytes:
    image = Image.new("RGB", (width, height), "#ffffff")
    pen = ImageDraw.Draw(image)
    pen.text((24, 20), "Load", fill="#202020", font_size=28)
    pen.text((width // 2, height // 2 + 20), "No data", fill="#606060", font_size=28, anchor="mm")
    return _bytes_of(image)


def _bytes_of(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


PLACEHOLDER = png(1000, 500, "#cc3333")


@dataclass(frozen=True)
class SeenRequest:
    path: str
    query: dict[str, str]
    credentials: str | None
    """The header Authorization, else the cookies."""
    org: str = ""
    """The header X-Grafana-Org-Id."""


@dataclass(frozen=True)
class DrawnPanel:
    title: str
    """What the panel was called at that moment; empty where its dashboard has no model."""
    query: MultiMapping[str]


class FakeGrafana:
    """One Grafana. Tests read what it was asked, and change how it answers.

    Args:
        sub_path: The path of its host that it lives below: `/grafana`.
        tls: Its certificate.
        anonymous: Whether everybody is let in.
        version: Which Grafana's page `/d/board/…` and `/d-solo/board/…` are: 6, 7.5, 9 or 12.
    """

    def __init__(self, sub_path: str = "", tls: Any = None, *, anonymous: bool = False, version: str = "12") -> None:
        self.sub_path = sub_path
        self.tls, self.alerting = tls, FakeAlerting(self)
        self.url = self.root = ""
        self.port = 0
        # Who may enter.
        self.anonymous = anonymous
        self.roles = {TOKEN: "Viewer", EDITOR_TOKEN: "Editor"}
        self.sessions: set[str] = set()
        self.refuse_sessions, self.account_org = False, "1"
        """The organisation is that of the sessions' account; `orgId` in an address changes it for good."""
        # What it was asked.
        self.seen: list[SeenRequest] = []
        self.logins = self.failures = 0
        self.rule_queries: list[dict[str, Any]] = []
        self.queries: list[dict[str, str]] = []
        """What the panels of pages asked for."""
        self.clicks: list[str] = []
        """The rows that were clicked."""
        self.told: dict[str, str] = {}
        self.drawn: list[DrawnPanel] = []
        # What is there.
        self.version = version
        self.board: list[dict[str, Any]] = []
        """What is on the dashboard `board`: see `grafana_boards`."""
        self.variables_seconds = self.silent_seconds = 0.0
        """How long its variables load; before that, nothing is seen for `silent_seconds`."""
        self.cuts = 0
        """How many of the queries of its panels of kind `cut` are still broken off."""
        self.rows = ROWS
        self.models: dict[str, dict[str, Any]] = {
            "kfk": KAFKA, "old": OLD, "tabs": NEW, "many": MANY, "kafka": {}, "hosts": {},
        }  # fmt: skip
        self.hits = [
            hit("kfk", "Kafka 集群", "Infra", "kafka"),
            hit("old", "Old rows", "", "old-rows"),
            hit("tabs", "Tabs of tomorrow", "", "tabs-of-tomorrow"),
            hit("many", "Many", "", "many"),
            hit("n1", "Node exporter", "Infra", "node-exporter"),
            hit("n2", "Node exporter", "Lab", "node-exporter"),
            {**hit("f1", "Kafka 集群", "", "kafka"), "type": "dash-folder"},
        ]
        self.rules: dict[str, Any] = {}
        """Alerting rules by their uid, as the provisioning API tells them; those of legacy alerting by their number."""
        self.results: dict[str, Any] = {}
        """What queries of rules are answered, by what they are called."""
        self.numbers = {12: "kafka", 13: "kafka"}
        """Dashboards that old alerts know by number only."""
        # How it answers.
        self.broken = 0
        """The status of every answer of the API, where set; likewise `body`."""
        self.body: bytes | None = None
        self.hang = False
        self.version = 12
        """Before 10 rules are told to administrators one by one, to others all at once; 7 has legacy alerting alone."""
        self.search_answer: Any = None
        """What its search finds, where set; a number is a status."""
        self.how = "draws"
        """How it renders: draws, placeholder, no data, blank, slow, form, login page, or an HTTP status."""
        self.fail_for = ""
        """The host whose dashboard is refused."""
        self.elsewhere = ""
        """Where /away leads."""
        # When it answers.
        self.arrived, self.release = asyncio.Event(), asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application(middlewares=[self._remember])
        app.add_routes([
            web.post("/login", self._login),
            web.get("/login", self._login_page),
            web.get("/d/{uid}/{name}", self._dashboard),
            web.get("/d-solo/{uid}/{slug}", self._solo_panel),
            *self.alerting.routes(),
            web.get("/api/health", self._health),
            web.get("/api/user", self._user),
            web.get("/api/org", self._org),
            web.get("/explore", self._home),
            web.get("/api/search", self._search),
            web.get("/api/dashboards/uid/{uid}", self._model),
            web.get("/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/{uid}", self._newer_model),
            web.get("/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/{uid}/dto", self._newer_model),
            web.get("/api/v1/provisioning/alert-rules/{uid}", self._rule),
            web.get("/api/ruler/grafana/api/v1/rules", self._all_rules),
            web.get("/api/alerts/{number}", self._legacy_rule),
            web.post("/api/ds/query", self._query),
            web.post("/api/tsdb/query", self._old_query),
            web.get("/render/d-solo/{uid}", self._render),
            web.get("/render/d-solo/{uid}/{slug}", self._render),
            web.get("/public/img/{name}", self._placeholder),
            web.post("/clicked", self._clicked),
            web.get("/article", self._article),
            web.get("/away", self._away),
            web.get("/here", self._here),
            web.get("/pages/{name}", self._plain),
            web.get("/slow", self._slow),
            web.get("/poll", self._poll),
            web.get("/status/{code}", self._status),
            web.get("/flaky", self._flaky),
        ])  # fmt: skip
        if self.sub_path:
            outer = web.Application()
            outer.add_subapp(self.sub_path, app)
            outer.router.add_get("/{rest:.*}", self._outside)
            app = outer
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]
        self.root = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"
        self.url = self.root + self.sub_path

    async def stop(self) -> None:
        self.release.set()
        if self._runner is not None:
            await self._runner.cleanup()

    # ------------------------------------------------------------ what tests ask

    def credentials(self, prefix: str = "") -> list[str | None]:
        return [each.credentials for each in self.seen if each.path.startswith(prefix)]

    def asked(self, *prefixes: str) -> list[dict[str, str]]:
        """The queries of the requests below a path."""
        return [each.query for each in self.seen if each.path.startswith(prefixes)]

    @property
    def api_paths(self) -> list[str]:
        """What its API and its renderer were asked for, besides who is asking."""
        return [
            each.path for each in self.seen if each.path.startswith(API) and each.path not in ("/api/user", "/api/org")
        ]

    @property
    def orgs(self) -> set[str]:
        """The organisations that requests were for, besides the question who is asking."""
        return {each.org for each in self.seen if not each.path.endswith((*WHO_ASKS, "/login"))}

    # ------------------------------------------------------------ who may enter

    @web.middleware
    async def _remember(self, request, handler):
        self._note(request)
        try:
            return await handler(request)
        except _Answered as answered:
            return answered.response

    def _note(self, request) -> None:
        credentials = request.headers.get("Authorization") or request.headers.get("Cookie")
        org = request.headers.get("X-Grafana-Org-Id", "")
        self.seen.append(SeenRequest(request.path, dict(request.query), credentials, org))
        if "orgId" in request.query and request.cookies.get("grafana_session") in self.sessions:
            self.account_org = request.query["orgId"]

    async def _outside(self, request):
        self._note(request)
        return web.Response(text="<h1>another application</h1>", content_type="text/html")

    def _account(self, request) -> str | None:
        """The role of an account; None for anybody else."""
        role = self.roles.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if role is None and not self.refuse_sessions and request.cookies.get("grafana_session") in self.sessions:
            role = "Viewer"
        return role

    def _role(self, request) -> str | None:
        return self._account(request) or ("Viewer" if self.anonymous else None)

    async def _enter(self, request) -> str:
        """The role of who asks the API, where it answers at all."""
        if self.hang:
            await self.release.wait()
        if self.body is not None:
            raise _Answered(web.Response(body=self.body, content_type="application/json"))
        if self.broken:
            raise _Answered(web.json_response({"message": "no"}, status=self.broken))
        role = self._role(request)
        if role is None:
            raise _Answered(web.json_response({"message": "Unauthorized"}, status=401))
        return role

    async def _login(self, request):
        self.logins += 1
        given = await request.json()
        if (given.get("user"), given.get("password")) != (USER, PASSWORD):
            return web.json_response({"message": "Invalid username or password"}, status=401)
        session = secrets.token_hex(8)
        self.sessions.add(session)
        response = web.json_response({"message": "Logged in"})
        response.set_cookie("grafana_session", session, path=self.sub_path or "/", httponly=True)
        return response

    async def _login_page(self, request):
        return _page(LOGIN)

    # ------------------------------------------------------------ pages

    async def _dashboard(self, request):
        if self._role(request) is None:
            raise web.HTTPFound(f"{self.sub_path}/login?redirectTo={quote(request.path)}")
        if self.fail_for and request.query.get("var-host") == self.fail_for:
            return web.Response(status=403)
        if request.match_info["uid"] == "board":
            return self._board()
        name = request.match_info["name"]
        if name not in ("inner", "document"):
            shape, is_chinese = json.dumps(name), json.dumps("zh" in request.query.get("lang", ""))
            return _page(ROWS_DASHBOARD % {"shape": shape, "rows": json.dumps(self.rows), "zh": is_chinese})
        values = {
            "layout": name,
            "base": json.dumps(self.sub_path),
            "stuck": request.query.get("stuck", "0"),
            "panels": int(request.query.get("panels", PANELS)),
            "background": "#111" if request.query.get("theme") == "dark" else "#eee",
        }
        return _page(PANELS_DASHBOARD % values)

    async def _solo_panel(self, request):
        if self._role(request) is None:
            raise web.HTTPFound(f"{self.sub_path}/login")
        return self._board() if request.match_info["uid"] == "board" else _page(SOLO_PANEL)

    def _board(self) -> web.Response:
        return _page(
            board_page(
                self.version, self.board, silent_seconds=self.silent_seconds, variables_seconds=self.variables_seconds
            )
        )

    async def _home(self, request):
        return _page(HOME)

    async def _query(self, request):
        if "panel" not in request.query:
            return await self._query_of_rule(request)
        asked = dict(request.query)
        self.arrived.set()
        if "stuck" in asked:
            await self.release.wait()
        match asked.get("kind"):
            case "error":
                return web.json_response({"message": "parse error: unexpected end of input"}, status=400)
            case "cut" if self.cuts:
                self.cuts -= 1
                request.transport.abort()
                return web.Response()
        seed = zlib.crc32(json.dumps(asked, sort_keys=True).encode())
        hue = zlib.crc32(asked["panel"].encode()) % 360
        if asked["panel"].isdigit():
            await asyncio.sleep(0.1 + int(asked["panel"]) % 5 / 10)
            hue = int(asked["panel"]) * 18
        self.queries.append(asked)
        points, value = [], 0.5
        for _ in range(120):
            seed = (seed * 1103515245 + 12345) % 2**31
            value = min(0.95, max(0.05, value + (seed / 2**31 - 0.5) / 6))
            points.append(value)
        return web.json_response({"colour": f"hsl({hue} 75% 55%)", "points": points})

    async def _clicked(self, request):
        self.clicks.append(request.query["row"])
        return web.Response()

    async def _article(self, request):
        words = "A long page that is no dashboard, and is cut where nothing is written. 没有字的地方才可以剪开。"
        paragraphs = "".join(f"<p>{number}. {words * 3}</p>" for number in range(1, 31))
        return _page(ARTICLE % {"paragraphs": paragraphs, "height": 6000})

    # ------------------------------------------------------------ API

    async def _health(self, request):
        return web.json_response({"commit": "x", "database": "ok", "version": "12.4.0"})

    async def _user(self, request):
        """Who is asking; of the anonymous viewer it knows nothing, also where he may see everything else."""
        if self._account(request) is None:
            return web.json_response({"message": "Unauthorized"}, status=401)
        return web.json_response({"login": USER, "orgId": int(self.account_org)})

    async def _org(self, request):
        """In which organisation who asks is: a token in its own, whatever the header says."""
        await self._enter(request)
        wanted = request.headers.get("X-Grafana-Org-Id", "")
        if request.cookies.get("grafana_session") not in self.sessions:
            wanted = "1"
        elif int(wanted or 1) > MAX_ORG:
            return web.json_response({"message": "Organization not found"}, status=404)
        return web.json_response({"id": int(wanted or self.account_org), "name": "Main Org."})

    async def _search(self, request):
        await self._enter(request)
        if isinstance(self.search_answer, int):
            return web.Response(status=self.search_answer)
        if self.search_answer is not None:
            return web.json_response(self.search_answer)
        query = request.query
        if "dashboardIds" in query:
            number = int(query["dashboardIds"])
            found = [{"id": number, "uid": self.numbers[number]}] if number in self.numbers else []
            return web.json_response(found)
        wanted = query.get("query", "").casefold()
        # As words: a part of a word is not found, and Chinese is one word.
        found = [
            each for each in self.hits
            if each["type"] == query.get("type", each["type"])
            and (not wanted or set(wanted.split()) <= set(each["title"].casefold().split()))
        ]  # fmt: skip
        limit, page = int(query.get("limit", 1000)), int(query.get("page", 1))
        return web.json_response(found[(page - 1) * limit : page * limit])

    def _found(self, uid: str) -> dict[str, Any]:
        if uid == "board":
            return model_of(self.board)
        found = next((model for name, model in self.models.items() if model.get("uid", name) == uid), None)
        if found is None:
            raise _Answered(web.json_response({"message": "Dashboard not found"}, status=404))
        return found

    async def _model(self, request):
        await self._enter(request)
        uid = request.match_info["uid"]
        model = self._found(uid)
        if model.get("elements"):
            path = f"/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/{uid}"
            return web.json_response(
                {"message": f"dashboard api version not supported, use {path} instead"}, status=406
            )
        slug = next((each["url"].rsplit("/", 1)[1] for each in self.hits if each["uid"] == uid), "x")
        return web.json_response({"meta": {"slug": slug, "url": f"/d/{uid}/{slug}"}, "dashboard": model})

    async def _newer_model(self, request):
        await self._enter(request)
        uid = request.match_info["uid"]
        return web.json_response({"kind": "Dashboard", "metadata": {"name": uid}, "spec": self._found(uid)})

    # ------------------------------------------------------------ rules

    async def _rule(self, request):
        await self._enter(request)
        if self.version < 10:
            return web.json_response({"message": "You'll need additional permissions"}, status=403)
        return self._found_rule(request.match_info["uid"])

    async def _all_rules(self, request):
        await self._enter(request)
        rules = [
            {"for": rule.get("for", "0s"), "grafana_alert": {"uid": uid, **rule}} for uid, rule in self.rules.items()
        ]
        return web.json_response({"Ops": [{"name": "g1", "interval": "10s", "rules": rules}]})

    async def _legacy_rule(self, request):
        await self._enter(request)
        return self._found_rule(request.match_info["number"])

    def _found_rule(self, name: str) -> web.Response:
        if name not in self.rules:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(self.rules[name])

    async def _query_of_rule(self, request):
        await self._enter(request)
        self.rule_queries.append(await request.json())
        return web.json_response({"results": self.results})

    async def _old_query(self, request):
        return await self._query_of_rule(request) if self.version < 9 else web.json_response({}, status=404)

    # ------------------------------------------------------------ renderer

    async def _render(self, request):
        await self._enter(request)
        scale = int(request.query.get("scale", 1))
        width, height = (int(request.query[side]) * scale for side in ("width", "height"))
        title = self._title_of(request.match_info["uid"], request.query.get("panelId", ""))
        self.drawn.append(DrawnPanel(title, request.query))
        match self.how:
            case "draws":
                body = panel_png(title, width, height) if title else png(width, height)
            case "placeholder":
                body = PLACEHOLDER
            case "no data":
                body = no_data_png(width, height)
            case "blank":
                body = _bytes_of(Image.new("RGB", (width, height), "white"))
            case "login page":
                raise web.HTTPFound(f"{self.sub_path}/login?redirectTo=x")
            case "form":
                return _page(LOGIN)
            case "slow":
                await self.release.wait()
                return web.Response(status=500)
            case status:
                return web.Response(status=int(status))
        return web.Response(body=body, content_type="image/png")

    def _title_of(self, uid: str, number: str) -> str:
        panels = self.models.get(uid, {}).get("panels", [])
        every = [*panels, *(inner for each in panels for inner in each.get("panels", []))]
        return next((each.get("title", "") for each in every if str(each["id"]) == number), "")

    async def _placeholder(self, request):
        if request.match_info["name"] != "rendering_plugin_not_installed.png":
            raise web.HTTPNotFound
        return web.Response(body=PLACEHOLDER, content_type="image/png")

    # ------------------------------------------------------------ pages that are none of Grafana's

    async def _away(self, request):
        raise web.HTTPFound(self.elsewhere)

    async def _here(self, request):
        raise web.HTTPFound(f"{self.sub_path}/pages/plain")

    async def _plain(self, request):
        return _page(PAGES[request.match_info["name"]])

    async def _slow(self, request):
        self.arrived.set()
        await self.release.wait()
        return web.Response(text="<h1>late</h1>", content_type="text/html")

    async def _poll(self, request):
        self.told = dict(request.query)
        await asyncio.sleep(0.03)  # as over a network; at once, the browser would have time for nothing else
        return web.json_response({})

    async def _status(self, request):
        return web.Response(status=int(request.match_info["code"]), text="<h1>an error</h1>", content_type="text/html")

    async def _flaky(self, request):
        self.failures += 1
        return _page(PAGES["plain"]) if self.failures > 2 else web.Response(status=502)


class _Answered(Exception):
    """An answer that ends a request from within."""

    def __init__(self, response: web.Response) -> None:
        self.response = response


def _page(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", charset="utf-8")
