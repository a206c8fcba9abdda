"""Words within texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core.text.words import has_word

_SIGNS = st.text("aZ9_- 中é.\n", max_size=12)


@pytest.mark.parametrize(
    ("text", "word", "stands"),
    [
        ("disk full on db-1", "db-1", True),
        ("disk full on db-10", "db-1", False),
        ("db-10, then db-1", "db-1", True),
        ("主机db-1磁盘满", "db-1", True),
        ("web_1 is down", "web", True),
        ("", "web", False),
    ],
)
def test_a_word_stands_in_a_text_where_no_letter_and_no_digit_is_at_it(text: str, word: str, stands: bool) -> None:
    assert has_word(text, word) is stands


@given(_SIGNS, _SIGNS.filter(bool), st.sampled_from(("", "_", "_-")))
def test_it_is_found_as_a_pattern_would_find_it(text: str, word: str, also: str) -> None:
    own = f"[A-Za-z0-9{re.escape(also)}]"
    assert has_word(text, word, also) is bool(re.search(rf"(?<!{own}){re.escape(word)}(?!{own})", text))
