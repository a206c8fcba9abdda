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
from types import ModuleType
from typing import Any

_importing = threading.RLock()
"""Held while there are stand-ins, which are for the thread that asked for them alone."""


def import_real(name: str) -> Any:
    """Import a module that may have a stand-in: waits, some tenths of a second, until there is none."""
    with _importing:
        return importlib.import_module(name)


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
