"""What a reader of markdown sees is what was written, in each service's dialect."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from wxbridge.alerts.render import add_line, in_markdown
from wxbridge.alerts.severity import EMOJI, SEVERITY_EMOJI
from wxbridge.channels.titles import make_title
from wxbridge.core.model import Capabilities, Text
from wxbridge.core.text.markdown import ENTITY, escape_markdown

TEXTS = st.lists(
    st.text("ab1 \t中_*`#>-+=~[]()<>!|\\.&$:;@/\"'", max_size=30)
    | st.sampled_from(["__probe_failed__", "<none>", "# no heading", "> 90 %", "node_*_exporter*", "&amp;", "<@all>",
                       "1. first", "- item", "report_final_v2_CN.pdf", '<font color="info">x</font>', "~~x~~", "$a$"]),
    min_size=1, max_size=5,
).map("\n".join)  # fmt: skip


def see(markdown: str, *, breaks: bool = True) -> str:
    """The characters that a reader sees, by a library that nobody here wrote; bold, links and colours are not seen."""
    shown = []
    for block in (
        MarkdownIt("commonmark", {"breaks": breaks, "html": True}).enable(["table", "strikethrough"]).parse(markdown)
    ):
        assert block.type in ("paragraph_open", "paragraph_close", "inline"), (block.type, markdown)
        line = ""
        for child in block.children or ():
            if child.type in ("hardbreak", "softbreak"):
                line += "\n" if child.type == "hardbreak" or breaks else " "
            elif child.type in ("text", "text_special"):
                line += child.content
            else:
                is_ours = child.type in ("strong_open", "strong_close", "link_open", "link_close") or re.fullmatch(
                    r'<font color="(info|comment|warning)">|</font>', child.content
                )
                assert is_ours, (child.type, child.content, markdown)
        if block.type == "inline":
            shown.append(line)
    return "\n\n".join(shown)


def essence(text: str) -> str:
    return "".join(text.replace("\u00a0", " ").replace("\u2003", "\t").split())


DIALECTS: dict[str, Callable[[str], str]] = {
    "an alert by wecom robot": lambda text: in_markdown(
        escape_markdown(text, line_end="\n"), colours=True, hard_breaks=False, levels={}
    ),
    "wecom robot": lambda text: in_markdown(escape_markdown(text, line_end="\n"), colours=True, hard_breaks=False),
    "markdown_v2": lambda text: in_markdown(escape_markdown(text, line_end="\n"), colours=False, hard_breaks=False),
    "dingtalk": lambda text: in_markdown(escape_markdown(text, line_end="\n"), colours=False, hard_breaks=True),
    "feishu": lambda text: in_markdown(escape_markdown(text, ENTITY, line_end="\n"), colours=False, hard_breaks=False),
    "wecom bot": escape_markdown,
}


@pytest.mark.parametrize("dialect", DIALECTS)
@given(TEXTS, st.sampled_from(["", *(f"{mark} " for mark in (*EMOJI.values(), *SEVERITY_EMOJI.values()))]))
def test_a_reader_sees_the_characters_that_were_written(dialect: str, text: str, mark: str) -> None:
    written = DIALECTS[dialect](f"{mark}{text}")
    assert essence(see(written, breaks=dialect != "dingtalk")) == essence(f"{mark}{text}")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_lines_stay_lines_and_indents_stay(dialect: str) -> None:
    text = "__failed__\nload of <none> is <5\n# not a heading\n> 90 % for 5m\n    deep\n1. first\n- item\n\nlast_one_"
    seen = see(DIALECTS[dialect](text), breaks=dialect != "dingtalk")
    assert seen.replace("\u00a0", " ") == text


def test_what_means_nothing_goes_as_it_is() -> None:
    for text in ("cpu_usage_total is 91.5 % on web-01 (5m)", "~5 min | 3 GB", "costs $5; x = {y}!", r"C:\Users\ops"):
        assert escape_markdown(text, line_end="\n") == text


def test_a_title_has_the_characters_too() -> None:
    for how in ("backslash", ENTITY):
        assert make_title(escape_markdown("🔥 __probe_failed__ of <none> & *x*", how)) == (
            "🔥 __probe_failed__ of <none> & *x*"
        )
    assert make_title("**🔥 [a](http://b) c**") == "🔥 a c"


def test_a_long_text_takes_no_long_time() -> None:
    began = time.thread_time()
    for text in (
        "~ " * 50_000,
        "$ " * 50_000,
        "_" * 100_000,
        "*a" * 50_000,
        "<" * 100_000,
        "](" * 50_000,
        "&" * 99_999,
    ):
        escape_markdown(text)
    assert time.thread_time() - began < 5


def test_a_line_that_is_put_below_a_markdown_is_seen_as_it_is_too() -> None:
    channel = Capabilities(text_limit=500, formats={"markdown": 500})
    line = "🖼 __a__ of <none>"
    for written in ("text", "markdown"):
        made = add_line(Text("**x**" if written == "markdown" else "x", (), written), line, channel)
        assert made
        assert (see(made) if written == "markdown" else made) == f"x\n{line}"
