"use strict";

// Everything drawn follows from the hour, so that two pictures of one hour show the same.

const HOUR = 3600000;
const SVG = "http://www.w3.org/2000/svg";
const POINTS = 121;
const asked = Number(new URLSearchParams(location.search).get("to"));
const end = new Date(Math.floor((asked > 0 && asked < 8.64e15 ? asked : Date.now()) / HOUR) * HOUR);
const start = new Date(end.getTime() - HOUR);

const GREEN = "#73bf69", YELLOW = "#f2cc0c", BLUE = "#5794f2", ORANGE = "#ff9830", RED = "#f2495c", PURPLE = "#b877d9";

const PANELS = [
  { kind: "stat", width: 3, zh: "在线 Broker", en: "Brokers online", text: () => ["3", "/ 3"], colour: GREEN, level: 0.4, sway: 0.01 },
  { kind: "stat", width: 3, zh: "消息吞吐", en: "Messages in", unit: " 万/s", level: 0.55, sway: 0.15, scale: 24, digits: 1, colour: BLUE },
  { kind: "stat", width: 3, zh: "消费积压", en: "Consumer lag", level: 0.35, sway: 0.25, scale: 4200, digits: 0, colour: ORANGE },
  { kind: "stat", width: 3, zh: "副本不足分区", en: "Under-replicated", text: () => ["0", ""], colour: GREEN, level: 0.15, sway: 0.01 },
  { kind: "lines", width: 6, zh: "Topic 写入速率", en: "Bytes in per topic", unit: " MB/s", scale: 80, fill: true, series: [["orders 订单", GREEN, 0.72], ["payments 支付", YELLOW, 0.46], ["logs 日志", BLUE, 0.26]] },
  { kind: "lines", width: 6, zh: "消费组积压", en: "Lag by consumer group", unit: "", scale: 5000, spike: true, series: [["billing", ORANGE, 0.22], ["search", PURPLE, 0.14], ["archive", BLUE, 0.08]] },
  { kind: "lines", width: 4, zh: "CPU 使用率", en: "CPU by broker", unit: "%", scale: 100, series: [["broker-1", GREEN, 0.52], ["broker-2", YELLOW, 0.44], ["broker-3", BLUE, 0.36]] },
  { kind: "bars", width: 4, zh: "请求错误数", en: "Failed requests", unit: "", scale: 60, series: [["timeout", RED, 0.3]] },
  { kind: "lines", width: 4, zh: "请求延迟 P99", en: "Produce latency", unit: " ms", scale: 120, fill: true, series: [["p99", PURPLE, 0.55], ["p50", GREEN, 0.18]] },
  { kind: "table", width: 12, zh: "各 Broker 状态", en: "Broker status" },
];

