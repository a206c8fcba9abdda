from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from wxbridge.core import logging as logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.getLogger("wxbridge").setLevel(logging.NOTSET)
    structlog.reset_defaults()


def lines(captured: pytest.CaptureFixture[str]) -> list[str]:
    out, err = captured.readouterr()
    assert not out, "standard output is for data"
    return err.splitlines()


def test_an_event_is_one_line_of_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    structlog.get_logger().info("message", room="技术讨论群", text="two\nlines \x1b[31m", sender=None, odd=object())
    (line,) = lines(capsys)
    event = json.loads(line)
    assert event["event"] == "message"
    assert event["level"] == "info"
    assert event["room"] == "技术讨论群"
    assert "技术讨论群" in line
    assert event["text"] == "two\nlines \x1b[31m"
    assert event["timestamp"].endswith("Z")


def test_an_event_is_one_line_for_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    structlog.get_logger().info("message", room="r@1", topic="技术讨论群", text="two\nlines\rthree \x1b[31mred")
    (line,) = lines(capsys)
    assert "技术讨论群" in line
    assert r"two\nlines\rthree" in line
    assert "\x1b" not in line, "nobody who writes in a room may colour our terminal"


@pytest.mark.parametrize(("log_format", "is_told"), [("text", True), ("json", False)])
def test_what_people_read_of_a_reason_is_in_their_language(
    capsys: pytest.CaptureFixture[str], log_format: logs.LogFormat, is_told: bool
) -> None:
    logs.configure(log_format)
    logs.speak("zh")
    reason = "the gateway at 127.0.0.1:8788 is not reached: Connection refused"
    try:
        structlog.get_logger().warning("wechat state", state="unreachable", detail=reason, room="the robot")
    finally:
        logs.speak("en")
    (line,) = lines(capsys)
    assert ("无法连接 Wechaty 网关（127.0.0.1:8788）：连接被拒绝" in line) is is_told
    assert (reason in line) is not is_told
    assert "the robot" in line, "what is no reason stays as it is"


def test_an_exception_stays_inside_its_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        int("no\nnumber")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capsys)
    assert "ValueError" in json.loads(line)["exception"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_libraries_warn_of_comes_in_the_same_format_and_their_chatter_does_not(
    capsys: pytest.CaptureFixture[str], log_format: logs.LogFormat
) -> None:
    logs.configure(log_format)
    library = logging.getLogger("apscheduler.scheduler")
    library.info("chatter")
    library.warning("Run time of job %s was missed", "a")
    (line,) = lines(capsys)
    assert "Run time of job a was missed" in line
    assert "warning" in line


def test_the_level_decides_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    (line,) = lines(capsys)
    assert "loud" in line
    logs.configure("text", "debug")
    structlog.get_logger().debug("whisper")
    assert len(lines(capsys)) == 1


def test_configuring_twice_says_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logs.configure("text")
    structlog.get_logger().info("once")
    assert len(lines(capsys)) == 1


def test_a_logger_that_is_made_once_writes_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", is_final=True)
    logger = structlog.get_logger()
    logger.info("one", alerts=1)
    logger.info("two")
    logger.bind(target="ops").warning("three")
    one, two, three = lines(capsys)
    assert one.endswith(" [info    ] one alerts=1")
    assert two.endswith(" [info    ] two")
    assert three.endswith(" [warning ] three target='ops'")


def test_no_colours_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("auto")
    structlog.get_logger().error("plain", key="value")
    (line,) = lines(capsys)
    assert "\x1b" not in line
