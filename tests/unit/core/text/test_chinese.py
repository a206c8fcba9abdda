"""How Chinese is written: full-width signs in sentences, one word for one thing."""

from __future__ import annotations

import re

import pytest

from wxbridge.core.text.i18n import load_texts

_HALF_WIDTH = r"[,:;?!()]"
_CHINESE = "[\u3400-\u9fff，。；：？！、（）“”…]"
_CODE = re.compile(r"`[^`]*`|!=|=~|!~|https?://\S+|\w+\([^()]*\)")
_NO_SENTENCES = re.compile(r"language\.|bot\.commands\..*\.words$")
TEXTS = {key: text for key, text in load_texts("zh").items() if not _NO_SENTENCES.match(key)}


@pytest.mark.parametrize("key", [key for key, text in TEXTS.items() if re.search(_CHINESE, text)])
def test_signs_between_chinese_words_are_full_width(key: str) -> None:
    for line in TEXTS[key].splitlines():
        # What is filled in stands for words.
        plain = re.sub(r"\{\w+\}", "文", _CODE.sub("x", line))
        found = re.search(rf"{_CHINESE}\s*(?:{_HALF_WIDTH})|(?:{_HALF_WIDTH})\s*{_CHINESE}", plain)
        assert not re.search(r"[\u3400-\u9fff]\.(?!\w)|\.[\u3400-\u9fff]", line), f"{key}: {line}"
        assert found is None or re.fullmatch(r".*\d,\d .*", line), f"{key}: {line}"


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
