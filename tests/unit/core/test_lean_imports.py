"""Stand-ins for modules: for the block alone, and never for somebody else."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import pytest

from wxbridge.core.lean_imports import import_real, late_module, put, stand_ins


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


def test_a_late_module_imports_the_real_one_when_a_function_of_it_is_called() -> None:
    sys.modules.pop("colorsys", None)
    with stand_ins({"colorsys": late_module("colorsys", "rgb_to_yiq")}):
        from colorsys import rgb_to_yiq
    assert "colorsys" not in sys.modules

    assert rgb_to_yiq(1, 1, b=1)[0] == pytest.approx(1)
    assert "colorsys" in sys.modules


def test_a_value_is_in_the_place_of_the_usual_one_for_the_block() -> None:
    usual = sys.maxsize
    with put(sys, "maxsize", 1):
        assert sys.maxsize == 1
    assert sys.maxsize == usual
