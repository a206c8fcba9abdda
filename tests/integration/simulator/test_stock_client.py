from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the stock client needs telnetlib")
def test_the_stock_wechaty_puppet_runs_a_whole_conversation(tmp_path: Path) -> None:
    script = Path(__file__).with_name("stock_client.py")
    # A process of its own: our channel mends wechaty for the whole process, and this is about the stock one.
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip().endswith("conversed"), done.stderr
