"""Errors in the reader's language, by the sentences that they are raised with."""

from __future__ import annotations

import ast
import re
from string import Formatter

import pytest

from tests.support import REPOSITORY
from wxbridge.core.errors import PictureError
from wxbridge.core.text.error_words import SENTENCES, _patterns, tell_error, tell_sentence
from wxbridge.core.text.i18n import load_texts
from wxbridge.pictures.placeholders import PLACEHOLDERS, placeholder_error


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "http://g:3000/d/k/x: 3 panels (CPU, 磁盘) was still loading after 57.5 s (2 tries in 58 s)",
            "http://g:3000/d/k/x：3 个面板（CPU, 磁盘）在 57.5 秒后仍未加载完（58 秒内共试 2 次）",
        ),
        (
            "http://g:3000/d/k/x: the dashboard was still loading after 57.5 s",
            "http://g:3000/d/k/x：仪表盘在 57.5 秒后仍未加载完",
        ),
        (
            "http://g/d/k cannot be loaded: the connection was refused: nothing listens there (CONNECTION_REFUSED)",
            "http://g/d/k 无法加载：连接被拒绝，那里没有程序在监听（CONNECTION_REFUSED）",
        ),
        (
            "Grafana wants a login: it did not take grafana.token: has it expired, may it see this? (HTTP 401)",
            "Grafana 要求登录：grafana.token 未被接受：是否已过期，是否有权查看？（HTTP 401）",
        ),
        (
            "Grafana at http://g:3000 cannot be reached: Connection refused",
            "无法连接 Grafana（http://g:3000）：连接被拒绝",
        ),
        (
            "http://g/r was answered with HTTP 500; and by our own browser: http://g/d: Grafana's panel has no data",
            "http://g/r 返回 HTTP 500；改用自带浏览器：http://g/d：Grafana 面板无数据",
        ),
        ("the alert's own picture is empty; Connection refused", "告警自带的图片是空白的；连接被拒绝"),
        ("nobody knows this one; Connection refused", "“nobody knows this one”；连接被拒绝"),
        ("nobody knows this one", "“nobody knows this one”"),
        ("HTTP 502", "HTTP 502"),
        (
            "WeCom (the robot at https://qyapi.weixin.qq.com) is not reached: Connection refused",
            "无法连接 WeCom（机器人，https://qyapi.weixin.qq.com）：连接被拒绝",
        ),
        (
            "WeCom (robot 2 of 3 at http://w) is not reached: Connection refused",
            "无法连接 WeCom（机器人 2/3，http://w）：连接被拒绝",
        ),
        ("没有名为 web-9 the third one 的主机", "没有名为 web-9 the third one 的主机"),
        (
            "WeCom answers 93000 invalid webhook url; the robot was removed, or the key is wrong; look at `key`",
            "WeCom 返回 93000 invalid webhook url；机器人已被移除，或 key 有误，请检查 `key`",
        ),
        (
            "the WeChat gateway did not answer: Connection reset by peer; it may have been sent",
            "微信网关没有应答：连接被对方重置；消息可能已发出",
        ),
        (
            "WeChat is waiting for scan: scan the QR code with the bot's phone",
            "微信等待扫码：请用机器人的手机扫描二维码",
        ),
        ("expired after waiting; last: WeChat is not logged in", "等待过久已过期，最后一次错误：微信未登录"),
        ("", ""),
    ],
)
def test_an_error_is_told_in_chinese_with_what_it_quotes(english: str, chinese: str) -> None:
    assert tell_error(english, "zh") == chinese
    assert tell_error(english, "en") == english


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("3 sent", "已发送 3 条"),
        (
            "a.svg is an SVG drawing, which WeChat cannot show; link a PNG instead",
            "a.svg 是 SVG 图，微信无法显示；请改用 PNG 链接",
        ),
        (
            "'25:00' is no time; write one like 18:00 or 2026-12-31 18:00",
            "'25:00' 不是时间；请写成 18:00 或 2026-12-31 18:00",
        ),
        (
            "`jobs.0`: a job has one of `cron`, `every` and `at`, not cron and every",
            "`jobs.0`：一个任务只能有 `cron`、`every`、`at` 之一，而不是 cron and every",
        ),
        ("`jobs.0.width`: Input should be greater than 3, not 2", "`jobs.0.width`：必须大于 3，而不是 2"),
        ("`state_dir`: Input is not a valid path", "`state_dir`：应为路径"),
    ],
)
def test_what_commands_say_is_told_whole_and_not_half(english: str, chinese: str) -> None:
    assert tell_sentence(english, "zh") == chinese


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_grafana_s_placeholders_are_told_in_chinese(name: str) -> None:
    error: PictureError = placeholder_error(name)
    assert "Grafana " in tell_error(str(error), "zh")
    assert tell_error(str(error), "zh") != str(error)


