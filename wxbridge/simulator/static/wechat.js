"use strict";

// Text from messages and names reaches the page as text nodes only, never as markup.

const COLOURS = ["#4c8bf5", "#f2994a", "#9b6dd6", "#27a589", "#e2647b", "#5a7fa8", "#c28a2c", "#6a9a3b"];
const SVG = "http://www.w3.org/2000/svg";
const PAUSE_SECONDS = 300;

const $ = (id) => document.getElementById(id);
const store = { get: (key) => { try { return localStorage.getItem(key); } catch { return null; } }, set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window */ } } };

let state = null;
let messages = [];
let open = null;
let connected = false;
const seen = new Map();

function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function svg(viewBox, ...shapes) {
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("viewBox", viewBox);
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    node.append(shape);
  }
  return node;
}

// People

function colourOf(person) {
  const at = state.contacts.findIndex((contact) => contact.id === person.id);
  return COLOURS[Math.max(at, 0) % COLOURS.length];
}

function robot() {
  return svg("0 0 40 40",
    ["rect", { width: 40, height: 40, fill: "#07a35a" }],
    ["path", { d: "M20 7v4", stroke: "#fff", "stroke-width": 2, "stroke-linecap": "round" }],
    ["circle", { cx: 20, cy: 7, r: 2.2, fill: "#fff" }],
    ["rect", { x: 9, y: 12, width: 22, height: 17, rx: 5, fill: "#fff" }],
    ["circle", { cx: 15.5, cy: 19.5, r: 2.3, fill: "#07a35a" }],
    ["circle", { cx: 24.5, cy: 19.5, r: 2.3, fill: "#07a35a" }],
    ["path", { d: "M15.5 25h9", stroke: "#07a35a", "stroke-width": 1.8, "stroke-linecap": "round" }],
    ["path", { d: "M6.5 18v6M33.5 18v6", stroke: "#fff", "stroke-width": 2.4, "stroke-linecap": "round" }]);
}

function paint(node, person) {
  if (person.id === state.bot.id) {
    node.replaceChildren(robot());
  } else {
    node.style.backgroundColor = colourOf(person);
    node.replaceChildren([...person.name][0] || "?");
  }
  node.title = person.name;
  return node;
}

function groupAvatar(room) {
  const node = el("div", "avatar group");
  for (const member of room.members.slice(0, 4)) node.append(paint(el("i"), member));
  return node;
}

// Conversations: rooms first, then a direct chat of each contact with the bot

function conversations() {
  const rooms = state.rooms.map((room) => ({ key: `room:${room.topic}`, id: room.id, kind: "room", name: room.topic, room }));
  const direct = state.contacts.map((contact) => ({ key: `contact:${contact.name}`, id: contact.id, kind: "contact", name: contact.name, contact }));
  return [...rooms, ...direct].map((entry) => {
    const its = messages.filter((message) => (entry.kind === "room" ? message.room_id : message.contact_id) === entry.id);
    return { ...entry, messages: its, last: its[its.length - 1] };
  });
}

function speakers(conversation) {
  return conversation.kind === "room" ? conversation.room.members.filter((member) => member.id !== state.bot.id) : [conversation.contact];
}

function me(conversation) {
  const people = speakers(conversation);
  return people.find((person) => person.name === store.get("speaker")) || people[0];
}

// Times

const two = (number) => String(number).padStart(2, "0");
const clock = (date) => `${two(date.getHours())}:${two(date.getMinutes())}`;
const dayOf = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

function longTime(seconds) {
  const date = new Date(seconds * 1000);
  const days = Math.round((dayOf(new Date()) - dayOf(date)) / 86400000);
  if (days === 0) return clock(date);
  if (days === 1) return `昨天 ${clock(date)}`;
  return `${date.getFullYear()}年${date.getMonth() + 1}月${date.getDate()}日 ${clock(date)}`;
}

