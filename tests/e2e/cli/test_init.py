"""`wxbridge init`: a first jobs.yaml that `check` accepts as it is."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.e2e.bridge_harness import Launcher

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(launcher: Launcher, tmp_path: Path) -> Run:
    """Run a command in an empty directory, as a Chinese without a terminal."""
    return partial(launcher.run, directory=tmp_path, environment=os.environ | {"LANG": "zh_CN.UTF-8", "LC_ALL": ""})


@pytest.mark.parametrize(
    "options",
    [
        ["--channel", "wecom_robot", "--key", "0123-abcd"],
        ["--channel", "ilink", "--person", "张三", "--person", "李四"],
        ["--channel", "wechat"],
    ],
    ids=lambda options: options[1],
)
def test_what_it_writes_is_accepted_as_it_is_and_is_never_overwritten(
    run: Run, tmp_path: Path, options: list[str]
) -> None:
    first = run("init", "--yes", *options)
    assert first.returncode == 0, first.stderr
    path = tmp_path / "jobs.yaml"
    text = path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(text)["language"] == "zh"
    checked = run("check")
    assert checked.returncode == 0, checked.stderr
    again = run("init", "--yes", "--channel", "wecom_robot", "--key", "another")
    assert again.returncode != 0
    assert "jobs.yaml" in again.stderr
    assert path.read_text(encoding="utf-8") == text


def test_everybody_who_scans_is_told(run: Run, tmp_path: Path) -> None:
    assert run("init", "--yes", "--channel", "ilink", "--person", "张三、李四, Wang Wu").returncode == 0
    written = yaml.safe_load((tmp_path / "jobs.yaml").read_text(encoding="utf-8"))
    assert written["ilink"] == {"people": ["张三", "李四", "Wang Wu"], "master": "张三"}
    assert {name: target["person"] for name, target in written["targets"].items()} == {
        "ops": "张三", "李四": "李四", "Wang Wu": "Wang Wu"
    }  # fmt: skip
    assert written["routes"] == [{"to": ["ops", "李四", "Wang Wu"]}]
    assert run("check").returncode == 0


def test_the_key_is_read_out_of_the_robots_whole_address(run: Run, tmp_path: Path) -> None:
    address = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123-abcd"
    assert run("init", "--yes", "--channel", "wecom_robot", "--key", address).returncode == 0
    written = yaml.safe_load((tmp_path / "jobs.yaml").read_text(encoding="utf-8"))
    assert written["targets"]["ops"]["key"] == "0123-abcd"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--channel"),
        (["--yes", "--channel", "smoke"], "--channel"),
        (["--yes", "--channel", "wecom_robot"], "--key"),
        (["--yes", "--channel", "wecom_robot", "--key", "no key: #1"], "`?key=`"),
        (["--yes", "--channel", "ilink"], "--person"),
        (["--yes", "--channel", "ilink", "--person", " "], "--person"),
        (["--channel", "ilink", "--key", "0123-abcd", "--person", "张三"], "--key"),
        (["--channel", "wechat", "--person", "张三"], "--person"),
    ],
)
def test_without_a_terminal_it_asks_nothing_and_says_what_is_missing(
    run: Run, tmp_path: Path, options: list[str], words: str
) -> None:
    done = run("init", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("closed", [True, False])
def test_it_never_hangs_at_a_standard_input_that_says_nothing(tmp_path: Path, closed: bool) -> None:
    """A pipe that stays open, as a container's or a CI's, and none at all."""
    ours, theirs = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wxbridge", "init", "--channel", "wecom_robot"], cwd=tmp_path, stdin=ours,
            capture_output=True, text=True, check=False, timeout=120,
            preexec_fn=(lambda: os.close(0)) if closed else None,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, "--key" in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def answer_at_a_terminal(folder: Path, typed: str) -> None:
    """Have `init` ask at a terminal, and type the answers."""
    master, slave = pty.openpty()
    with os.fdopen(master, "wb", 0) as keyboard:
        keyboard.write(typed.encode())
        done = subprocess.run(
            [sys.executable, "-m", "wxbridge", "init"], cwd=folder, stdin=slave, capture_output=True, text=True,
            check=False, timeout=120, env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        os.close(slave)
    assert done.returncode == 0, done.stderr


def test_a_person_at_a_terminal_is_asked(tmp_path: Path) -> None:
    answer_at_a_terminal(tmp_path, "9\n1\n张三\n")
    assert yaml.safe_load((tmp_path / "jobs.yaml").read_text(encoding="utf-8"))["ilink"]["people"] == ["张三"]


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("\n3\n\n  \n值班群\n", "room: 值班群"),
        ("2\n\nkey=0123-abcd\n", "key: 0123-abcd"),
        ("1\n\n张三\n", "person: 张三"),
    ],
)
def test_who_answers_nothing_is_asked_again(tmp_path: Path, typed: str, written: str) -> None:
    answer_at_a_terminal(tmp_path, typed)
    assert written in (tmp_path / "jobs.yaml").read_text(encoding="utf-8").replace('"', "")
