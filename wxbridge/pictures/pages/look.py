"""One look at a page: which of its panels are there, which are loading, how tall it is, and what has changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wxbridge.pictures.pages.grafana import RECIPES
from wxbridge.pictures.pages.rows import OPEN_ROWS
from wxbridge.pictures.pages.scripts import SCRIPT_SECONDS, evaluate
from wxbridge.pictures.pages.shot import Shot

if TYPE_CHECKING:
    from playwright.async_api import Page

_BETWEEN_PAGES = ("Execution context was destroyed", "navigat", "Cannot find context", "Frame was detached")
"""What is said of a script that ended because the page is being left for another."""
_RECIPES = [asdict(each) for each in RECIPES]
_LOOK = (
    r"""
async ({waitFor, needed, recipes, expand, guess}) => {
  await new Promise(done => requestAnimationFrame(done));
  // Observers hear what this frame brought into view, and whatever is to be done about it is done before we look.
  const root = document.documentElement;  // none while nothing of the page has come
  if (root) await new Promise(done =>
    new IntersectionObserver((_, own) => { own.disconnect(); done(); }).observe(root));
  const idle = await Promise.race([scheduler.postTask(() => true, {priority: 'background'}),
    new Promise(done => setTimeout(done, 200, false))]);
  const began = performance.now();
  const memory = window.__wxbridge || {changes: 0};
  const all = selector => selector ? [...document.querySelectorAll(selector)] : [];
  const has = (e, selector) => e.matches(selector) || !!e.querySelector(selector);
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const near = e => {
    const r = e.getBoundingClientRect();
    return shown(e) && r.top < innerHeight && r.bottom > 0;
  };
  const title = e => {
    const panel = e.closest(
      '[data-testid*="Panel header"], [data-panelid], [data-viz-panel-key], .panel-container, section');
    if (!panel) return '';
    const head = panel.querySelector('h1,h2,h3,h4,h5,h6,[class*="panel-title"]');
    return ((head && head.textContent) || (panel.dataset.testid || '').replace(/^.*Panel header /, '')
      || panel.getAttribute('aria-label') || '').trim().slice(0, 60);
  };
  const asked = selector => {
    try { return [...document.querySelectorAll(selector)].some(shown); } catch (_) { return null; }
  };

  // Which Grafana it is, and what its panels say.
  const boot = window.grafanaBootData, settings = boot && boot.settings || {};
  const version = (settings.buildInfo || {}).version || '', major = parseInt(version);
  const queries = window.__grafanaRunningQueryCount;
  const scenes = !!window.__grafanaSceneContext || typeof queries === 'number';
  const recipe = boot && (scenes ? recipes.at(-1) : recipes.filter(r => r.first <= major).at(-1));
  const some = recipe ? [recipe] : recipes;
  const union = word => some.map(r => r[word]).join();
  const bars = all(union('loading')).filter(e => shown(e) && !has(e, '[title^="Streaming"]'));
  const items = recipe ? all(recipe.item) : [];
  // A panel of 12's newer grid has no mark before it has been in view, but its place has a number and a space.
  if (scenes) items.push(...all('div[id]:not(:has(*))')
    .filter(e => /^\d+$/.test(e.id) && e.textContent === '\u00A0' && !e.closest(recipe.item)));
  // A panel has a place for its drawing, before scenes only once it has data, and something in it.
  const hasNothing = e => ![...e.querySelectorAll(recipe.body)].some(body => body.childElementCount);
  const bare = recipe && !scenes ? all(recipe.solo).filter(e => near(e) && hasNothing(e)) : [];
  const empty = items.filter(near).filter(e => !has(e, recipe.drawn) || e.querySelector(recipe.unsure)
    || e.dataset.vizPanelKey && e.querySelector(recipe.body) && hasNothing(e));
  const path = location.pathname.slice((settings.appSubUrl || '').length);
  const solo = path.startsWith('/d-solo/');
  const panels = solo ? all(union('solo')).some(shown) : all(union('item') + ',' + union('drawn')).length > 0;
  const booting = !!boot && /^\/d(-solo)?\//.test(path) && !panels;

  // How tall it is, with what scrolls in it.
  const tall = Math.max(...[document.documentElement, document.body].map(e => e ? e.scrollHeight : 0));
  let height = tall, most = 0, stiff = 0;
  const everything = document.getElementsByTagName('*');
  const sizes = memory.sizes = memory.sizes || new WeakMap();
  for (const e of everything) {
    const hidden = e.scrollHeight - e.clientHeight;
    if (hidden <= 1 || e === document.documentElement || e === document.body) continue;
    if (!sizes.has(e)) {
      // What takes up most of the window; a smaller one is a list or a table, not the page.
      if (e.clientHeight < innerHeight / 2 || e.clientWidth < innerWidth * 0.4) continue;
      const style = getComputedStyle(e);
      // What nobody sees scrolls for nobody: detectors of size are as tall as they like.
      if (!/auto|scroll|overlay/.test(style.overflowY) || style.visibility === 'hidden') continue;
      sizes.set(e, {window: innerHeight, own: e.clientHeight, stiff: false});
    }
    const size = sizes.get(e);
    if (!size.stiff && innerHeight > size.window && e.clientHeight <= size.own) {
      size.stiff = true;    // it does not grow with the window: growing was in vain
      stiff += 1;
    }
    if (size.stiff || hidden <= most) continue;
    most = hidden;
    height = Math.max(tall, e.scrollHeight + innerHeight - e.clientHeight);
  }
  const rows = boot && expand ? ("""
    + OPEN_ROWS
    + r""")(guess) : {opening: 0, doubtful: 0};
  return {
    ...rows, path, base: settings.appSubUrl || '', grafana: !!boot, version,
    recipe: recipe ? recipe.name : '', scroller: recipe ? recipe.scroller : '',
    solo, panels, booting, words: booting && document.body ? document.body.innerText.trim().slice(0, 200) : '',
    login: ['user', 'password'].every(name => document.querySelector(`input[name="${name}"]`)),
    loading: bars.length + bare.length, titles: [...new Set(bars.concat(bare).map(title))],
    empty: empty.map(e => (e.dataset.panelid || e.dataset.vizPanelKey || e.dataset.griditemKey || (scenes ? '' : e.id))
      .replace(/^\D*/, '')),
    queries: typeof queries === 'number' ? queries : 0,
    missing: [waitFor, needed].filter(s => s && asked(s) === false),
    absent: [waitFor, needed].filter(s => s && asked(s) === false && !document.querySelector(s)),
    wrong: [waitFor, needed].filter(s => s && asked(s) === null),
    oldKiosk: major >= 12 && /[?&]kiosk=tv(&|$)/.test(location.search),
    document: document.readyState, fonts: !document.fonts || document.fonts.status === 'loaded',
    images: [...document.images].filter(i => !i.complete && near(i))
      .map(i => (i.alt.trim() || i.src.replace(/[?#].*$/, '').split('/').pop() || i.src.split('/')[2]).slice(0, 60)),
    busy: [...document.querySelectorAll('[aria-busy="true"]')].filter(near).length + !idle,
    window: innerHeight, height, stiff, scrolls: most > 1, elements: everything.length,
    shape: [tall, height, everything.length, innerHeight].join(),
    changes: memory.changes, seconds: (performance.now() - began) / 1000,
  };
}
"""
)


async def look_at(page: Page, shot: Shot, left: float, *, guess: bool = False) -> dict[str, Any] | None:
    """Look at a page, once another frame of it was drawn; None where it does not answer, or is being left.

    All that is told is of one moment, and the collapsed rows were clicked at its end, see `rows.OPEN_ROWS`.

    Args:
        page: The page.
        shot: Says which elements it has to have.
        left: Seconds that this may take.
        guess: Whether doubtful rows are clicked too.
    """
    from playwright.async_api import Error

    asked = {
        "waitFor": shot.wait_for,
        "needed": shot.selector,
        "recipes": _RECIPES,
        "expand": shot.expand,
        "guess": guess,
    }
    try:
        seen: dict[str, Any] = await evaluate(page, _LOOK, asked, limit=max(0.05, min(SCRIPT_SECONDS, left)))
    except TimeoutError:
        return None
    except Error as error:
        if any(text in error.message for text in _BETWEEN_PAGES):
            return None
        raise
    return seen
