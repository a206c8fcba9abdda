"""`wxbridge host` on a machine without a bridge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wxbridge.cli import host


def test_the_disks_that_are_named_are_measured_and_one_that_is_not_mounted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)
    monkeypatch.setattr(host, "BETWEEN", 0.0)
    host.host(disk=["/", "/nowhere"], as_json=True)
    (told,) = json.loads(capsys.readouterr().out)
    disks = {name for name in told["figures"] if name.startswith(("disk:", "disk_missing:"))}
    assert disks == {"disk:/", "disk_missing:/nowhere"}
