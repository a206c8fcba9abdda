"""Markdown of robots and HTML of text cards, as a person reads them; whatever is sent, in a moment."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core.text.markup import card_to_text, find_markdown_images, markdown_to_text

SIGNS = (
    " ", "a", "a ", "[", "![", "[a](", "](", '[a](b "', "[a](b", "![a](b", "__", "__a ", "**", "**a ", "<", "</", "<@",
    "<font ", "</at", "<at id=", "<at id=a>", "<a", "   > ", "- ", "`", "\n", " \n", "---", "# ",
)  # fmt: skip
PATIENCE = 10.0
"""Seconds for what takes one, and takes hours where a pattern looks at everything again and again."""


@pytest.mark.parametrize("sign", SIGNS)
def test_a_long_text_of_the_same_signs_takes_a_moment(sign: str) -> None:
    text = sign * (300_000 // len(sign)) + "b"
    start = time.process_time()
    for read in (markdown_to_text, card_to_text, find_markdown_images):
        read(text)
    assert time.process_time() - start < PATIENCE


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("## 磁盘\n> **主机**: db-1  \n> __级别__: `高`", "磁盘\n主机: db-1\n级别: 高"),
        ("a\n\n\n\n---\nb", "a\n\nb"),
        ('[看板](http://g/d/1?var[]=a "Grafana")', "看板 http://g/d/1?var[]=a"),
        ("[http://x](http://x) [](http://y)", "http://x http://y"),
        ("![p](http://x/p.png)完成", "完成"),
        ('<font color="warning">97 %</font><br/>x < 5', "97 %\nx < 5"),
        ("<@zhangsan> <at id=ou_1></at> <at ids='all'> </at>", "@zhangsan @ou_1 @all"),
        ('<at user_id="ou_1">Tom</at> 提醒 <at user_id="all">所有人</at>', "@Tom 提醒 @所有人"),
        ("**a __b", "**a __b"),
        ("2 ** 3, __init__, **x** y **z**", "2 ** 3, init, x y z"),
        ("[a](http://x)[b](http://y)后 [c](http://z)。", "a http://x b http://y 后 c http://z。"),
    ],
)
def test_marks_are_left_out_and_words_stay(markdown: str, text: str) -> None:
    assert markdown_to_text(markdown) == text


def test_a_card_has_a_line_for_each_block() -> None:
    card = '<div class="gray">9月26日</div><div class="normal">97 &lt; 98</div>x   '
    assert card_to_text(card) == "9月26日\n97 < 98\nx"


@given(st.lists(st.sampled_from(SIGNS), max_size=12).map("".join))
def test_whatever_is_sent_no_line_ends_with_blanks(text: str) -> None:
    for read in (markdown_to_text, card_to_text):
        assert not any(line.endswith(" ") for line in read(text).split("\n"))
