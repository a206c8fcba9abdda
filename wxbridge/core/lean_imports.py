"""Keeps out of the process what a library imports by the way and the bridge never uses.

Each use names the library, and what it saves; `tests/integration/test_imports.py` looks at what a running bridge has
imported, with the versions that are installed.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

_importing = threading.RLock()
"""Held while there are stand-ins, which are for the thread that asked for them alone."""


def import_real(name: str) -> Any:
    """Import a module that may have a stand-in: waits, some tenths of a second, until there is none."""
    with _importing:
        return importlib.import_module(name)


def late_module(name: str, *functions: str) -> ModuleType:
    """Make a stand-in that has these functions; each imports the real module when it is called."""

    def call(function: str, /, *given: Any, **named: Any) -> Any:
        return getattr(import_real(name), function)(*given, **named)

    module = ModuleType(name)
    vars(module).update({function: partial(call, function) for function in functions})
    return module


@contextmanager
def stand_ins(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Have imports within the block find these modules, by name; None has an import fail as if it were not installed.

    A module that is loaded already is put aside for the block: nobody else finds the stand-in afterwards. Who may want
    the real one meanwhile, in another thread, calls `import_real`.
    """
    with _importing, _replaced(modules):
        yield


@contextmanager
def _replaced(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)  # type: ignore[arg-type] # None is what the import system takes for absent
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@contextmanager
def put(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put a value in the place of a module's or a class's usual one for the block."""
    usual = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, usual)
