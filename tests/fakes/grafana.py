"""Pages that behave like Grafana's (and some that misbehave), on a real socket."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from urllib.parse import quote

from aiohttp import web
from PIL import Image

TOKEN = "glsa_fake_service_account_token"
USER, PASSWORD = "wx", "sesame 芝麻"
PANELS = 20

DASHBOARD = """<!doctype html><meta charset="utf-8"><title>Kafka</title>
<style>
  * { box-sizing: border-box; } html, body { margin: 0; font: 16px sans-serif; background: %(background)s; }
  body.inner { height: 100vh; overflow: hidden; display: flex; flex-direction: column; }
  body.inner > main { flex: 1; overflow-y: auto; min-height: 0; }
  header { height: 40px; background: #334; color: #fff; padding: 8px; }
  .grid { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; padding: 8px; }
  section { height: 220px; border: 1px solid #889; padding: 8px; background: #fff; }
  .bar { height: 4px; background: orange; animation: slide 0.5s infinite; }
  @keyframes slide { from { margin-left: 0 } to { margin-left: 50%% } }
</style>
<body class="%(layout)s"><header>技术讨论群 · Kafka</header>
<main id="page-scrollbar"><div class="grid"></div></main>
<script>
  window.grafanaBootData = {};
  window.__grafanaRunningQueryCount = 0;
  const base = %(base)s, stuck = %(stuck)s;
  fetch(base + '/api/dashboards/uid/' + location.pathname.split('/d/')[1].split('/')[0]).then(async r => {
    if (!r.ok) { document.querySelector('.grid').textContent = 'Dashboard not found'; return; }
    window.__grafanaSceneContext = {};
    for (let n = 1; n <= %(panels)d; n++) {
      const panel = document.createElement('section');
      panel.dataset.testid = 'data-testid Panel header 面板 ' + n;
      panel.innerHTML = '<h2>面板 ' + n + '</h2><div class="body"></div>';
      document.querySelector('.grid').append(panel);
      new IntersectionObserver(async (seen, observer) => {
        if (!seen.some(e => e.isIntersecting)) return;
        observer.disconnect();
        const body = panel.querySelector('.body');
        body.innerHTML = '<div class="bar" aria-label="Panel loading bar"></div>';
        window.__grafanaRunningQueryCount++;
        const slow = n === stuck ? '&stuck=1' : '';
        const answer = await (await fetch(base + '/api/ds/query?n=' + n + slow, {method: 'POST'})).json();
        window.__grafanaRunningQueryCount--;
        const canvas = document.createElement('canvas');
        canvas.width = 400; canvas.height = 120; body.replaceChildren(canvas);
        const pen = canvas.getContext('2d');
        pen.fillStyle = answer.colour; pen.fillRect(0, 0, 400, 120);
      }).observe(panel);
    }
  });
</script>"""

LOGIN = """<!doctype html><form method="post" action="login"><h1>Welcome to Grafana</h1>
<input name="user"><input name="password" type="password"><button>Log in</button></form>"""


def png(width=400, height=300, colour="#3366cc") -> bytes:
    image = Image.new("RGB", (width, height), colour)
    image.paste("#ffffff", (width // 4, height // 4, width // 2, height // 2))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


PLACEHOLDER = png(1000, 500, "#cc3333")


class FakeGrafana:
    """`url` is where it is; `queries`, `logins` and `seen` are what it was asked."""

    def __init__(self, sub_path: str = "", tls=None) -> None:
        self.sub_path = sub_path
        self.tls = tls
        self.sessions: set[str] = set()
        self.logins = 0
        self.queries: list[int] = []
        self.seen: list[tuple[str, str | None]] = []
        self.release = asyncio.Event()
        self.arrived = asyncio.Event()
        self.elsewhere = ""
        self.failures = 0
        self.renderer = True
        self.told: dict[str, str] = {}
        self.refuse_sessions = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(middlewares=[self._remember])
        app.add_routes(
            [
                web.post("/login", self._login),
                web.get("/login", self._page(LOGIN)),
                web.get("/d/{uid}/{name}", self._dashboard),
                web.get("/api/dashboards/uid/{uid}", self._find),
                web.post("/api/ds/query", self._query),
                web.get("/render/d-solo/{uid}", self._render),
                web.get("/public/img/{name}", self._placeholder),
                web.get("/away", self._away),
                web.get("/here", self._here),
                web.get("/pages/{name}", self._plain),
                web.get("/slow", self._slow),
                web.get("/poll", self._poll),
                web.get("/status/{code}", self._status),
                web.get("/flaky", self._flaky),
            ]
        )
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
        assert self._runner
        await self._runner.cleanup()

    def credentials(self, prefix: str = "") -> list[str | None]:
        return [credentials for path, credentials in self.seen if path.startswith(prefix)]

    @web.middleware
    async def _remember(self, request, handler):
        credentials = request.headers.get("Authorization") or request.headers.get("Cookie")
        self.seen.append((request.path, credentials))
        return await handler(request)

    async def _outside(self, request):
        self.seen.append((request.path, request.headers.get("Authorization") or request.headers.get("Cookie")))
        return web.Response(text="<h1>another application</h1>", content_type="text/html")

    def _known(self, request) -> bool:
        if request.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        return not self.refuse_sessions and request.cookies.get("grafana_session") in self.sessions

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

    def _page(self, text):
        async def answer(request):
            return web.Response(text=text, content_type="text/html", charset="utf-8")

        return answer

    async def _dashboard(self, request):
        if not self._known(request):
            raise web.HTTPFound(f"{self.sub_path}/login?redirectTo={quote(request.path)}")
        layout = "document" if request.match_info["name"] == "document" else "inner"
        values = {
            "layout": layout,
            "base": json.dumps(self.sub_path),
            "stuck": request.query.get("stuck", "0"),
            "panels": int(request.query.get("panels", PANELS)),
            "background": "#111" if request.query.get("theme") == "dark" else "#eee",
        }
        return web.Response(text=DASHBOARD % values, content_type="text/html", charset="utf-8")

    async def _find(self, request):
        if not self._known(request):
            return web.json_response({"message": "Unauthorized"}, status=401)
        if request.match_info["uid"] == "gone":
            return web.json_response({"message": "Dashboard not found"}, status=404)
        return web.json_response({"dashboard": {}})

    async def _query(self, request):
        number = int(request.query["n"])
        self.arrived.set()
        if "stuck" in request.query:
            await self.release.wait()
        await asyncio.sleep(0.1 + number % 5 / 10)
        self.queries.append(number)
        return web.json_response({"colour": f"hsl({number * 18} 80% 50%)"})

    async def _render(self, request):
        if not self._known(request):
            return web.json_response({"message": "Unauthorized"}, status=401)
        size = int(request.query["width"]), int(request.query["height"])
        return web.Response(body=png(*size) if self.renderer else PLACEHOLDER, content_type="image/png")

    async def _placeholder(self, request):
        if request.match_info["name"] != "rendering_plugin_not_installed.png":
            raise web.HTTPNotFound
        return web.Response(body=PLACEHOLDER, content_type="image/png")

    async def _away(self, request):
        raise web.HTTPFound(self.elsewhere)

    async def _here(self, request):
        raise web.HTTPFound(f"{self.sub_path}/pages/plain")

    async def _plain(self, request):
        return web.Response(text=PAGES[request.match_info["name"]], content_type="text/html", charset="utf-8")

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
        if self.failures < 3:
            return web.Response(status=502)
        return web.Response(text=PAGES["plain"], content_type="text/html", charset="utf-8")


PAGES = {
    "plain": "<h1>hello 技术讨论群</h1>",
    "blank": "<!doctype html><title>nothing</title><body></body>",
    "late": """<body><script>setTimeout(() => { document.body.innerHTML = '<h1>here at last</h1>' }, 900)</script>""",
    "hanging": "<h1>hello</h1><script>fetch('../slow')</script>",
    "poller": "<h1>live</h1><script>(async () => { for (;;) await fetch('../poll?' + Math.random()) })()</script>",
    "fade": """<style>@keyframes in { from { opacity: 0 } to { opacity: 1 } }
      h1 { opacity: 0; animation: in 30s 30s forwards; font-size: 80px }</style><h1>faded in</h1>""",
    "parts": """<style>#box { width: 300px; height: 200px; background: teal; color: white; margin: 50px }</style>
      <h1>around</h1><div id="box">the box</div>""",
    "endless": "<h1>tall</h1><div style='height:60000px;background:linear-gradient(red,blue)'>x</div>",
    "vh": "<body style='margin:0'><div style='height:150vh;background:linear-gradient(red,blue)'>x</div>",
    "table": """<body style="margin:0"><h1>a table in a panel</h1>
      <div id="t" style="height:700px;overflow:auto;border:2px solid"></div>
      <script>for (let i = 0; i < 500; i++) t.insertAdjacentHTML('beforeend', '<p>row ' + i + '</p>')</script>""",
    "lazy": """<body style="margin:0"><h1>pictures</h1><div style="height:3000px"></div>
      <img loading="lazy" src="/picture.png" width=400 height=300>""",
    "told": """<h1 id=a></h1><h1 id=b></h1><h1 id=c></h1><script>
      a.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone; b.textContent = navigator.language;
      c.textContent = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
      fetch('../poll?zone=' + a.textContent + '&lang=' + b.textContent + '&scheme=' + c.textContent)</script>""",
    "busyloop": "<h1>hello</h1><script>setTimeout(() => { for (;;); }, 200)</script>",
}
