"""Makes `import wechaty` work on Python 3.11 to 3.13 with today's dependencies, and keeps it quiet.

wechaty 0.10.7 was written for older versions of what it stands on. Everything that is bent for it is
bent here, before the import; the family is pinned exactly in pyproject.toml.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from wxbridge.core.lean_imports import stand_ins

_FAMILY = ("wechaty", "wechaty_puppet", "wechaty_puppet_service", "wechaty_grpc")
_lock = threading.Lock()


def load(cache_dir: Path | None = None) -> ModuleType:
    """Import `wechaty` (0.3 s and 25 MB the first time) and give the module.

    `cache_dir` is where it may leave files; only the first call's counts, since wechaty reads it while
    being imported. Safe to call from any thread.

    Raises:
        ImportError: the installed wechaty family is not the one this module was written for.
    """
    with _lock:
        if "wechaty" not in sys.modules:
            _set_environment(cache_dir)
            with warnings.catch_warnings(), _stand_ins(), _no_log_file():
                # Old code: dozens of deprecations that are nobody's business here.
                warnings.simplefilter("ignore")
                _mend_dependencies()
                for name in ("wechaty", "wechaty_grpc.wechaty", "wechaty_puppet_service.puppet"):
                    importlib.import_module(name)
        _silence()
        return sys.modules["wechaty"]


def _set_environment(cache_dir: Path | None) -> None:
    if cache_dir is not None:
        os.environ["CACHE_DIR"] = str(cache_dir)
    # Without it ./.wechaty appears in the current directory.
    os.environ.setdefault("CACHE_DIR", str(Path(os.environ.get("TMPDIR", "/tmp")) / "wxbridge-wechaty"))  # noqa: S108
    os.environ["WECHATY_LOG"] = "warn"


@contextmanager
def _no_log_file() -> Iterator[None]:
    # Every logger would open it, and message texts would be in it.
    path = os.environ.pop("WECHATY_LOG_FILE", None)
    try:
        yield
    finally:
        if path is not None:
            os.environ["WECHATY_LOG_FILE"] = path


class _Absent:
    """Stands in for a class that wechaty imports and is not let to use."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise OSError("this part of wechaty is not there: wxbridge does not use it")


class _Unserved:
    """Stands in for the web application that wechaty makes for its plug-ins, and that is never served."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


def _get_host(url: str) -> tuple[str, str | None, int | None]:
    """Do what `urllib3.get_host` did before version 2: scheme, host and port of a URL."""
    parsed = urlsplit(url)
    return parsed.scheme or "http", parsed.hostname, parsed.port


_STAND_INS: dict[str, dict[str, Any]] = {
    # To knock at ports. Python 3.13 has none, earlier ones warn.
    "telnetlib": {"Telnet": _Absent},
    # To describe links to GitHub and to pages, which wxbridge never does: 16 MB, 14 of them PyGithub's.
    "github": {"Github": _Absent},
    "github.Repository": {"Repository": _Absent},
    "github.PullRequest": {"PullRequest": _Absent},
    "github.PullRequestComment": {"PullRequestComment": _Absent},
    "github.Issue": {"Issue": _Absent},
    "github.IssueComment": {"IssueComment": _Absent},
    "opengraph_py3": {"OpenGraph": _Absent},
    # To serve pages of plug-ins, of which there are none here: 8 MB with flask and hypercorn.
    "quart": {
        **dict.fromkeys(("Response", "jsonify", "request", "send_file"), _Absent),
        "Quart": _Unserved,
    },
    "quart_cors": {"cors": lambda application: application},
    # To fetch files by address, which wxbridge does itself and elsewhere: 4 MB with urllib3.
    "requests": {"get": _Absent},
    "requests.exceptions": {"ConnectionError": ConnectionError},
    "urllib3": {"get_host": _get_host},
    # To draw codes to scan; `channels.qr_code` does so: 4 MB with Pillow.
    "qrcode": dict.fromkeys(("QRCode", "make"), _Absent),
}


@contextmanager
def _stand_ins() -> Iterator[None]:
    modules: dict[str, ModuleType | None] = {}
    for name, contents in _STAND_INS.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(contents)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, modules[name])
    with stand_ins(modules):
        yield


def _mend_dependencies() -> None:
    pyee: Any = importlib.import_module("pyee")
    if not hasattr(pyee, "AsyncIOEventEmitter"):
        pyee.AsyncIOEventEmitter = importlib.import_module("pyee.asyncio").AsyncIOEventEmitter
    options: Any = importlib.import_module("wechaty_puppet.schemas.puppet").PuppetOptions
    if options.__hash__ is None:
        # Dataclasses take no unhashable default since 3.11, and wechaty has an instance as one.
        options.__hash__ = object.__hash__


def _silence() -> None:
    # Each of its loggers has a handler of its own on standard error, and some write message texts and tokens.
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in _FAMILY:
            continue
        for logger in list(vars(module).values()):
            if isinstance(logger, logging.Logger):
                logger.handlers[:] = [logging.NullHandler()]
                logger.propagate = False
                logger.disabled = True
                # FileBox calls the deprecated spelling, which warns even where nothing is logged.
                logger.warn = logger.warning  # type: ignore[method-assign]
