"""How Chinese is written: full-width signs in sentences, one word for one thing, no English reason within."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import REPOSITORY
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import load_texts, say

_HALF_WIDTH = r"[,:;?!()]"
_CHINESE = "[\u3400-\u9fff，。；：？！、（）“”…]"
_CODE = re.compile(r"`[^`]*`|!=|=~|!~|https?://\S+|\w+\([^()]*\)")
_NO_SENTENCES = re.compile(r"language\.|bot\.commands\..*\.words$")
TEXTS = {key: text for key, text in load_texts("zh").items() if not _NO_SENTENCES.match(key)}


def half_width(text: str) -> Iterator[str]:
    """Give the lines of a text that have a sign of half the width beside Chinese."""
    for line in text.splitlines():
        # What is filled in stands for words.
        plain = re.sub(r"\{\w+\}", "文", _CODE.sub("x", line))
        found = re.search(rf"{_CHINESE}\s*(?:{_HALF_WIDTH})|(?:{_HALF_WIDTH})\s*{_CHINESE}", plain)
        has_point = re.search(r"[\u3400-\u9fff]\.(?!\w)|\.[\u3400-\u9fff]", line)
        if has_point or (found and not re.fullmatch(r".*\d,\d .*", line)):
            yield line


def test_signs_between_chinese_words_are_full_width() -> None:
    chinese = {key: text for key, text in TEXTS.items() if re.search(_CHINESE, text)}
    assert len(chinese) > 1000
    assert [f"{key}: {line}" for key, text in chinese.items() for line in half_width(text)] == []


@pytest.mark.parametrize(
    ("word", "instead"),
    [("静音", "暂停"), ("通道", "渠道"), ("桥接", "网桥"), ("没有数据", "无数据"), ("信道", "渠道"), ("登陆", "登录"),
     ("账户", "账号"), ("帐号", "账号"), ("缺省", "默认")],
)  # fmt: skip
def test_one_thing_has_one_word(word: str, instead: str) -> None:
    assert [key for key, text in TEXTS.items() if word in text] == [], f"write {instead}"


def test_the_words_for_the_states_of_a_channel_are_those_of_the_console() -> None:
    prefix = "bot.status.channel."
    states = [key.removeprefix(prefix) for key in TEXTS if key.startswith(prefix)]
    assert states
    assert {state: TEXTS[f"{prefix}{state}"] for state in states} == {
        state: TEXTS[f"console.channel.{state}"] for state in states
    }


# ---------------------------------------------------------------- errors

_RAISED = frozenset(
    [
        "Offline",
        "Unauthorised",
        "Throttled",
        "Transient",
        "Unknown",
        "Permanent",
        "BadAddress",
        "PictureError",
        "NothingToDraw",
        "PictureTimeout",
        "PictureRefused",
        "StorageError",
        "WxbridgeError",
    ]
)
_READ_ELSEWHERE = ("cli", "simulator", "config")
"""What stands in a terminal, beside the command's English."""
_GAPS = ("17", "http://x/y", "401")


def written_sentences() -> Iterator[tuple[str, list[str]]]:
    """Where an error that people may read is raised, or a finding made, and its sentences with gaps filled in."""
    root = REPOSITORY / "wxbridge"
    for file in sorted(root.rglob("*.py")):
        if file.relative_to(root).parts[0] in _READ_ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            said = node.args[:1] if name in _RAISED else node.args[2:4] if name == "Finding" else []  # type: ignore[attr-defined]
            for argument in said:
                filled = [words for gap in _GAPS if (words := fill_in(argument, gap))]
                if filled and len(re.findall("[A-Za-z]{2,}", filled[0])) > 1:
                    yield f"{file.relative_to(root)}:{argument.lineno}", filled


def fill_in(argument: ast.expr, gap: str) -> str:
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    if not isinstance(argument, ast.JoinedStr):
        return ""
    filled = ""
    for at, piece in enumerate(argument.values):
        if isinstance(piece, ast.Constant):
            filled += str(piece.value)
        elif filled.endswith("HTTP "):
            filled += "401"
        elif at == 0 or isinstance(argument.values[at - 1], ast.Constant):
            filled += gap
    return filled


def test_every_error_that_is_raised_is_told_in_chinese() -> None:
    untold = []
    for where, filled in written_sentences():
        told = [tell_error(words, "zh", sections=("errors", "findings")) for words in filled]
        if not any(re.search("[\u3400-\u9fff]", words) and not words.startswith("“") for words in told):
            untold.append(f"{where}: {filled[0]}")
    assert not untold, "\n".join(untold)


@given(st.sampled_from(sorted(load_texts("en"))), st.text(max_size=30))
def test_an_error_says_what_it_was_given(key: str, words: str) -> None:
    told = tell_error(words, "zh")
    assert words in told or re.search("[\u3400-\u9fff]", told)
    assert tell_error(f"the text is empty: {key} sends none", "zh") == f"文本是空的，{key} 不发送空文本"


@pytest.mark.parametrize(
    "line",
    [
        say("delivery.refused", "zh", target="ops", reason=tell_error("WeCom answers 1; the message is too big", "zh")),
        say("delivery.dead", "zh", id=1, target="ops", error=tell_error("expired while waiting", "zh")),
        say("jobs.failed", "zh", id="x", error=tell_error("the database does not answer in time", "zh")),
        tell_error(
            "Target ops: no room is called '运维'. Did you mean '运维群'? `wxbridge rooms` lists the 12 known. Is the "
            "bot's account a member of it? Save it to its contacts, write something there, or use its id.", "zh"
        ),
    ],
)  # fmt: skip
def test_no_english_reason_stands_in_a_chinese_sentence(line: str) -> None:
    assert not re.search(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}", re.sub("`[^`]*`", "", line)), line


def test_words_that_nobody_here_wrote_are_quoted() -> None:
    why = tell_error("WeCom answers 40058 rule mismatch in request; look at `tag`", "zh")
    assert why == "WeCom 返回 40058 rule mismatch in request；请检查 `tag`"
    assert tell_error("upstream said no to this", "zh") == "“upstream said no to this”"
