"""A bridge under load that is killed over and over: `python -m bench crash --rounds 500`. Minutes, not seconds.

The load, the kills and the account are the end-to-end test's (`tests/e2e/crashing.py`); here are only more of
them. `WXBRIDGE_CRASH_SEED` repeats the choices of an earlier run, which prints its seed.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
import traceback
from collections import Counter

from bench.common import ROOT, Place, Row

WORLDS = 2
"""Bridges that live and die at the same time, each with a gateway and a database of its own."""
SECONDS_A_KILL = 3.0
"""Several times what one takes on an idle machine with two cores."""
SECONDS_TO_DRAIN = 180.0
"""More than the account itself waits for what was promised: so it can say what is stuck."""


def limit(rounds: int) -> float:
    """Seconds in which so many kills must be done."""
    return SECONDS_TO_DRAIN + rounds * SECONDS_A_KILL


async def measure(place: Place, rounds: int) -> list[Row]:
    """Kill `rounds` bridges; the rows say what became of every message that was acknowledged.

    Raises:
        RuntimeError: what the tests need is not installed.
    """
    # The tests are no part of the package: they are found where pytest finds them.
    sys.path.insert(0, str(ROOT))
    try:
        from tests.e2e.bridge_harness import Launcher
        from tests.e2e.crashing import crash
    except ModuleNotFoundError as error:
        raise RuntimeError(f"{error}; bring it with: {sys.executable} -m pip install --group dev") from error
    seed = int(os.environ.get("WXBRIDGE_CRASH_SEED") or secrets.randbits(32))
    print(f"  WXBRIDGE_CRASH_SEED={seed}", file=sys.stderr, flush=True)
    began = time.monotonic()
    launcher = Launcher()
    try:
        accounts = await crash(place.path, launcher, kills=rounds, worlds=WORLDS, seed=seed)
    except Exception:
        traceback.print_exc()  # the table has room for a word only
        raise
    finally:
        launcher.close()
    faults = [fault for account in accounts for fault in account.faults()]
    for fault in faults:
        print(f"  {fault}", file=sys.stderr, flush=True)
    moments: Counter[str] = sum((account.kills for account in accounts), Counter())
    promised = sum(len(set(account.acknowledged)) for account in accounts)
    arrived = sum(len(account.counts) for account in accounts)
    repeats = sum(account.repeats for account in accounts)
    found = sum(account.under_way.total() for account in accounts)
    lost = sum(len(set(account.acknowledged) - set(account.counts)) for account in accounts)
    marked = sum(each_marked for account in accounts for _, each_marked in account.arrived)
    words = ", ".join(f"{count} {moment}" for moment, count in sorted(moments.items()))
    seconds = f"seed {seed}, {time.monotonic() - began:.0f} s"
    return [
        _count("SIGKILLs under load", moments.total(), note=f"{words}; {seconds}"),
        _count("– messages acknowledged with 202", promised),
        _count("– of them delivered at least once", promised - lost, note=f"{arrived - promised + lost} besides"),
        _count("– lost", lost, most=0),
        _count("– out of order, or repeated otherwise than allowed", len(faults) - lost, most=0),
        _count("– repeats", repeats, most=found, note=f"{marked} texts marked; {found} found being sent at a kill"),
    ]  # fmt: skip


def _count(figure: str, number: int, *, most: int | None = None, note: str = "") -> Row:
    return Row(figure, [number], "", None if most is None else most + 1, digits=0, note=note)
