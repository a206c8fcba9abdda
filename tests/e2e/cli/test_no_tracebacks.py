"""Nobody gets a traceback for what is no mistake of ours: other encodings, no rights, folders that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.bridge_harness import Launcher
from tests.support import free_port
from wxbridge.cli.commands import COMMANDS

RUN_ALL = """
import json, sys
from wxbridge import cli
for words in json.loads(sys.argv[1]):
    sys.argv = ["wxbridge", *words]
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
    print(f"@@ {words}: {code}", file=sys.stderr, flush=True)
"""
CONFIG = """\
timezone: Asia/Shanghai
server: {listen: "127.0.0.1:%d"}
targets: {运维群 🔥: {channel: console}}
operators: ["运维群 🔥"]
routes: [{to: ["运维群 🔥"], template: "不存在"}]
jobs: [{id: "你好 📈", at: "09:30", kind: text, text: "🔥", to: ["运维群 🔥"]}]
"""
SAID = [
    ["--help"], *([name, "--help"] for name in COMMANDS), ["schema"], ["check"], ["check", "--json"], ["status"],
    ["alerts"], ["alerts", "--json"], ["routes", "show"], ["routes", "show", "--json"], ["routes", "test", "a=🔥"],
    ["jobs", "list"], ["jobs", "list", "--json"], ["jobs", "run", "nobody 🔥"], ["outbox", "list"], ["rooms"],
    ["contacts"], ["silences"], ["silences", "add", "a=🔥", "--for", "2h"], ["silences", "--json"], ["send", "🔥", "x"],
    ["send", "运维群 🔥", "着火 🔥"], ["outbox", "list", "--json"], ["outbox", "show", "1"], ["alert", "test"],
    ["alert", "test", "--source", "🔥"], ["backup", "备份🔥"], ["restore", "备份🔥"], ["host"], ["init"],
    ["chart", "--expr", "up 🔥", "--explain"], ["template", "render", "🔥"], ["nonsense 🔥"],
    ["check", "-c", "🔥.yaml"],
]  # fmt: skip


@pytest.mark.parametrize(("encoding", "language"), [("gbk", "zh_CN.GBK"), ("ascii", "C"), ("gbk:strict", "zh_CN.GBK")])
def test_a_terminal_that_has_not_every_sign_gets_what_it_has(tmp_path: Path, encoding: str, language: str) -> None:
    (tmp_path / "jobs.yaml").write_text(CONFIG % free_port(), encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": encoding, "LANG": language, "LC_ALL": ""}
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(SAID)], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True,
        check=False, timeout=240, env=environment,
    )  # fmt: skip
    said = done.stderr.decode(encoding.partition(":")[0])
    assert "Traceback" not in said, said
    assert "UnicodeEncodeError" not in said
    assert said.count("@@ ") == len(SAID), said[-2000:]
    # What a program reads is whole.
    rows = done.stdout.decode(encoding.partition(":")[0]).partition('"matchers": [')
    assert rows[1]


def test_a_terminal_without_chinese_letters_is_spoken_to_in_english(tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text("language: zh\n", encoding="utf-8")
    for words in (["check", "--help"], ["check"], ["chek"]):
        done = subprocess.run(
            [sys.executable, "-m", "wxbridge", *words], cwd=tmp_path, capture_output=True, check=False, timeout=120,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode("ascii")
        assert said
        assert "???" not in said


def test_a_folder_that_is_not_there_is_named_before_any_work(launcher: Launcher, tmp_path: Path) -> None:
    for words in (["render", "http://127.0.0.1:1/"], ["chart", "--expr", "up", "--prometheus", "http://127.0.0.1:1"]):
        for output in (tmp_path / "no" / "where.png", tmp_path):
            done = launcher.run(*words, "-o", str(output), directory=tmp_path)
            assert done.returncode == 1
            assert str(output) in done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("state_dir", ["jobs.yaml/state", "/proc/nowhere/state"])
@pytest.mark.parametrize(
    "words", [["run"], ["status"], ["doctor"], ["backup", "b"], ["restore", "b"], ["send", "a", "x"]]
)
def test_a_state_directory_that_cannot_be_is_named(
    launcher: Launcher, tmp_path: Path, state_dir: str, words: list[str]
) -> None:
    if words == ["doctor"] and state_dir.startswith("/proc"):
        pytest.skip("root may write there, says the system")
    (tmp_path / "jobs.yaml").write_text(
        f"state_dir: {state_dir}\nserver: {{listen: '127.0.0.1:{free_port()}'}}\ntargets: {{a: {{channel: console}}}}\n"
        "routes: [{to: a}]\n",
        encoding="utf-8",
    )
    done = launcher.run(*words, directory=tmp_path)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    # Where nothing is read from it, its own file is what is missed.
    assert words[0] == "restore" or state_dir.partition("/state")[0] in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("status >&-", 1, ""),
        ("alerts --json >&-", 0, ""),
        ("silences >&-", 0, "no silences"),
        ("check >&- 2>&-", 0, ""),
        ("sendmail -t --url http://127.0.0.1:1 <&-", 65, "there is no mail on standard input"),
        ("token --stdin <&-", 2, "a token has at least 16 characters"),
        ("init -c new.yaml <&-", 2, "--channel is missing"),
        ("login a <&-", 2, "ilink"),
    ],
)
def test_streams_that_were_closed_before_the_start_are_empty_ones(
    tmp_path: Path, command: str, code: int, said: str
) -> None:
    (tmp_path / "jobs.yaml").write_text(CONFIG % free_port(), encoding="utf-8")
    done = subprocess.run(
        f"exec {sys.executable} -m wxbridge {command}", shell=True, cwd=tmp_path, capture_output=True, check=False,
        timeout=60, env=os.environ | {"LANG": "C.UTF-8"}, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def test_without_arguments_it_shows_its_help(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wxbridge"], cwd=tmp_path, capture_output=True, check=False, timeout=60, text=True,
        env=os.environ | {"LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "Usage: " in done.stdout
    assert "simulator" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8:surrogateescape"])
@pytest.mark.parametrize("given", [bytes(range(128, 256)) * 500, b"sixteen\x00characters\n"])
def test_what_is_no_text_is_no_token(tmp_path: Path, given: bytes, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wxbridge", "token", "--stdin"], cwd=tmp_path, capture_output=True, check=False,
        timeout=60, input=given, env=os.environ | {"LANG": "C.UTF-8", "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "a token is made of signs that can be printed; `wxbridge token` makes one"
    ]
    assert done.stdout == b""