function dice(text) {
  // mulberry32 over a hash of the text
  let seed = 2166136261;
  for (const letter of text) seed = Math.imul(seed ^ letter.codePointAt(0), 16777619);
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function walk(name, level, sway, spike) {
  const random = dice(`${end.getTime()} ${name}`);
  const phase = random() * 6.28;
  const peak = 55 + random() * 40;
  let wander = 0;
  return Array.from({ length: POINTS }, (_, at) => {
    wander = wander * 0.9 + (random() - 0.5) * sway * 0.5;
    const hill = spike ? 0.62 * Math.exp(-((at - peak) ** 2) / 90) : 0;
    return Math.min(0.97, Math.max(0.02, level + sway * 0.4 * Math.sin(phase + at / 15) + wander + hill));
  });
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const two = (number) => String(number).padStart(2, "0");
const clock = (date) => `${two(date.getHours())}:${two(date.getMinutes())}`;

function frame(view, panel) {
  const box = { width: view.clientWidth || 400, height: view.clientHeight || 180, left: 62, right: 14, top: 10, bottom: 24 };
  const canvas = draw("svg", { viewBox: `0 0 ${box.width} ${box.height}` });
  for (let step = 0; step <= 4; step += 1) {
    const y = box.height - box.bottom - (box.height - box.bottom - box.top) * step / 4;
    canvas.append(draw("line", { x1: box.left, x2: box.width - box.right, y1: y, y2: y, stroke: "#2a2d34" }));
    canvas.append(draw("text", { x: box.left - 8, y: y + 4, "text-anchor": "end" }, `${panel.scale * step / 4}${panel.unit}`));
  }
  for (let step = 0; step <= 4; step += 1) {
    const x = box.left + (box.width - box.left - box.right) * step / 4;
    canvas.append(draw("line", { x1: x, x2: x, y1: box.top, y2: box.height - box.bottom, stroke: "#22252b" }));
    const anchor = step === 4 ? "end" : "middle";
    canvas.append(draw("text", { x, y: box.height - 8, "text-anchor": anchor }, clock(new Date(start.getTime() + HOUR * step / 4))));
  }
  box.x = (at) => box.left + (box.width - box.left - box.right) * at / (POINTS - 1);
  box.y = (value) => box.height - box.bottom - (box.height - box.bottom - box.top) * value;
  return [canvas, box];
}

const KINDS = {
  lines(view, panel) {
    const [canvas, box] = frame(view, panel);
    for (const [name, colour, level] of panel.series) {
      const points = walk(panel.en + name, level, 0.16, panel.spike).map((value, at) => `${box.x(at).toFixed(1)},${box.y(value).toFixed(1)}`).join(" ");
      if (panel.fill) canvas.append(draw("polygon", { points: `${box.x(0)},${box.y(0)} ${points} ${box.x(POINTS - 1)},${box.y(0)}`, fill: colour, opacity: 0.13 }));
      canvas.append(draw("polyline", { points, fill: "none", stroke: colour, "stroke-width": 1.6, "stroke-linejoin": "round" }));
    }
    view.replaceChildren(canvas);
  },
  bars(view, panel) {
    const [canvas, box] = frame(view, panel);
    const [name, colour, level] = panel.series[0];
    const values = walk(panel.en + name, level, 0.5).filter((_, at) => at % 4 === 0).slice(0, 30);
    const width = (box.width - box.left - box.right) / values.length;
    values.forEach((value, at) => canvas.append(draw("rect", { x: box.left + at * width + 1.5, y: box.y(value), width: width - 3, height: box.y(0) - box.y(value), fill: colour, opacity: 0.85, rx: 1 })));
    view.replaceChildren(canvas);
  },
  stat(view, panel) {
    const values = walk(panel.en, panel.level, panel.sway);
    const [number, unit] = panel.text ? panel.text() : [(values[POINTS - 1] * panel.scale).toFixed(panel.digits), panel.unit || ""];
    const canvas = draw("svg", { viewBox: "0 0 120 40", preserveAspectRatio: "none" });
    const points = values.map((value, at) => `${at},${40 - value * 20}`).join(" ");
    canvas.append(draw("polygon", { points: `0,40 ${points} 120,40`, fill: panel.colour, opacity: 0.15 }));
    canvas.append(draw("polyline", { points, fill: "none", stroke: panel.colour, "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }));
    const label = el("div", "number", el("span", "", number, el("small", "", unit)));
    label.style.color = panel.colour;
    view.replaceChildren(canvas, label);
  },
  table(view) {
    const rows = ["broker-1", "broker-2", "broker-3", "broker-4 (standby 备用)", "broker-5 (standby 备用)"].map((name, at) => {
      const random = dice(`${end.getTime()} ${name}`);
      const disk = 40 + random() * 45;
      const used = el("td", "", `${disk.toFixed(1)}%`);
      used.style.color = disk > 78 ? RED : disk > 65 ? ORANGE : GREEN;
      return el("tr", "", el("td", "", name), el("td", "", at < 3 ? String(180 + Math.floor(random() * 40)) : "0"), el("td", "", at < 3 ? `${(random() * 60 + 20).toFixed(1)} MB/s` : "0 MB/s"), el("td", "", at < 3 ? `${(random() * 40 + 5).toFixed(1)} ms` : "–"), used);
    });
    const head = el("tr", "", ...["Broker 节点", "Partitions 分区", "Traffic 流量", "P99 延迟", "Disk 磁盘"].map((title) => el("th", "", title)));
    view.replaceChildren(el("table", "", el("thead", "", head), el("tbody", "", ...rows)));
  },
};

{
  const day = `${end.getFullYear()}-${two(end.getMonth() + 1)}-${two(end.getDate())}`;
  document.getElementById("range").textContent = `${day} ${clock(start)} – ${clock(end)}`;
}

PANELS.forEach((panel, at) => {
  const view = el("div", "view", el("div", "loading"));
  const node = el("section", `panel ${panel.kind} is-loading`, el("h2", "", panel.zh, el("span", "", panel.en)), view);
  node.style.gridColumn = `span ${panel.width}`;
  if (panel.series && panel.series.length) {
    node.append(el("div", "legend", ...panel.series.map(([name, colour]) => {
      const mark = el("i");
      mark.style.backgroundColor = colour;
      return el("span", "", mark, name);
    })));
  }
  document.getElementById("grid").append(node);
  const wait = 100 + Math.floor(dice(`wait ${at}`)() * 200);
  setTimeout(() => { KINDS[panel.kind](view, panel); node.classList.remove("is-loading"); }, wait);
});
