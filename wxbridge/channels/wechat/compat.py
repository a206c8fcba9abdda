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

_FAMILY = ("wechaty", "wechaty_puppet", "wechaty_puppet_service", "wechaty_grpc")
_lock = threading.Lock()


def load(cache_dir: Path | None = None) -> ModuleType:
    """Import `wechaty` (0.5 s and 70 MB the first time) and give the module.

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


_STAND_INS: dict[str, tuple[str, ...]] = {
    # To knock at ports. Python 3.13 has none, earlier ones warn.
    "telnetlib": ("Telnet",),
    # To describe links to GitHub and to pages, which wxbridge never does: 16 MB, 14 of them PyGithub's.
    "github": ("Github",),
    "github.Repository": ("Repository",),
    "github.PullRequest": ("PullRequest",),
    "github.PullRequestComment": ("PullRequestComment",),
    "github.Issue": ("Issue",),
    "github.IssueComment": ("IssueComment",),
    "opengraph_py3": ("OpenGraph",),
}


@contextmanager
def _stand_ins() -> Iterator[None]:
    # Nobody else is to find them afterwards, nor to lose the real ones.
    before = {name: sys.modules.get(name) for name in _STAND_INS}
    for name, classes in _STAND_INS.items():
        stand_in = ModuleType(name)
        vars(stand_in).update(dict.fromkeys(classes, _Absent))
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _mend_dependencies() -> None:
    pyee: Any = importlib.import_module("pyee")
    if not hasattr(pyee, "AsyncIOEventEmitter"):
        pyee.AsyncIOEventEmitter = importlib.import_module("pyee.asyncio").AsyncIOEventEmitter
    urllib3: Any = importlib.import_module("urllib3")
    if not hasattr(urllib3, "get_host"):
        urllib3.get_host = _get_host
    options: Any = importlib.import_module("wechaty_puppet.schemas.puppet").PuppetOptions
    if options.__hash__ is None:
        # Dataclasses take no unhashable default since 3.11, and wechaty has an instance as one.
        options.__hash__ = object.__hash__


def _get_host(url: str) -> tuple[str, str | None, int | None]:
    """Do what `urllib3.get_host` did before version 2: scheme, host and port of a URL."""
    parsed = importlib.import_module("urllib3.util").parse_url(url)
    return parsed.scheme or "http", parsed.hostname, parsed.port


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