function shortTime(seconds) {
  const date = new Date(seconds * 1000);
  const days = Math.round((dayOf(new Date()) - dayOf(date)) / 86400000);
  if (days === 0) return clock(date);
  return days === 1 ? "昨天" : `${date.getMonth() + 1}/${date.getDate()}`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

// Drawing

function preview(message) {
  const what = message.kind === "image" ? "[图片]" : message.kind === "file" ? `[文件] ${message.media.name}` : message.text.replace(/\s+/g, " ");
  return message.room_id ? `${message.talker.name}: ${what}` : what;
}

function drawList() {
  const wanted = $("search").value.trim().toLowerCase();
  const rows = [];
  for (const entry of conversations()) {
    if (wanted && !entry.name.toLowerCase().includes(wanted)) continue;
    const face = el("div", "face", entry.kind === "room" ? groupAvatar(entry.room) : paint(el("div", "avatar"), entry.contact));
    const unread = entry.messages.filter((message) => message.sent_by_bot && message.sequence > (seen.get(entry.key) || 0)).length;
    if (unread && entry.key !== open) face.append(el("span", "badge", unread > 99 ? "99+" : String(unread)));
    const head = el("div", "", el("b", "", entry.name));
    if (entry.kind === "contact") head.append(el("span", "tag", "私聊"));
    if (entry.last) head.append(el("time", "", shortTime(entry.last.timestamp)));
    const button = el("button", entry.key === open ? "on" : "", face, el("div", "entry", head, el("p", "", ...withEmoji(entry.last ? preview(entry.last) : ""))));
    button.type = "button";
    button.addEventListener("click", () => show(entry.key));
    rows.push({ node: el("li", "", button), last: entry.last ? entry.last.sequence : 0, room: entry.kind === "room" });
  }
  rows.sort((a, b) => b.last - a.last || Number(b.room) - Number(a.room));
  $("conversations").replaceChildren(...rows.map((row) => row.node));
}

function richText(text) {
  const pieces = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"'，。；、）】]+|@[^\s@]{1,32}(?=[\u2005\s]|$)/g)) {
    pieces.push(...withEmoji(text.slice(from, found.index)));
    if (found[0].startsWith("@")) {
      const before = text[found.index - 1];
      pieces.push(before && /[\w.]/.test(before) ? found[0] : el("span", "mention", found[0]));
    } else {
      const link = el("a", "", found[0]);
      link.href = found[0];
      link.target = "_blank";
      link.rel = "noopener noreferrer";
      pieces.push(link);
    }
    from = found.index + found[0].length;
  }
  pieces.push(...withEmoji(text.slice(from)));
  return pieces;
}

function content(message) {
  const address = `/api/picture/${encodeURIComponent(message.id)}`;
  if (message.kind === "image") {
    const image = el("img");
    image.src = address;
    image.alt = message.media.name;
    const scale = Math.min(1, 340 / message.media.width, 260 / message.media.height);
    image.width = Math.max(1, Math.round(message.media.width * scale));
    image.height = Math.max(1, Math.round(message.media.height * scale));
    const button = el("button", "picture", image);
    button.type = "button";
    button.title = `${message.media.name} · ${message.media.width}×${message.media.height} · ${size(message.media.size)}`;
    button.addEventListener("click", () => { $("viewer-image").src = address; $("viewer").showModal(); });
    return button;
  }
  if (message.kind === "file") {
    const link = el("a", "file", el("b", "", message.media.name), el("span", "", size(message.media.size)),
      svg("0 0 24 28", ["path", { d: "M3 1h12l7 7v19H3z", fill: "currentColor" }], ["path", { d: "M15 1v7h7z", fill: "#fff", opacity: 0.6 }]));
    link.href = address;
    link.download = message.media.name;
    return link;
  }
  return el("div", "bubble", ...richText(message.text));
}

function row(message, conversation) {
  const mine = !message.sent_by_bot && message.talker.id === me(conversation).id;
  const body = el("div", "body");
  if (!mine && message.room_id) body.append(el("div", "who", message.talker.name));
  body.append(content(message));
  const node = el("div", mine ? "row me" : "row", paint(el("div", "avatar"), message.talker), body);
  node.dataset.message = message.id;
  return node;
}

