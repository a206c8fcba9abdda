"""A dashboard with rows, in the shapes of the DOM that Grafana has had since 9, on a real socket.

The shapes are those of Grafana's source: `classic` (DashboardRow.tsx, DashboardGrid.tsx, until 10), `scenes`
(SceneGridRow.tsx and LazyLoader.tsx, 11), `rows` (RowItemRenderer.tsx, 12, with rows in rows) and `toggles`
(RowHeader.tsx, 13). As with React, a click changes the page a while later, and the elements stay the same ones.
"""

from __future__ import annotations

import json
import zlib

from aiohttp import web

ROWS = [
    {"title": "概览 Overview", "panels": ["CPU", "Memory", "Load"]},
    {"title": "磁盘 Disks", "collapsed": True, "panels": ["Disk 1", "Disk 2", "Disk 3", "Disk 4"]},
    {"title": "Kafka", "panels": ["Lag", "Messages in"]},
    {"title": "Network", "collapsed": True, "panels": ["Received", "Sent"]},
]
PANELS = [panel for row in ROWS for panel in row["panels"]]

PAGE = """<!doctype html><meta charset="utf-8"><title>Hosts</title>
<style>
  * { box-sizing: border-box; }
  html, body { margin: 0; font: 14px 'DejaVu Sans', sans-serif; background: #111217; color: #ccccdc; height: 100%%; }
  body { overflow: hidden; display: flex; flex-direction: column; }
  #page-scrollbar { flex: 1; overflow-y: auto; min-height: 0; padding: 16px; }
  h1 { font-size: 18px; margin: 0 0 12px; }
  .react-grid-layout { position: relative; }
  .react-grid-item { position: absolute; display: flex; }
  .panel-container, section { background: #181b1f; border: 1px solid #2c2f35; border-radius: 2px; flex: 1;
    display: flex; flex-direction: column; min-width: 0; }
  h2 { font-size: 14px; font-weight: 500; margin: 8px; }
  .css-1-panel-content { flex: 1; padding: 0 8px 8px; min-height: 0; }
  canvas { width: 100%%; height: 100%%; }
  button { background: none; border: none; color: inherit; font: 500 16px 'DejaVu Sans', sans-serif; padding: 4px 0; }
  .row-wrapper { margin-bottom: 8px; } .row-wrapper .row-wrapper { margin-left: 24px; }
  .auto-grid { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
  .auto-grid > * { height: 240px; display: flex; }
  .bar { height: 3px; background: #f55f3e; }
</style>
<body><div id="page-scrollbar"><h1></h1><div class="react-grid-layout"></div></div>
<script>
const shape = %(shape)s, rows = %(rows)s, zh = %(zh)s, slow = 120;
const query = new URLSearchParams(location.search);
const grid = document.querySelector('.react-grid-layout');
document.querySelector('h1').textContent = 'Hosts ' + (query.get('var-host') || '');
window.grafanaBootData = {};
if (shape !== 'classic') { window.__grafanaSceneContext = {}; window.__grafanaRunningQueryCount = 0; }
const count = by => { if (shape !== 'classic') window.__grafanaRunningQueryCount += by; };

// Until it has been in view, an element stays empty.
const lazy = (element, fill) => new IntersectionObserver((seen, observer) => {
  if (!seen.some(e => e.isIntersecting)) return;
  observer.disconnect();
  fill();
}).observe(element);

function panel(host, title) {
  host.innerHTML = shape === 'classic'
    ? `<div class="panel-container"><h2>${title}</h2><div class="css-1-panel-content"></div></div>`
    : `<div data-viz-panel-key="panel-${title}" style="display:flex;flex:1"><section
        data-testid="data-testid Panel header ${title}"><h2>${title}</h2>
        <div class="css-1-panel-content"><div class="bar" aria-label="Panel loading bar"></div></div></section></div>`;
  const body = host.querySelector('.css-1-panel-content');
  count(1);
  const asked = new URLSearchParams([...query].filter(([key]) => /^(from|to|var-.*)$/.test(key)));
  asked.set('panel', title);
  fetch('/api/ds/query?' + asked, {method: 'POST'}).then(r => r.json()).then(answer => {
    count(-1);
    const canvas = document.createElement('canvas');
    body.replaceChildren(canvas);
    const width = canvas.width = body.clientWidth, height = canvas.height = body.clientHeight;
    const pen = canvas.getContext('2d');
    pen.strokeStyle = '#2c2f35';
    for (let y = 0.5; y < height; y += height / 5) { pen.moveTo(0, y); pen.lineTo(width, y); }
    pen.stroke(); pen.beginPath(); pen.strokeStyle = answer.colour; pen.lineWidth = 2;
    answer.points.forEach((v, i) => pen.lineTo(i * width / (answer.points.length - 1), height * (1 - v)));
    pen.stroke();
  });
}

function heading(row) {
  const button = document.createElement('button');
  row.icon = document.createElement('i');
  const name = Object.assign(document.createElement('span'), {textContent: ' ' + row.title});
  button.append(row.icon, name);
  if (shape === 'toggles') {
    button.dataset.testid = 'data-testid dashboard-row-toggle-for-' + row.title;
    name.dataset.testid = 'data-testid dashboard-row-title-' + row.title;
  } else button.dataset.testid = 'data-testid dashboard-row-title-' + row.title;
  button.onclick = () => {
    fetch('/clicked?row=' + encodeURIComponent(row.title), {method: 'POST'});
    setTimeout(() => { row.collapsed = !row.collapsed; render(); }, slow);
  };
  row.button = button;
  return button;
}

function tell(row) {
  if (!row.button) return;
  row.icon.textContent = row.collapsed ? '›' : '⌄';
  if (shape === 'classic' || shape === 'toggles') row.button.setAttribute('aria-expanded', String(!row.collapsed));
  if (shape !== 'classic') row.button.setAttribute('aria-label',
    row.collapsed ? (zh ? '展开行' : 'Expand row') : (zh ? '折叠行' : 'Collapse row'));
}

const items = new Map();
function item(key, fill, height, x, y, width) {
  let element = items.get(key);
  if (!element) {
    items.set(key, element = document.createElement('div'));
    element.className = 'react-grid-item';
    element.setAttribute(shape === 'classic' ? 'data-panelid' : 'data-griditem-key', key);
    grid.append(element);
    if (shape === 'classic' && key.startsWith('row')) fill(element); else lazy(element, () => fill(element));
  }
  Object.assign(element.style, {left: x + 'px', top: y + 'px', width: width + 'px', height: height + 'px'});
}

function renderGrid() {
  const width = grid.clientWidth, gap = 8, wanted = new Set();
  let y = 0;
  rows.forEach((row, n) => {
    wanted.add('row-' + n);
    item('row-' + n, e => {
      e.innerHTML = '<div data-testid="dashboard-row-container" class="css-1-dashboardRow"></div>';
      e.firstChild.append(heading(row));
      tell(row);
    }, 30, 0, y, width);
    tell(row);
    y += 30 + gap;
    if (row.collapsed) return;
    const half = (width - gap) / 2;
    row.panels.forEach((title, m) => {
      wanted.add(title);
      const last = m === row.panels.length - 1 && m %% 2 === 0;
      item(title, e => panel(e, title), 240, m %% 2 * (half + gap), y + Math.floor(m / 2) * 248, last ? width : half);
    });
    y += Math.ceil(row.panels.length / 2) * 248;
  });
  for (const [key, element] of items) if (!wanted.has(key)) { element.remove(); items.delete(key); }
  grid.style.height = y + 'px';
}

function renderRows(list, host) {
  for (const row of list) {
    if (!row.wrapper) {
      row.wrapper = document.createElement('div');
      row.wrapper.className = 'row-wrapper';
      row.wrapper.dataset.testid = 'data-testid dashboard-row-wrapper-for-' + row.title;
      const head = document.createElement('div');
      head.className = 'dashboard-row-header';
      head.append(heading(row));
      row.wrapper.append(head);
      host.append(row.wrapper);
    }
    tell(row);
    if (row.collapsed) { if (row.body) row.body.remove(); row.body = null; continue; }
    if (row.body) { if (row.rows) renderRows(row.rows, row.body); continue; }
    row.body = document.createElement('div');
    row.wrapper.append(row.body);
    if (row.rows) { row.rows.forEach(r => { r.wrapper = null; }); renderRows(row.rows, row.body); continue; }
    row.body.className = 'auto-grid';
    for (const title of row.panels) {
      const cell = document.createElement('div');
      row.body.append(cell);
      lazy(cell, () => panel(cell, title));
    }
  }
}

const render = () => shape === 'rows' || shape === 'toggles' ? renderRows(rows, grid) : renderGrid();
fetch('/api/dashboards/uid/hosts').then(r => r.json()).then(render);
</script>"""

