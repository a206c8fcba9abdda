"""Promise 1 and 2 under SIGKILL: what was acknowledged arrives, in order, and only what was being sent is repeated."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from .bridge_harness import Launcher
from .crashing import crash

KILLS = 30
"""`python -m bench crash` does hundreds."""


@pytest.mark.timeout(400)
@pytest.mark.long
async def test_thirty_kills_under_load_lose_nothing_and_repeat_only_what_was_being_sent(
    tmp_path: Path, launcher: Launcher
) -> None:
    seed = int(os.environ.get("WXBRIDGE_CRASH_SEED") or secrets.randbits(32))
    print(f"WXBRIDGE_CRASH_SEED={seed}")  # noqa: T201 - shown where the test fails
    accounts = await crash(tmp_path, launcher, kills=KILLS, worlds=2, seed=seed)
    for account in accounts:
        print(account.summary())  # noqa: T201
        assert account.faults() == []
    assert sum(account.kills.total() for account in accounts) == KILLS
    assert sum(len(account.acknowledged) for account in accounts) > 10 * KILLS
    # Otherwise the kills were never in the middle of a send, and this proves nothing.
    assert any(account.under_way for account in accounts)
