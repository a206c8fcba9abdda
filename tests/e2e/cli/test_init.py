"""`wxbridge init`: a first jobs.yaml that `check` accepts as it is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wxbridge", *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=120, env=os.environ | {"LANG": "zh_CN.UTF-8", "LC_ALL": ""},
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        ["--channel", "wecom_robot", "--key", "0123-abcd"],
        ["--channel", "ilink", "--person", "张三", "--person", "李四"],
        ["--channel", "wechat"],
    ],
    ids=lambda options: options[1],
)
def test_what_it_writes_is_accepted_as_it_is_and_is_never_overwritten(tmp_path: Path, options: list[str]) -> None:
    first = run(tmp_path, "init", "--yes", *options)
    assert first.returncode == 0, first.stderr
    path = tmp_path / "jobs.yaml"
    text = path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(text)["language"] == "zh"
    checked = run(tmp_path, "check")
    assert checked.returncode == 0, checked.stderr
    again = run(tmp_path, "init", "--yes", "--channel", "wecom_robot", "--key", "another")
    assert again.returncode != 0
    assert "jobs.yaml" in again.stderr
    assert path.read_text(encoding="utf-8") == text


def test_the_key_is_read_out_of_the_robots_whole_address(tmp_path: Path) -> None:
    address = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123-abcd"
    assert run(tmp_path, "init", "--yes", "--channel", "wecom_robot", "--key", address).returncode == 0
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
    ],
)
def test_without_a_terminal_it_asks_nothing_and_says_what_is_missing(
    tmp_path: Path, options: list[str], words: str
) -> None:
    done = run(tmp_path, "init", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())
