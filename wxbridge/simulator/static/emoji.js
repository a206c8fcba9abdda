"use strict";

// The signs that alerts use, drawn here: servers often have no font with coloured emoji. All others are
// left to the browser's fonts. Give a text, get a list of strings and nodes; copied text keeps the sign.

const EMOJI = (() => {
  const round = (fill) => [["circle", { cx: 12, cy: 12, r: 9.5, fill }]];
  const square = (fill) => [["rect", { x: 2.5, y: 2.5, width: 19, height: 19, rx: 3.5, fill }]];
  const stroke = (d, colour, width) => ["path", { d, fill: "none", stroke: colour, "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" }];
  const bell = ["path", { d: "M12 2.5c-3.8 0-6.2 2.8-6.2 6.5 0 4.5-1.8 6-2.3 7.5h17c-.5-1.5-2.3-3-2.3-7.5 0-3.7-2.4-6.5-6.2-6.5zM9.5 18.5a2.5 2.5 0 0 0 5 0z", fill: "#f6b73c" }];
  return new Map(Object.entries({
    "🔴": round("#e8453c"), "🟠": round("#f5902a"), "🟡": round("#f5c92a"), "🟢": round("#34b45a"), "🔵": round("#3d8bf2"), "🟣": round("#9a62d8"),
    "⚪": [["circle", { cx: 12, cy: 12, r: 9, fill: "#f3f3f3", stroke: "#c4c4c4" }]], "⚫": round("#3b3b3b"),
    "🟥": square("#e8453c"), "🟧": square("#f5902a"), "🟨": square("#f5c92a"), "🟩": square("#34b45a"),
    "✅": [...square("#34b45a"), stroke("m7 12.5 3.5 3.5L17 8.5", "#fff", 2.6)],
    "❌": [stroke("M5 5l14 14M19 5 5 19", "#e8453c", 4)],
    "❗": [stroke("M12 4v9", "#e8453c", 4), ["circle", { cx: 12, cy: 19, r: 2.3, fill: "#e8453c" }]],
    "⚠": [["path", { d: "M12 2.5 22.5 21h-21z", fill: "#f7c325", stroke: "#f7c325", "stroke-linejoin": "round", "stroke-width": 2 }], stroke("M12 9v5.5", "#4a3a00", 2.2), ["circle", { cx: 12, cy: 18, r: 1.3, fill: "#4a3a00" }]],
    "🔔": [bell], "🔕": [bell, stroke("M4 4l16 16", "#e8453c", 2.4)],
    "🔥": [["path", { d: "M12.5 1.5c1 4 6.5 6 6.5 12.5 0 4.5-3 8-7 8s-7-3.3-7-7.5c0-3 1.5-5 2.8-6.5.2 2 1 3 2 3.4-.5-3.9.2-7.4 2.7-9.9z", fill: "#f2662b" }], ["path", { d: "M12 22c-2.2 0-3.7-1.7-3.7-3.8 0-2.4 2-3.6 3-6 2 1.7 4.3 3.4 4.3 6 0 2.2-1.5 3.8-3.6 3.8z", fill: "#fcc63a" }]],
    "ℹ": [...square("#3d8bf2"), stroke("M12 11v6", "#fff", 2.6), ["circle", { cx: 12, cy: 7.2, r: 1.6, fill: "#fff" }]],
    "📈": [["rect", { x: 2, y: 2, width: 20, height: 20, rx: 3, fill: "#fff", stroke: "#c9d2dc" }], stroke("m5 17 4.5-5 3.5 3 6-8", "#e8453c", 2)],
    "🔗": [stroke("M10 14a4 4 0 0 0 5.7 0l3.5-3.5a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.5 3.5a4 4 0 0 0 5.7 5.7l1.5-1.5", "#7d8da1", 2.4)],
    "📊": [["rect", { x: 2, y: 2, width: 20, height: 20, rx: 3, fill: "#fff", stroke: "#c9d2dc" }], stroke("M7 18v-6", "#34b45a", 3), stroke("M12 18V7", "#3d8bf2", 3), stroke("M17 18v-8", "#e8453c", 3)],
    "📨": [["rect", { x: 2, y: 5, width: 20, height: 14, rx: 2, fill: "#eef3f9", stroke: "#8ba3bf", "stroke-width": 1.4 }], stroke("m3 6.5 9 7 9-7", "#8ba3bf", 1.6)],
    "⏰": [["circle", { cx: 12, cy: 13, r: 8.5, fill: "#fff", stroke: "#e8453c", "stroke-width": 2.5 }], stroke("M12 8.5V13l3 2M4 5l3-2.5M20 5l-3-2.5", "#e8453c", 2)],
    "⏳": [["path", { d: "M6 2.5h12c0 6-4 7-4 9.5s4 3.5 4 9.5H6c0-6 4-7 4-9.5s-4-3.5-4-9.5z", fill: "#f6d9a0", stroke: "#a8763a", "stroke-width": 1.6 }]],
  }));
})();

const EMOJI_PATTERN = new RegExp(`(?:${[...EMOJI.keys()].join("|")})\uFE0F?`, "gu");

function withEmoji(text) {
  const pieces = [];
  let from = 0;
  for (const found of text.matchAll(EMOJI_PATTERN)) {
    if (found.index > from) pieces.push(text.slice(from, found.index));
    const sign = document.createElement("span");
    sign.className = "emoji";
    const letters = document.createElement("span");
    letters.textContent = found[0];
    sign.append(letters, svg("0 0 24 24", ...EMOJI.get(found[0].replace("\uFE0F", ""))));
    pieces.push(sign);
    from = found.index + found[0].length;
  }
  if (from < text.length) pieces.push(text.slice(from));
  return pieces;
}
