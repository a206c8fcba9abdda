"""A page server that behaves like Grafana: a login form, panels that load when they come into view, inner scroller.

Each panel draws itself in a colour of its own, so that a picture tells how many panels it shows.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import time
from types import TracebackType
from typing import Self
from urllib.parse import quote

from aiohttp import web
from PIL import Image

USER, PASSWORD = "wx", "sesame"
PANELS = 8
COLOURS = ((220, 40, 40), (40, 180, 40), (40, 60, 220), (220, 180, 20),
           (180, 40, 200), (20, 180, 190), (240, 120, 20), (110, 80, 40))  # fmt: skip
CHART = (600, 200)
"""Size of a panel's drawing in pixels; one that is cut off by the picture's edge does not count."""
DASHBOARD_PATH = "/d/kafka/overview"

_LOGIN = """<!doctype html><meta charset="utf-8"><title>Grafana</title><h1>Welcome to Grafana</h1>
<form><input name="user"><input name="password" type="password"><button type="submit">Log in</button></form>
<script>
  document.forms[0].onsubmit = async event => {
    event.preventDefault();
    const body = JSON.stringify(Object.fromEntries(new FormData(event.target)));
    const answer = await fetch('/login', {method: 'POST', headers: {'Content-Type': 'application/json'}, body});
    if (answer.ok) location = new URLSearchParams(location.search).get('redirectTo') || '/';
  };
</script>"""

_DASHBOARD = """<!doctype html><meta charset="utf-8"><title>Kafka</title>
<style>
  * { box-sizing: border-box; } html, body { margin: 0; font: 16px sans-serif; background: #f4f5f5; }
  body { height: 100vh; overflow: hidden; display: flex; flex-direction: column; }
  main { flex: 1; overflow-y: auto; min-height: 0; }
  header { height: 40px; background: #111217; color: #fff; padding: 8px; }
  .grid { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; padding: 8px; }
  section { height: 304px; border: 1px solid #889; padding: 8px; background: #fff; }
  h2 { font-size: 16px; margin: 0 0 8px; } canvas { display: block; }
  .bar { height: 4px; background: orange; animation: slide 0.5s infinite; }
  @keyframes slide { from { margin-left: 0 } to { margin-left: 50% } }
</style>
<header>Kafka</header><main id="page-scrollbar"><div class="grid"></div></main>
<script>
  window.grafanaBootData = {settings: {buildInfo: {version: '12.4.0'}}};
  window.__grafanaRunningQueryCount = 0;
  window.__grafanaSceneContext = {};
  for (let n = 0; n < PANELS; n++) {
    const panel = document.createElement('section');
    panel.dataset.testid = 'data-testid Panel header panel ' + n;
    panel.innerHTML = '<h2>panel ' + n + '</h2><div class="body"></div>';
    document.querySelector('.grid').append(panel);
    new IntersectionObserver(async (seen, observer) => {
      if (!seen.some(entry => entry.isIntersecting)) return;
      observer.disconnect();
      const body = panel.querySelector('.body');
      body.innerHTML = '<div class="bar" aria-label="Panel loading bar"></div>';
      window.__grafanaRunningQueryCount++;
      const colour = (await (await fetch('/api/ds/query?n=' + n, {method: 'POST'})).json()).colour;
      window.__grafanaRunningQueryCount--;
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = CHART; body.replaceChildren(canvas);
      const pen = canvas.getContext('2d');
      pen.fillStyle = `rgb(${colour})`; pen.fillRect(0, 0, canvas.width, canvas.height);
    }).observe(panel);
  }
</script>""".replace("PANELS", str(PANELS)).replace("CHART", str(list(CHART)))


class GrafanaPage:
    """Runs in an `async with` block; `url` is where it is."""

    def __init__(self) -> None:
        self._sessions: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.logins = 0
        self.answered = 0.0
        """When it gave its last answer, on the clock `time.perf_counter`."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.get("/login", self._form),
                web.post("/login", self._log_in),
                web.get(DASHBOARD_PATH, self._dashboard),
                web.post("/api/ds/query", self._query),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _form(self, _: web.Request) -> web.Response:
        return web.Response(text=_LOGIN, content_type="text/html")

    async def _log_in(self, request: web.Request) -> web.Response:
        given = await request.json()
        if (given.get("user"), given.get("password")) != (USER, PASSWORD):
            return web.json_response({"message": "Invalid username or password"}, status=401)
        self.logins += 1
        session = secrets.token_hex(16)
        self._sessions.add(session)
        response = web.json_response({"message": "Logged in"})
        response.set_cookie("grafana_session", session, httponly=True)
        return response

    def _known(self, request: web.Request) -> bool:
        return request.cookies.get("grafana_session") in self._sessions

    async def _dashboard(self, request: web.Request) -> web.Response:
        if not self._known(request):
            raise web.HTTPFound(f"/login?redirectTo={quote(request.path_qs, safe='')}")
        return web.Response(text=_DASHBOARD, content_type="text/html")

    async def _query(self, request: web.Request) -> web.Response:
        if not self._known(request):
            return web.json_response({"message": "Unauthorized"}, status=401)
        number = int(request.query["n"])
        await asyncio.sleep(0.1 + number % 4 / 10)
        self.answered = time.perf_counter()
        return web.json_response({"colour": ",".join(map(str, COLOURS[number]))})


def panels_in(png: bytes) -> int:
    """How many panels a picture shows, drawn and whole."""
    with Image.open(io.BytesIO(png)) as image:
        counts = image.convert("RGB").getcolors(2**24) or []
    whole = CHART[0] * CHART[1] * 0.97
    return sum(
        sum(count for count, seen in counts if _alike(seen, colour)) >= whole  # type: ignore[arg-type]
        for colour in COLOURS
    )


def _alike(seen: tuple[int, int, int], colour: tuple[int, int, int]) -> bool:
    return all(abs(one - other) <= 3 for one, other in zip(seen, colour, strict=True))