ARTICLE = """<!doctype html><meta charset="utf-8"><style>body { margin: 24px; font: 20px/1.6 sans-serif; width: 600px; }
p { margin: 0 0 40px; } aside { position: absolute; left: 660px; top: 0; bottom: 0; width: 4px; background: #36c; }
</style><aside style="height:%(height)dpx"></aside>%(paragraphs)s"""


class FakeDashboard:
    """`queries` are what the panels asked for, `clicks` the rows that were clicked."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.clicks: list[str] = []
        self.fail_for = ""
        self.rows = ROWS
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/d/{uid}/{shape}", self._page),
                web.get("/api/dashboards/uid/{uid}", self._model),
                web.post("/api/ds/query", self._query),
                web.post("/clicked", self._clicked),
                web.get("/article", self._article),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        if self.fail_for and request.query.get("var-host") == self.fail_for:
            return web.Response(status=403)
        values = {
            "shape": json.dumps(request.match_info["shape"]),
            "rows": json.dumps(self.rows),
            "zh": json.dumps("zh" in request.query.get("lang", "")),
        }
        return web.Response(text=PAGE % values, content_type="text/html", charset="utf-8")

    async def _model(self, _request: web.Request) -> web.Response:
        return web.json_response({"dashboard": {}})

    async def _query(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.queries.append(asked)
        seed = zlib.crc32(json.dumps(asked, sort_keys=True).encode())
        points, value = [], 0.5
        for _ in range(120):
            seed = (seed * 1103515245 + 12345) % 2**31
            value = min(0.95, max(0.05, value + (seed / 2**31 - 0.5) / 6))
            points.append(value)
        hue = zlib.crc32(asked["panel"].encode()) % 360
        return web.json_response({"colour": f"hsl({hue} 70% 60%)", "points": points})

    async def _clicked(self, request: web.Request) -> web.Response:
        self.clicks.append(request.query["row"])
        return web.Response()

    async def _article(self, _request: web.Request) -> web.Response:
        words = "A long page that is no dashboard, and is cut where nothing is written. 没有字的地方才可以剪开。"
        paragraphs = "".join(f"<p>{number}. {words * 3}</p>" for number in range(1, 31))
        return web.Response(
            text=ARTICLE % {"paragraphs": paragraphs, "height": 6000}, content_type="text/html", charset="utf-8"
        )
