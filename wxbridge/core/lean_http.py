"""Imports aiohttp so that it reads the system's certificate authorities when they are needed.

By itself it reads them twice on import, for connections that may never be made: 3 MB, and a twentieth of a start.
Import this module before anything imports aiohttp; later it changes nothing.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wxbridge.core.lean_imports import stand_ins


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
    make, load = ssl.create_default_context, ssl.SSLContext.load_default_certs

    def make_late() -> ssl.SSLContext:
        with _put(ssl.SSLContext, "load_default_certs", lambda *_: None, load):
            context = make()
        context.__class__ = _LateContext
        return context

    read = ssl.SSLContext.set_default_verify_paths
    with (
        _put(ssl, "create_default_context", make_late, make),
        _put(ssl.SSLContext, "set_default_verify_paths", lambda *_: None, read),
    ):
        yield


@contextmanager
def _put(owner: Any, name: str, function: Callable[..., Any], usual: Callable[..., Any]) -> Iterator[None]:
    """Put a function in the place of the usual one for the block."""
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, usual)


if "aiohttp" not in sys.modules:
    # The quick list of what listens to a connection brings C++'s library, 1 MB; the lists have few entries.
    with _reading_later(), stand_ins({"frozenlist._frozenlist": None}):
        import aiohttp  # noqa: F401
