// The pages work without this file; with it they renew what changes, and forms keep the place.
"use strict";

const busy = new Set();
const waiting = new Set();
let timer = 0;
let last = 0;
let renewing = false;
let posted = 0;

function put(page, parts) {
  // Exchange what changed, and leave open what somebody opened or is writing in.
  for (const now of document.querySelectorAll("[data-live]")) {
    if (parts && !now.dataset.live.split(" ").some((part) => parts.has(part))) continue;
    const next = page.getElementById(now.id);
    if (!next || next.innerHTML === (now.dataset.was ?? now.innerHTML)) continue;
    if (now.contains(document.activeElement) && document.activeElement.matches("input:not([type=hidden], [type=checkbox]), textarea, select")) continue;
    const open = [...now.querySelectorAll("details[open][id]")].map((each) => each.id);
    const shut = [...now.querySelectorAll("details.group:not([open])[id]")].map((each) => each.id);
    const ticked = [...now.querySelectorAll("[type=checkbox]:checked")].map((each) => each.value);
    const held = now.contains(document.activeElement) ? place(document.activeElement) : null;
    now.dataset.was = next.innerHTML;
    now.innerHTML = next.innerHTML;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const id of shut) document.getElementById(id)?.removeAttribute("open");
    for (const box of now.querySelectorAll("[type=checkbox]")) if (ticked.includes(box.value)) box.checked = true;
    if (held) find(now, held)?.focus({ preventScroll: true });
  }
}

function place(element) {
  return element.getAttribute("aria-label") || element.getAttribute("href") || element.textContent || element.value;
}

function find(within, wanted) {
  return [...within.querySelectorAll("a, button, summary, input")].find((each) => place(each) === wanted);
}

async function renew() {
  // One at a time: an older answer must not overwrite a newer page. What changes meanwhile waits for the next.
  if (renewing) return;
  renewing = true;
  const parts = new Set(waiting), before = posted;
  waiting.clear();
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { "X-Fragment": "1" }, cache: "no-store", signal: AbortSignal.timeout(30000) });
    if (answer.status === 401 || answer.status === 403) return location.reload();
    const text = await answer.text();
    if (before !== posted) parts.forEach((part) => waiting.add(part));
    else if (answer.ok) put(new DOMParser().parseFromString(text, "text/html"), parts.has("all") ? null : parts);
  } catch { /* the stream tells when it is back */ } finally {
    renewing = false;
    if (waiting.size) changed([]);
  }
}

function changed(parts) {
  const shown = [...document.querySelectorAll("[data-live]")].flatMap((each) => each.dataset.live.split(" "));
  for (const part of parts) if (part === "all" || shown.includes(part)) waiting.add(part);
  if (!waiting.size || document.hidden) return;
  clearTimeout(timer);
  // However much happens, a page is renewed once a second at most.
  timer = setTimeout(renew, Math.max(0, last + 1000 - Date.now()));
}

function listen() {
  const offline = document.getElementById("offline");
  if (!offline) return;
  const stream = new EventSource("/console/events");
  let lost = false;
  stream.onopen = () => {
    offline.hidden = true;
    if (lost) changed(["all"]);
    lost = false;
  };
  stream.onerror = () => {
    lost = true;
    setTimeout(() => { if (lost) offline.hidden = false; }, 4000);
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { renew(); listen(); }, 5000);
  };
  stream.onmessage = (event) => changed(JSON.parse(event.data));
  addEventListener("pagehide", () => stream.close(), { once: true });
}

async function submit(form, button) {
  if (busy.has(form)) return;
  busy.add(form);
  const body = form.enctype === "multipart/form-data" ? new FormData(form) : new URLSearchParams(new FormData(form));
  if (button?.name) body.append(button.name, button.value);
  const words = button?.textContent;
  if (button) { button.setAttribute("aria-busy", "true"); button.disabled = true; }
  const slow = setTimeout(() => { if (button) button.textContent = document.body.dataset.working; }, 400);
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { "X-Fragment": "flash" } });
    const kind = answer.headers.get("Content-Type") || "";
    if (!kind.startsWith("text/html")) {
      const problem = kind.includes("json") ? (await answer.json()).error : answer.statusText;
      flash(problem);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // What somebody wrote stays to be mended where it could not be done.
    const keeps = page.querySelector("#flash .bad") && form.querySelector("input:not([type=hidden]), textarea, select");
    const open = form.closest("details");
    if (open && !keeps) open.open = false;
    const main = document.getElementById("main");
    posted += 1;
    document.getElementById("flash").innerHTML = page.getElementById("flash")?.innerHTML || "";
    if (main.querySelector("[data-live]")) put(page, null);
    if (!keeps) form.reset();
  } catch {
    document.getElementById("offline").hidden = false;
  } finally {
    clearTimeout(slow);
    busy.delete(form);
    if (button) { button.removeAttribute("aria-busy"); button.disabled = false; button.textContent = words; }
  }
}

function flash(words) {
  const line = document.createElement("p");
  line.className = "notice bad";
  line.textContent = words;
  document.getElementById("flash").replaceChildren(line);
}

async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS browsers have no clipboard for pages; the old way works.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "only-read";
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  const words = button.textContent;
  button.textContent = document.body.dataset.copied;
  setTimeout(() => { button.textContent = words; }, 1500);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.hasAttribute("data-quiet")) return;
  event.preventDefault();
  submit(form, event.submitter);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  const look = event.target.closest("[data-keep]");
  if (look) {
    // Colours and language are this browser's; the bridge need not know whose.
    document.cookie = `${look.dataset.keep}=${look.value}; path=/; max-age=${look.value ? 31536000 : 0}; samesite=lax`;
    location.reload();
  }
});
document.addEventListener("change", (event) => {
  const all = event.target.dataset.all;
  if (all) for (const box of document.querySelectorAll(`input[type=checkbox][name="${all}"]`)) box.checked = event.target.checked;
  if (event.target.matches("[data-filter] select")) event.target.form.requestSubmit();
});
// What is shown while somebody writes: asked for once they pause, and never out of order.
let writing = 0, asked = 0;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-preview]");
  if (!form) return;
  clearTimeout(writing);
  writing = setTimeout(async () => {
    const mine = (asked += 1);
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-Fragment": "1" } });
      if (!answer.ok || mine !== asked) return;
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(form.dataset.preview);
      if (next) document.getElementById(form.dataset.preview).innerHTML = next.innerHTML;
    } catch { /* the button does the same */ }
  }, 350);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) changed([...waiting]); });
// A chart that could not be drawn says why.
async function undrawn(image) {
  if (!(image instanceof HTMLImageElement) || !image.dataset.drawn) return;
  const line = document.createElement("p");
  line.className = "soft";
  line.textContent = image.dataset.drawn;
  const address = image.currentSrc || image.src;
  (image.closest("picture") || image).replaceWith(line);
  try { line.textContent = (await (await fetch(address)).json()).error; } catch { /* the plain words do */ }
}
document.addEventListener("error", (event) => undrawn(event.target), true);
for (const image of document.querySelectorAll("[data-drawn]")) if (image.complete && image.currentSrc && !image.naturalWidth) undrawn(image);
setInterval(() => { if (document.querySelector("[data-age]") && !document.hidden) changed(["channels"]); }, 10000);
// What monitors know changes without the bridge being told.
setInterval(() => { if (document.querySelector("[data-ask]") && !document.hidden) changed(["alerts"]); }, 30000);
listen();