function drawChat(follow) {
  const conversation = conversations().find((entry) => entry.key === open);
  if (!conversation) return;
  const box = $("messages");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  const isRoom = conversation.kind === "room";
  $("title").textContent = isRoom ? `${conversation.name} (${conversation.room.members.length})` : state.bot.name;
  $("subtitle").textContent = isRoom ? conversation.room.members.map((member) => member.name).join("、") : `${conversation.name} 的私聊 direct chat`;
  const rows = [];
  let last = 0;
  for (const message of conversation.messages) {
    if (message.timestamp - last > PAUSE_SECONDS) rows.push(el("div", "when", longTime(message.timestamp)));
    last = message.timestamp;
    rows.push(row(message, conversation));
  }
  if (!rows.length) rows.push(el("div", "empty", "还没有消息", el("br"), "Nothing has been said here yet."));
  box.replaceChildren(...rows);
  if (follow || atEnd) {
    box.scrollTop = box.scrollHeight;
    $("newer").hidden = true;
  } else {
    $("newer").hidden = false;
  }
  if (conversation.last) seen.set(conversation.key, conversation.last.sequence);

  const people = speakers(conversation);
  const current = me(conversation);
  $("speaker").replaceChildren(...people.map((person) => {
    const option = el("option", "", person.name);
    option.selected = current && person.id === current.id;
    return option;
  }));
  $("mention").parentElement.hidden = !isRoom;
  $("mention-label").textContent = `@${state.bot.name}`;
  $("text").placeholder = isRoom ? "输入消息，用 @机器人 开头可以叫它，例如：@机器人 help" : "输入消息，例如：help";
  if (current) paint($("my-avatar"), current);
}

function drawLogin() {
  const loggedIn = state.login === "logged_in";
  $("login").hidden = loggedIn;
  if (!loggedIn) {
    const waiting = state.login === "waiting" && Boolean(state.qrcode);
    $("qr").hidden = !waiting;
    $("qr-wait").hidden = waiting;
    if (waiting && $("qr").dataset.code !== state.qrcode) {
      $("qr").dataset.code = state.qrcode;
      $("qr").src = `/api/qrcode.svg?${encodeURIComponent(state.qrcode)}`;
    }
    $("scan").hidden = !waiting;
    $("login-title").textContent = waiting ? "使用微信扫一扫登录" : "等待 wxbridge 连接";
    $("login-text").textContent = waiting ? `Scan to log in as ${state.bot.name}. 这是模拟的微信，点按钮即可。` : "Waiting for wxbridge to start the gateway.";
    $("login-foot").textContent = `gateway ${state.endpoint}`;
  }
  const link = $("link");
  const up = state.client_connected && state.gateway === "running";
  link.className = `link ${!connected || state.gateway === "stopped" ? "down" : up ? "up" : ""}`;
  link.lastChild.textContent = !connected ? "页面已断开，正在重连… reconnecting"
    : state.gateway === "stopped" ? "网关已停止 gateway is down"
    : state.gateway === "frozen" ? "网关假死中 gateway is frozen"
    : up ? "wxbridge 已连接 connected" : "等待 wxbridge 连接 no client";
  const [freeze, kill] = [$("freeze"), $("kill")];
  freeze.dataset.post = state.gateway === "frozen" ? "thaw" : "freeze";
  freeze.firstChild.textContent = state.gateway === "frozen" ? "网关恢复" : "网关假死";
  freeze.lastChild.textContent = state.gateway === "frozen" ? "Thaw the gateway" : "Freeze the gateway";
  kill.dataset.post = state.gateway === "stopped" ? "restart-gateway" : "kill-gateway";
  kill.firstChild.textContent = state.gateway === "stopped" ? "重启网关" : "网关崩溃";
  kill.lastChild.textContent = state.gateway === "stopped" ? "Restart the gateway" : "Kill the gateway";
}

