"""Imports aiohttp so that it reads the system's certificate authorities, and much else, when they are needed.

By itself it reads them twice on import, for connections that may never be made: 3 MB, and a twentieth of a start.
The other libraries that wait are 1.5 MB.
Import this module before anything imports aiohttp; later it changes nothing.
"""

from __future__ import annotations

import mimetypes
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from wxbridge.core.lean_imports import late_module, put, stand_ins


class _LateContext(ssl.SSLContext):
    """Trusts the system's authorities, and reads them for the first connection; from then on it is a plain context."""

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection of asyncio's."""
        return self._read_authorities().wrap_bio(*given, **named)

    def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:
        """Begin a connection over a socket."""
        return self._read_authorities().wrap_socket(*given, **named)

    def _read_authorities(self) -> ssl.SSLContext:
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]
        self.load_default_certs()
        return self


@contextmanager
def _reading_later() -> Iterator[None]:
    """Have the contexts that are made within the block read no authorities yet; those that check none never do."""
    make = ssl.create_default_context

    def make_late() -> ssl.SSLContext:
        with put(ssl.SSLContext, "load_default_certs", lambda *_: None):
            context = make()
        context.__class__ = _LateContext
        return context

    with (
        put(ssl, "create_default_context", make_late),
        put(ssl.SSLContext, "set_default_verify_paths", lambda *_: None),
    ):
        yield


def _late_modules() -> dict[str, ModuleType | None]:
    """Make stand-ins for what aiohttp imports and calls hardly ever, or never."""
    late = [
        late_module("argparse", "ArgumentParser"),
        late_module("idna", "decode", "encode"),
        late_module("urllib.request", "getproxies", "proxy_bypass"),
    ]
    # The quick list of what listens to a connection brings C++'s library, 1 MB; the lists have few entries.
    return {"frozenlist._frozenlist": None} | {module.__name__: module for module in late}


if "aiohttp" not in sys.modules:
    # The types of files that are served are among those Python knows; the system's list is 0.4 MB.
    with _reading_later(), stand_ins(_late_modules()), put(mimetypes, "knownfiles", ()):
        import aiohttp.web  # noqa: F401
