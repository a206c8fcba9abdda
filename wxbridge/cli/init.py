"""`init`: a first jobs.yaml, by a few questions or by options."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from wxbridge.cli.common import FAILED, WRONG_USAGE, ConfigOption, config_path, fail, read_config, say
from wxbridge.cli.reader import phrase, reader_language
from wxbridge.core.errors import ConfigError
from wxbridge.core.state_lock import PRIVATE_FILE

CHANNELS = ("ilink", "wecom_robot", "wechat")
_HEAD = """\
# {written}
# {editor}
# yaml-language-server: $schema=./jobs.schema.json

language: {language}
timezone: {timezone}
state_dir: ./state

server:
  listen: "127.0.0.1:8080"        # {listen}
  # token: "${{WXBRIDGE_TOKEN}}"

# grafana: {{url: "http://127.0.0.1:3000", token: "${{GRAFANA_TOKEN}}"}}     # {grafana}
# prometheus: {{url: "http://127.0.0.1:9090"}}

"""
_TAIL = """
# {routes}
routes:
  - {{to: [{told}]}}

jobs: []
#  - {{id: inspection, cron: "5 9-18 * * *", kind: screenshot, url: /d/UID/NAME, to: [ops]}}
"""


def init(
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes")] = False,  # noqa: FBT002
    channel: str | None = None,
    key: str | None = None,
    person: list[str] | None = None,
    room: str | None = None,
) -> None:
    """Write a first jobs.yaml, by a few questions or by options. One that is there stays as it is."""
    path = config_path(config)
    if path.exists():
        raise fail(f"{path} is there already, and stays as it is; `wxbridge check` looks at it")
    can_ask = not yes and sys.stdin.isatty()
    channel = channel or (_ask_channel() if can_ask else None)
    if channel not in CHANNELS:
        raise fail(f"--channel is missing or unknown: it is one of {', '.join(CHANNELS)}", WRONG_USAGE)
    for option, owner, given in (
        ("--key", "wecom_robot", key),
        ("--person", "ilink", person),
        ("--room", "wechat", room),
    ):
        if given and channel != owner:
            raise fail(f"{option} belongs to --channel {owner}, not to {channel}", WRONG_USAGE)
    told = ["ops"]
    if channel == "wecom_robot":
        section = _describe_robot(key or (_ask(phrase("terminal.init.ask_key")) if can_ask else ""))
    elif channel == "ilink":
        given = person or ([_ask(phrase("terminal.init.ask_people"))] if can_ask else [])
        # Several in one answer, as people part them.
        names_given = [name.strip() for part in given for name in re.split(r"[,，、;；]", part)]
        people = list(dict.fromkeys(filter(None, names_given)))
        section = _describe_people(people)
        told = [_name_of(number, _quote(name)) for number, name in enumerate(people)]
    else:
        section = _describe_room(room or (_ask(phrase("terminal.init.ask_room")) if can_ask else "技术讨论群"))
    names = ("written", "editor", "listen", "grafana", "routes")
    comments = {name: phrase(f"terminal.init.{name}") for name in names}
    head = _HEAD.format(language=reader_language(), timezone=_timezone(), **comments)
    _write(path, head + section + _TAIL.format(told=", ".join(told), **comments))
    say(f"{path} is written. Now: wxbridge run" + (", and scan the code" if channel != "wecom_robot" else ""))


def _write(path: Path, text: str) -> None:
    """Write the file, for its owner alone, as a robot's key is a secret; what `check` refuses does not stay."""
    try:
        with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, PRIVATE_FILE)) as file:
            file.write(text)
    except OSError as error:
        raise fail(f"{path} cannot be written: {error.strerror}", FAILED) from None
    try:
        read_config(path)
    except ConfigError:
        path.unlink()
        raise


def _describe_robot(key: str) -> str:
    key = key.strip().rpartition("key=")[2]
    if not key:
        raise fail("--key is missing: WeCom shows it in the robot's address, behind key=", WRONG_USAGE)
    return f"targets:\n  ops: {{channel: wecom_robot, key: {_quote(key)}}}\n\noperators: [ops]\n"


def _describe_people(people: list[str]) -> str:
    if not people:
        raise fail("--person is missing: a name for whoever will scan", WRONG_USAGE)
    names = [_quote(name) for name in people]
    targets = {_name_of(number, name): name for number, name in enumerate(names)}
    lines = "".join(
        f"  {target}: {{channel: ilink, person: {name}, commands: true}}\n" for target, name in targets.items()
    )
    return f"ilink: {{people: [{', '.join(names)}], master: {names[0]}}}\n\ntargets:\n{lines}"


def _name_of(number: int, name: str) -> str:
    """Name the target of a person: the first is that of the routes in most examples."""
    return "ops" if number == 0 else name


def _describe_room(room: str) -> str:
    return f"""\
wechat:
  endpoint: "${{WECHATY_PUPPET_SERVICE_ENDPOINT:-127.0.0.1:8788}}"
  token: "${{WECHATY_PUPPET_SERVICE_TOKEN:-insecure_00000000-0000-4000-8000-000000000000}}"
  # master: 张三                   # {phrase("terminal.init.master")}

targets:
  ops: {{channel: wechat, room: {_quote(room)}, commands: true}}

operators: [ops]
"""


def _ask_channel() -> str:
    for number, name in enumerate(CHANNELS, 1):
        say(f"  {number}  {phrase(f'terminal.init.{name}')}")
    while True:
        given = _ask(phrase("terminal.init.ask_channel", n=len(CHANNELS)))
        if given in CHANNELS:
            return given
        if given.isdecimal() and 1 <= int(given) <= len(CHANNELS):
            return CHANNELS[int(given) - 1]


def _ask(question: str) -> str:
    """Ask until there is an answer."""
    while True:
        say(question)
        line = sys.stdin.readline()
        if not line:
            raise fail("nobody answers: standard input has ended")
        if answer := line.strip():
            return answer


def _quote(text: str) -> str:
    """Write a text as YAML: JSON's strings are YAML's too."""
    return json.dumps(text, ensure_ascii=False)


def _timezone() -> str:
    """The machine's time zone by its IANA name, where it says so; else that of most who use this."""
    try:
        zone = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    except OSError:
        zone = ""
    return zone if "/" in zone and not zone.startswith(("Etc/", "posix")) else "Asia/Shanghai"
