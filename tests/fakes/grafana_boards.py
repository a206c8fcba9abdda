"""A dashboard as each generation of Grafana shows it, as far as screenshots are concerned.

A small page of our own that repeats what was measured of the real ones: shared/facts/grafana-7.5.md, grafana-9.4.md
and grafana-12.4.md.

Every panel draws itself in a colour of its own once it has its data. What a panel does is its `kind`:

- `graph`, and `stat` (its body has no padding); `streaming` draws without end, `animated` for a second.
- `empty` says "No data", `error` has an error's mark; the query of `cut` breaks off; `throws` is never drawn,
  and `asks` shows for ever that it is asking for something itself.

A board is a list of panels and rows (`{"row": title, "collapsed": …, "panels": […]}`), or one of tabs
(`{"tab": title, "panels": […]}` or `"tabs": […]`), or of rows with tabs (`{"row": title, "tabs": […]}`).
"""

from __future__ import annotations

import json
from typing import Any


def panels(count: int, first: int = 1, kind: str = "graph") -> list[dict[str, Any]]:
    return [{"id": n, "title": f"面板 {n}", "kind": kind} for n in range(first, first + count)]


def model_of(board: list[dict[str, Any]]) -> dict[str, Any]:
    """What the API tells of a board, in the old form."""
    return {"title": "A board", "panels": [{"type": "row", **each} if "id" not in each else each for each in board]}


def board_page(version: str, board: list[dict[str, Any]], *, silent_seconds: float, variables_seconds: float) -> str:
    given = json.dumps(
        {"version": version, "board": board, "silent": silent_seconds * 1000, "wait": variables_seconds * 1000}
    )
    return _BOARD.replace("GIVEN", given, 1)


