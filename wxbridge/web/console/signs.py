"""The signs that messages begin with, drawn by the page itself: many machines have no font with them."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_DISC = "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z"
_BELL = "M18 16H6c1-1.5 1.5-3 1.5-6a4.5 4.5 0 0 1 9 0c0 3 .5 4.5 1.5 6zM10.5 19.5h3"
_FLAME = (
    "M12.5 2c1 4 6.5 6 6.5 12.3 0 4.4-3 7.7-7 7.7s-7-3.2-7-7.3c0-3 1.5-4.9 2.8-6.4.2 2 1 3 2 3.4-.5-3.9.2-7.2 2.7-9.7z"
)
_CHAIN = "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1"
_WAVE = "M3 9c2 0 2 2 4.5 2S10 9 12 9s2 2 4.5 2S19 9 21 9M3 15c2 0 2 2 4.5 2s2.5-2 4.5-2 2 2 4.5 2 2.5-2 4.5-2"
SIGNS = {
    "🔴": ("critical", _DISC),
    "🟠": ("major", _DISC),
    "🟡": ("warning", _DISC),
    "🔵": ("info", _DISC),
    "🟢": ("good", _DISC),
    "⚪": ("none", _DISC),
    "🔥": ("critical", _FLAME),
    "✅": ("good", "M4 12.5 9.5 18 20 6.5"),
    "❌": ("critical", "M6 6l12 12M18 6 6 18"),
    "⚠": ("warning", "M12 4 21.5 20h-19zM12 10v4.5M12 17.2v.1"),
    "ℹ": ("info", "M12 11v6M12 7.2v.1M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z"),
    "📨": ("soft", "M3 6h18v12H3zM3.5 6.5l8.5 7 8.5-7"),
    "🔗": ("soft", _CHAIN),
    "📈": ("soft", "M4 4v16h16M7 15l4-4 3 3 5-7"),
    "📊": ("soft", "M4 20h16M7 17v-5M12 17V7M17 17v-8"),
    "🔔": ("soft", _BELL),
    "🔕": ("soft", f"{_BELL}M4 4l16 16"),
    "🖼": ("soft", "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.1"),
    "↻": ("soft", "M19 12a7 7 0 1 1-2.2-5.1M19 3.5V8h-4.5"),
    "🌊": ("info", _WAVE),
    "⏳": ("soft", "M7 3h10c0 5-3.5 6-3.5 9S17 16 17 21H7c0-5 3.5-6 3.5-9S7 8 7 3z"),
    "⏸": ("soft", "M9 5v14M15 5v14"),
}
"""By the sign: what it says, as a class of the style sheet, and its path (24 by 24)."""
_PATTERN = re.compile(f"({'|'.join(SIGNS)})\ufe0f?")


def draw_signs(text: str) -> Markup:
    """Write a text for a page, with its signs drawn; a copy of it has the signs themselves."""
    parts = _PATTERN.split(text)
    # Every second part is a sign.
    return Markup("").join(_draw(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def _draw(sign: str) -> Markup:
    kind, path = SIGNS[sign]
    filled = " filled" if path in (_DISC, _FLAME) else ""
    return Markup(
        '<span class="sign {}{}"><span class="only-read">{}</span>'
        '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="{}"/></svg></span>'
    ).format(kind, filled, sign, path)
