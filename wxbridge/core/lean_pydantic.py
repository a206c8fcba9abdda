"""Imports pydantic's core without the shapes of its hundred schemas, which are for type checkers: 0.6 MB.

Import this module before anything imports pydantic; later it changes nothing.
"""

from __future__ import annotations

import sys
import typing
from typing import Any

import typing_extensions

from wxbridge.core.lean_imports import late_module, put, stand_ins


class _OneShape(type):
    """Makes every class that is written as a `TypedDict` the same plain dict."""

    def __new__(cls, _name: str, bases: tuple[Any, ...], _space: dict[str, Any], **_options: bool) -> Any:
        """Give the class that the new one would be derived from."""
        return bases[0]


if "pydantic_core" not in sys.modules:
    shape = type.__new__(_OneShape, "TypedDict", (dict,), {})
    with put(typing, "TypedDict", shape), put(typing_extensions, "TypedDict", shape):
        import pydantic_core  # noqa: F401
    # Pydantic and SQLAlchemy look for plug-ins with it, and no package lies in an archive: 0.2 MB.
    with stand_ins({"zipfile": late_module("zipfile", "Path")}):
        import importlib.metadata  # noqa: F401
