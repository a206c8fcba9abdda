"""Pages like Grafana's, and some that are none and misbehave.

`ROWS_DASHBOARD` has the shapes of the DOM that Grafana has had since 9, as its source has them: `classic`
(DashboardRow.tsx, DashboardGrid.tsx, until 10), `scenes` (SceneGridRow.tsx and LazyLoader.tsx, 11), `rows`
(RowItemRenderer.tsx, 12, with rows in rows) and `toggles` (RowHeader.tsx, 13). As with React, a click changes the page
a while later, and the elements stay the same ones. In its address, `late=300` is how many milliseconds later than that
a panel is drawn, and once more until it asks for its data; `busy=4` how often its thread is held up before a row opens.
"""

from __future__ import annotations

from typing import Any

PANELS = 20
"""How many panels `PANELS_DASHBOARD` has by itself."""
ROWS: list[dict[str, Any]] = [
    {"title": "概览 Overview", "panels": ["CPU", "Memory", "Load"]},
    {"title": "磁盘 Disks", "collapsed": True, "panels": ["Disk 1", "Disk 2", "Disk 3", "Disk 4"]},
    {"title": "Kafka", "panels": ["Lag", "Messages in"]},
    {"title": "Network", "collapsed": True, "panels": ["Received", "Sent"]},
]
ROW_PANELS = [panel for row in ROWS for panel in row["panels"]]

PANELS_DASHBOARD = """<!doctype html><meta charset="utf-8"><title>Kafka</title>
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
        const answer = await (await fetch(base + '/api/ds/query?panel=' + n + slow, {method: 'POST'})).json();
        window.__grafanaRunningQueryCount--;
        const canvas = document.createElement('canvas');
        canvas.width = 400; canvas.height = 120; body.replaceChildren(canvas);
        const pen = canvas.getContext('2d');
        pen.fillStyle = answer.colour; pen.fillRect(0, 0, 400, 120);
      }).observe(panel);
    }
  });
</script>"""

ROWS_DASHBOARD = """<!doctype html><meta charset="utf-8"><title>Hosts</title>
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
const query = new URLSearchParams(location.search), late = Number(query.get('late')), busy = Number(query.get('busy'));
const grid = document.querySelector('.react-grid-layout');
document.querySelector('h1').textContent = 'Hosts ' + (query.get('var-host') || '');
window.grafanaBootData = {};
if (shape !== 'classic') { window.__grafanaSceneContext = {}; window.__grafanaRunningQueryCount = 0; }
const count = by => { if (shape !== 'classic') window.__grafanaRunningQueryCount += by; };

// Until it has been in view, an element stays empty.
const lazy = (element, fill) => new IntersectionObserver((seen, observer) => {
  if (!seen.some(e => e.isIntersecting)) return;
  observer.disconnect();
  if (late) setTimeout(fill, late); else fill();
}).observe(element);

// As on a busy machine the thread is held up behind each frame in which somebody looked, and in the end a row opens.
function holdUp(times, then) {
  const ask = requestAnimationFrame;
  window.requestAnimationFrame = callback => ask(now => {
    callback(now);
    if (--times < 0) return;
    const last = times === 0, {port1, port2} = new MessageChannel();
    port2.onmessage = () => {
      for (const until = performance.now() + 50; performance.now() < until;);
      if (last) then();
    };
    port1.postMessage(0);
  });
}

async function panel(host, title) {
  host.innerHTML = shape === 'classic'
    ? `<div class="panel-container"><h2>${title}</h2><div class="css-1-panel-content"></div></div>`
    : `<div data-viz-panel-key="panel-${title}" style="display:flex;flex:1"><section
        data-testid="data-testid Panel header ${title}"><h2>${title}</h2>
        <div class="css-1-panel-content" data-testid="data-testid panel content"></div></section></div>`;
  const body = host.querySelector('.css-1-panel-content');
  if (late) await new Promise(done => setTimeout(done, late));
  if (shape !== 'classic') body.innerHTML = '<div class="bar" aria-label="Panel loading bar"></div>';
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
    const told = '/clicked?row=' + encodeURIComponent(row.title);
    window.clicks = Promise.resolve(window.clicks).then(() => fetch(told, {method: 'POST'}));  // in their order
    const toggle = () => { row.collapsed = !row.collapsed; render(); };
    if (busy) holdUp(busy, toggle); else setTimeout(toggle, slow);
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

let cellCount = 0;
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
      const cell = document.createElement('div'), place = document.createElement('div');
      place.id = String(++cellCount);
      place.style.flex = 1;
      place.textContent = '\\u00A0';
      cell.append(place);
      row.body.append(cell);
      lazy(place, () => panel(place, title));
    }
  }
}

const render = () => shape === 'rows' || shape === 'toggles' ? renderRows(rows, grid) : renderGrid();
fetch('/api/dashboards/uid/hosts').then(r => r.json()).then(render);
</script>"""

ARTICLE = """<!doctype html><meta charset="utf-8"><style>body { margin: 24px; font: 20px/1.6 sans-serif; width: 600px; }
p { margin: 0 0 40px; } aside { position: absolute; left: 660px; top: 0; bottom: 0; width: 4px; background: #36c; }
</style><aside style="height:%(height)dpx"></aside>%(paragraphs)s"""

HOME = """<!doctype html><meta charset="utf-8"><script>
  window.grafanaBootData = {settings: {buildInfo: {version: '12.4.0'}}};
  history.replaceState(null, '', '/');
</script><h1>Welcome to Grafana</h1>"""

LOGIN = """<!doctype html><form method="post" action="login"><h1>Welcome to Grafana</h1>
<input name="user"><input name="password" type="password"><button>Log in</button></form>"""

SOLO_PANEL = """<!doctype html><meta charset="utf-8"><body style="margin:0;background:#204080;color:white">
<section class="panel-container"><h1>panel</h1></section><script>window.grafanaBootData = {};
document.querySelector('h1').textContent = location.search</script>"""

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
    "again": """<body><h1>old figures</h1>
      <img src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"><script>
      // Whoever is about to take its picture has its image decoded: just then it loads once more, for a while.
      HTMLImageElement.prototype.decode = async () => {
        document.body.innerHTML = '<div aria-label="Panel loading bar" style="height:90px;background:#f00">…</div>';
        setTimeout(() => { document.body.innerHTML = '<div style="height:90px;background:#0f0">new</div>'; }, 3000);
      };</script>""",
    "hole": """<h1>plan</h1><img src="../slow?key=secret" width=400 height=300>
      <img src="../slow" alt="架构图" width=400 height=300><img src="../slow" width=0 height=0>""",
    "busyloop": "<h1>hello</h1><script>setTimeout(() => { for (;;); }, 200)</script>",
}