function draw(follow) {
  if (!state) return;
  const known = conversations();
  if (!known.some((entry) => entry.key === open)) open = known.length ? known[0].key : null;
  drawLogin();
  drawChat(follow);
  drawList();
}

function show(key) {
  open = key;
  notice("");
  history.replaceState(null, "", `#${encodeURIComponent(key)}`);
  draw(true);
}

// Talking to the simulator

async function post(path, body) {
  try {
    const answer = await fetch(`/api/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body || {}) });
    return answer.ok ? "" : (await answer.json()).error;
  } catch {
    return "模拟器没有应答。The simulator does not answer.";
  }
}

function notice(problem, done) {
  $("problem").textContent = problem || done || "";
  $("problem").className = problem ? "bad" : "";
}

async function load() {
  const [stateAnswer, messagesAnswer] = await Promise.all([fetch("/api/state"), fetch("/api/messages")]);
  state = await stateAnswer.json();
  const fetched = await messagesAnswer.json();
  const newest = fetched.length ? fetched[fetched.length - 1].sequence : 0;
  // What came in while the answer was on its way is kept.
  messages = [...fetched, ...messages.filter((message) => message.sequence > newest)];
}

let again = false;
function redrawSoon(follow) {
  // A burst of messages is drawn once.
  again = again || Boolean(follow);
  if (redrawSoon.asked) return;
  redrawSoon.asked = true;
  requestAnimationFrame(() => { redrawSoon.asked = false; draw(again); again = false; });
}

function listen() {
  const source = new EventSource("/api/events");
  source.addEventListener("open", async () => {
    try { await load(); } catch { return; }
    connected = true;
    redrawSoon(true);
  });
  source.addEventListener("error", () => { connected = false; redrawSoon(); });
  source.addEventListener("message", async (event) => {
    const told = JSON.parse(event.data);
    if (told.state) {
      const ids = (one) => one && [one.bot, ...one.rooms, ...one.contacts].map((each) => each.id).join();
      const changed = ids(state) !== ids(told.state);
      state = told.state;
      if (changed) await load();
    } else if (!messages.some((message) => message.id === told.message.id)) {
      messages.push(told.message);
    }
    redrawSoon();
  });
}

$("scan").addEventListener("click", () => post("scan"));
$("search").addEventListener("input", drawList);
$("newer").addEventListener("click", () => draw(true));
$("messages").addEventListener("scroll", () => {
  const box = $("messages");
  if (box.scrollHeight - box.scrollTop - box.clientHeight < 40) $("newer").hidden = true;
});
$("speaker").addEventListener("change", () => { store.set("speaker", $("speaker").value); draw(true); });
$("viewer").addEventListener("click", () => $("viewer").close());
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("compose").requestSubmit(); }
});
$("compose").addEventListener("submit", async (event) => {
  event.preventDefault();
  const conversation = conversations().find((entry) => entry.key === open);
  const text = $("text").value;
  if (!conversation || !text.trim()) return;
  const body = { text, from: me(conversation).id, [conversation.kind]: conversation.id };
  if (conversation.kind === "room" && $("mention").checked) body.mention = true;
  const problem = await post("say", body);
  notice(problem);
  if (!problem) { $("text").value = ""; redrawSoon(true); }
});
function openTools(shown) {
  $("tools").hidden = !shown;
  $("tools-button").setAttribute("aria-expanded", String(shown));
}
$("tools-button").addEventListener("click", () => openTools($("tools").hidden));
for (const button of document.querySelectorAll("#tools button")) {
  button.addEventListener("click", async () => {
    openTools(false);
    const done = button.firstChild.textContent;
    notice(await post(button.dataset.post, JSON.parse(button.dataset.body || "{}")), `已执行：${done}`);
  });
}
document.addEventListener("click", (event) => { if (!event.target.closest("#tools, #tools-button")) openTools(false); });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") openTools(false); });

try { open = decodeURIComponent(location.hash.slice(1)) || null; } catch { open = null; }
listen();
