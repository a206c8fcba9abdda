"""The signs of messages, as the console draws them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.severity import EMOJI, MESSAGE_EMOJI, SEVERITY_EMOJI
from wxbridge.web.console.signs import SIGNS, draw_signs


def shown(text: str) -> str:
    """What is read, and copied."""
    return re.sub(r"<[^>]+>", "", draw_signs(text)).replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")


def test_every_mark_of_an_alert_is_drawn() -> None:
    for sign in (*EMOJI.values(), *SEVERITY_EMOJI.values(), MESSAGE_EMOJI, "🔗", "📈", "🔕", "⚠️", "↻"):
        assert "<svg" in draw_signs(f"{sign} x")


def test_what_is_around_a_sign_is_text_and_nothing_else() -> None:
    assert "<script" not in draw_signs("🔴 <script>alert(1)</script> & ✅")
    assert draw_signs("plain & <b>") == "plain &amp; &lt;b&gt;"


@given(st.text(alphabet=[*SIGNS, *"ab <>&\n"]))
def test_a_copy_has_the_signs_themselves(text: str) -> None:
    assert shown(text) == text