_BOARD = r"""<!doctype html><meta charset="utf-8"><title>A board</title>
<style>
  * { box-sizing: border-box; } html, body { margin: 0; font: 14px sans-serif; background: #111217; color: #ccccdc; }
  .dashboard-scroll { height: 100vh; } .dashboard-scroll > .scrollbar-view { overflow: scroll; height: 100%; }
  .inner { overflow: scroll; height: 100vh; }
  .sized { position: relative; min-height: 100vh; padding: 16px; }
  .resize-triggers, .contract-trigger { position: absolute; inset: 0; visibility: hidden; z-index: -1; }
  .contract-trigger { overflow: auto; } .contract-trigger:before { content: ' '; display: block; height: 200%; }
  .react-grid-layout { position: relative; }
  .react-grid-item { position: absolute; }
  .panel-container, section { height: 100%; background: #181b1f; border: 1px solid #2c2f35; position: relative; }
  .react-grid-item > div { height: 100%; } h2 { font-size: 14px; margin: 4px; } nav { height: 70px; background: #a0a; }
  canvas { display: block; } .alert-error { background: #e02f44; padding: 20px; }
  .dashboard-solo .panel-container, .solo section { height: 100vh; }
  [role="tab"] { padding: 8px; display: inline-block; } [aria-selected="true"] { border-bottom: 2px solid orange; }
</style>
<body><script>
const {version, board, silent, wait} = GIVEN, old = parseInt(version) < 8, scenes = parseInt(version) > 9;
const query = new URLSearchParams(location.search), solo = location.pathname.includes('/d-solo/');
const full = {6: '6.7.6', 7.5: '7.5.5', 9: '9.4.0-pre', 12: '12.4.0'}[version];
window.grafanaBootData = {settings: {buildInfo: {version: full}, appSubUrl: ''}};
document.body.className = 'app-grafana ' + (solo ? scenes ? '' : 'dashboard-solo' : 'page-dashboard');
const make = (tag, className = '', innerHTML = '') =>
  Object.assign(document.createElement(tag), {className, innerHTML});
const frame = () => new Promise(done => requestAnimationFrame(done));
const count = by => { if (scenes) window.__grafanaRunningQueryCount = (window.__grafanaRunningQueryCount || 0) + by; };
if (!old) {  // a worker that is ended before its script was read: nobody ever hears that its request ended
  new Worker(URL.createObjectURL(new Blob(['postMessage(1)']))).terminate();
}

// ---- one panel
async function fill(panel, host) {
  if (panel.kind === 'throws') return;
  const box = make(old || scenes ? (scenes ? 'section' : 'div') : 'section', scenes ? '' : 'panel-container');
  box.append(make('h2', 'panel-title', panel.title));
  if (scenes) {
    host.dataset.vizPanelKey = 'panel-' + panel.id;
    box.dataset.testid = 'data-testid Panel header ' + panel.title;
  }
  host.append(box);
  const streams = panel.kind === 'streaming';
  const bar = scenes ? make('div') : make('div', 'panel-loading', streams
    ? '<i title="Streaming (click to stop)">●</i>' : '<i class="panel-loading__spinner">…</i>');
  if (scenes) { bar.ariaLabel = 'Panel loading bar'; bar.innerHTML = '…'; }
  if (!(scenes && streams)) box.append(bar);
  count(1);
  let answer = null;
  const ask = new URLSearchParams({panel: panel.id, kind: panel.kind});
  try { answer = await (await fetch('/api/ds/query?' + ask, {method: 'POST'})).json(); } catch (_) {}
  count(-1);
  if (!streams) bar.remove();
  const body = make('div', scenes ? '' : 'panel-content' + (panel.kind === 'stat' ? ' panel-content--no-padding' : ''));
  if (scenes) body.dataset.testid = 'data-testid panel content';
  box.append(body);
  if (!answer || !answer.colour || panel.kind === 'empty') {
    if (answer && answer.message) {
      const mark = make(scenes ? 'button' : 'span', scenes ? '' : 'panel-info-corner panel-info-corner--error', '!');
      if (scenes) mark.dataset.testid = 'data-testid Panel status error';
      box.append(mark);
    }
    return body.append(make('div', '', 'No data'));
  }
  const canvas = make('canvas');
  canvas.width = 400; canvas.height = 120; body.append(canvas);
  const pen = canvas.getContext('2d');
  pen.fillStyle = answer.colour;
  const draw = part => { pen.clearRect(0, 0, 400, 120); pen.fillRect(0, 0, 400 * part, 120); };
  if (panel.kind === 'asks') body.insertAdjacentHTML('beforeend', '<i data-testid="Spinner">…</i>');
  if (panel.kind === 'animated') {
    for (let n = 0; n <= 60; n++) { draw(n / 60); await frame(); }
  } else draw(1);
  if (streams) for (let n = 0;; n = (n + 1) % 10) {
    await new Promise(done => setTimeout(done, 50));
    draw(0.9 + n / 100);
  }
}

// ---- the grid: what is drawn, and when
let scrolled = 0;
const grid = make('div', 'react-grid-layout'), items = new Map();
const inView = e => e.offsetTop < scrolled + innerHeight + 250 && e.offsetTop + e.offsetHeight + 250 > scrolled;
function item(key, id) {
  let element = items.get(key);
  if (!element) {
    items.set(key, element = make('div', 'react-grid-item'));
    if (old) element.id = 'panel-' + id; else if (!scenes) element.dataset.panelid = id;
    grid.append(element);
  }
  return element;
}
function place(panel, x, y, width) {
  const element = item(panel.id, panel.id);
  Object.assign(element.style, {left: x + 'px', top: y + 'px', width: width + 'px', height: '240px'});
  if (element.panel) return;
  element.panel = panel;
  if (old) return;  // see `draw`
  const inner = make('div'); inner.id = String(panel.id);
  element.append(inner);
  new IntersectionObserver((seen, observer) => {
    if (!seen.some(e => e.isIntersecting)) return;
    observer.disconnect(); fill(panel, inner);
  }, {rootMargin: '100px'}).observe(inner);
}
function draw() {  // Grafana 7 looks at what is in view when the grid renders, and only then
  for (const e of items.values()) if (e.panel && !e.drawn && inView(e)) { e.drawn = true; fill(e.panel, e); }
}
function heading(row, number) {
  const title = make(old ? 'a' : 'button', old || !scenes ? 'dashboard-row__title' : '', '› ' + row.row);
  title.onclick = () => {
    const told = '/clicked?row=' + encodeURIComponent(row.row);
    window.clicks = Promise.resolve(window.clicks).then(() => fetch(told, {method: 'POST'}));  // in their order
    setTimeout(() => { row.collapsed = !row.collapsed; render(); }, 120);
  };
  const box = make('div', 'dashboard-row');
  if (scenes) box.className = '';
  if (!old) title.dataset.testid = 'data-testid dashboard-row-title-' + row.row;
  box.append(title); row.box = box; row.title = title;
  item('row' + number, 1000 + number).append(box);
}
function render() {
  const width = (grid.clientWidth || innerWidth) - 8, half = width / 2, wanted = new Set();
  let y = 0, n = 0;
  const two = list => { list.forEach((p, m) => {
    wanted.add(p.id); place(p, m % 2 * (half + 8), y + Math.floor(m / 2) * 248, half); });
    y += Math.ceil(list.length / 2) * 248; };
  const loose = board.filter(each => !each.panels);
  two(loose);
  board.filter(each => each.row).forEach((row, number) => {
    if (!row.box) heading(row, number);
    wanted.add('row' + number);
    const collapsed = !!row.collapsed;
    if (scenes) row.title.ariaLabel = collapsed ? 'Expand row' : 'Collapse row';
    else row.box.classList.toggle('dashboard-row--collapsed', collapsed);
    Object.assign(items.get('row' + number).style, {left: 0, top: y + 'px', width: width + 'px', height: '30px'});
    y += 38;
    if (!collapsed) two(row.panels);
  });
  for (const [key, e] of items) if (!wanted.has(key)) { e.remove(); items.delete(key); }
  grid.style.height = y + 'px';
  if (old) draw();
}

// ---- tabs: only the chosen one's panels are in the page, and drawn once they are in view, odd ones `late` ms later
const late = Number(query.get('late'));
let cells = 0;
function tabs(host, board) {
  const named = tab => tab.tab.toLowerCase().replace(/[^a-z0-9]/g, '');  // as it is called in the address
  const chosen = Math.max(0, board.findIndex(tab => named(tab) === (host.chosen ?? named(board[0]))));
  const list = make('div'); list.setAttribute('role', 'tablist');
  board.forEach(tab => {
    const link = make('a', '', tab.tab); link.setAttribute('role', 'tab');
    link.dataset.testid = 'data-testid Tab ' + tab.tab;
    link.setAttribute('aria-selected', String(named(tab) === named(board[chosen])));
    link.onclick = () => setTimeout(() => {
      if (named(tab)) { host.chosen = named(tab); host.replaceChildren(); tabs(host, board); }
    }, 50);
    list.append(link);
  });
  const bar = make('div'); bar.append(list);
  const below = make('div');
  host.append(bar, below);
  if (board[chosen].tabs) return tabs(below, board[chosen].tabs);
  for (const panel of board[chosen].panels) {
    const cell = make('div', '', '\u00A0'); cell.style.cssText = 'height:240px;margin:8px'; cell.id = String(++cells);
    below.append(cell);
    new IntersectionObserver(async (seen, observer) => {
      if (!seen.some(e => e.isIntersecting)) return;
      observer.disconnect();
      if (late && panel.id % 2) await new Promise(done => setTimeout(done, late));
      cell.replaceChildren(); fill(panel, cell);
    }).observe(cell);
  }
}

// ---- the page
async function start() {
  await fetch(scenes ? '/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/board/dto'
    : '/api/dashboards/uid/board');
  if (silent) await new Promise(done => setTimeout(done, silent));
  if (wait) {
    const spin = old ? make('div', 'dashboard-loading', 'Services <button>Cancel loading dashboard</button>')
      : make('div', '', 'Services <button>Cancel loading dashboard</button>');
    if (!old) spin.dataset.testid = 'Spinner';
    document.body.append(spin); count(1);
    await new Promise(done => setTimeout(done, wait));
    spin.remove(); count(-1);
  }
  if (scenes) { window.__grafanaSceneContext = {}; count(0); }
  if (scenes && query.get('kiosk') === 'tv') document.body.append(make('nav', '', 'menu'));
  const every = board.flatMap(each => each.panels || [each]);
  if (solo) {
    const panel = every.find(each => String(each.id) === query.get('panelId'));
    const host = make('div', 'solo panel-solo');
    document.body.append(host);
    if (panel) { const inner = make('div'); host.append(inner); return fill(panel, inner); }
    const missing = scenes ? 'Panel not found' : 'Panel with id ' + query.get('panelId') + ' not found';
    return host.append(make('div', scenes ? '' : 'alert alert-error', missing));
  }
  const sized = make('div', 'sized');
  if (board.some(each => each.tab)) { document.body.append(sized); return tabs(sized, board); }
  if (board.some(each => each.tabs)) {
    document.body.append(sized);
    return board.forEach(row => {
      const head = make('button', '', row.row); head.ariaLabel = 'Collapse row';
      head.dataset.testid = 'data-testid dashboard-row-title-' + row.row;
      const host = make('div'); sized.append(head, host); tabs(host, row.tabs);
    });
  }
  if (scenes) { document.body.append(sized); sized.append(grid); return render(); }
  const scroller = make('div', 'scrollbar-view' + (old ? '' : ' inner'));
  if (old) { const outer = make('div', 'dashboard-scroll'); outer.append(scroller); document.body.append(outer); }
  else document.body.append(scroller);
  scroller.append(sized);
  sized.append(grid, make('div', 'resize-triggers', '<div class="contract-trigger"></div>'));
  if (old) scroller.onscroll = () => {
    if (Math.abs(scroller.scrollTop - scrolled) < 25) return;
    scrolled = scroller.scrollTop; render();
  };
  render();
}
start();
</script>"""
