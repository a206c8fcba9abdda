"""Stand-ins for modules: for the block alone, and never for somebody else."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import pytest

from wxbridge.core.lean_imports import import_real, stand_ins


def test_a_stand_in_is_found_within_the_block_and_the_real_module_after_it() -> None:
    import colorsys as real

    with stand_ins({"colorsys": ModuleType("colorsys")}):
        import colorsys as stand_in
    import colorsys as after

    assert stand_in is not real
    assert after is real


def test_what_is_said_to_be_absent_cannot_be_imported_within_the_block() -> None:
    sys.modules.pop("sched", None)
    with stand_ins({"sched": None}), pytest.raises(ImportError):
        import sched
    import sched

    assert sched.scheduler


def test_another_thread_waits_for_the_real_module() -> None:
    inside, done = threading.Event(), threading.Event()

    def load() -> None:
        with stand_ins({"colorsys": ModuleType("colorsys")}):
            inside.set()
            done.wait(60)

    loading = threading.Thread(target=load)
    loading.start()
    inside.wait(60)
    threading.Timer(0.05, done.set).start()
    assert import_real("colorsys").rgb_to_hsv
    loading.join()