def test_the_sentences_that_are_known_are_those_that_are_raised() -> None:
    written = {
        node.value
        for file in (REPOSITORY / "wxbridge").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    whole = "\0".join(written)
    others = re.compile(
        # The words of the system, pydantic, jinja2 and the database, those that name one of several things, the states
        # of channels, which are raised as `ChannelState` writes them.
        r"errors\.(connection_refused|connection_lost|unknown_name|no_such_file|no_permission|no_space|no_route|net_unreachable"
        r"|timed_out_plainly|reset_plainly|database_full|database_locked|state_.*)"
        r"|problems\.(should_be|valid_.*|parse_.*|whole_integer|at_least|above"
        r"|at_most|below|too_.*|pattern|or|none|is_directory|read_only|port_taken"
        r"|bad_address|wide_brac.*|brac.*_too_many|wrong_brac.*|target_needs|template_attribute|unknown_(target|interval).*)|api\.token"
        # The words of aiohttp and of typer; an event that begins with the channel.
        r"|api\.(not_found|no_method|body_size.*|expectation)|usage\..*|log\.wecom_bot_state"
    )
    for key, text in load_texts("en").items():
        if key.partition(".")[0] in (*SENTENCES, "log") and not others.fullmatch(key):
            # A sentence may be put together from several.
            words = [part for words, *_ in Formatter().parse(text) for part in re.split("[,:;.?] ", words)]
            pieces = [part.strip(" ();s") for part in words]
            missing = [words for words in pieces if len(words) > 12 and words not in whole]
            assert not missing, f"{key}: nobody raises {missing}"


def test_every_event_of_the_log_is_told_in_the_reader_s_language() -> None:
    known = {text for key, text in load_texts("en").items() if key.startswith("log.")}
    events: dict[str, str] = {}
    for file in (REPOSITORY / "wxbridge").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(ast.Name("log"), level), args=[said, *_]) if level in LEVELS:
                    words = (each.value for each in ast.walk(said) if isinstance(each, ast.Constant))
                    where = f"{file}:{node.lineno}"
                    events |= {word: where for word in words if isinstance(word, str)}
    assert len(events) > 150
    assert {event: where for event, where in events.items() if event not in known} == {}


LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
_GAPS = {"page": "https://g/d/k", "status": "502", "seconds": "57.5", "n": "17", "m": "18"}


@pytest.mark.parametrize("word", ["it", "`it`", "some words of it"])
def test_no_sentence_stands_behind_another_that_says_the_same(word: str) -> None:
    texts = load_texts("en")
    for key, text in texts.items():
        if key.partition(".")[0] in SENTENCES:
            gaps = {gap for _, gap, *_ in Formatter().parse(text) if gap is not None}
            said = text.format_map({gap: _GAPS.get(gap, word) for gap in gaps})
            found = next(each for each, pattern in _patterns(SENTENCES) if pattern.fullmatch(said))
            assert re.sub(r"{\w+}", "", texts[found]) != re.sub(r"{\w+}", "", text) or found == key, f"{key}: {found}"


def test_a_long_text_costs_no_time() -> None:
    text = "; ".join(["http://g: 3 panels (" * 5] * 30)
    assert tell_error(text[:2000], "zh")
