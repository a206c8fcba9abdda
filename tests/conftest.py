"""What several test directories share."""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine

from tests.fakes import postgresql
from tests.support import SMALL
from wxbridge import registry
from wxbridge.cli import reader
from wxbridge.config.schema import Config, load
from wxbridge.core import database
from wxbridge.core.logging import speak
from wxbridge.core.text import i18n

MEMORY_DIRECTORY = Path("/dev/shm")
MIN_FREE_BYTES = 2**31
GARBAGE_THRESHOLD = 7_000
"""Ten times as many objects as usual between two garbage collections, which take a tenth of a test's time otherwise."""


def _use_memory_for_temporary_files() -> None:
    """Put databases and pictures into memory, where there is room: each commit on a disk costs some milliseconds.

    $TMPDIR wins. Where a file system forbids to run programs it is no good: tests write some.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY_DIRECTORY, os.W_OK):
        return
    may_run = not os.statvfs(MEMORY_DIRECTORY).f_flag & os.ST_NOEXEC
    if may_run and shutil.disk_usage(MEMORY_DIRECTORY).free >= MIN_FREE_BYTES:
        os.environ["TMPDIR"] = str(MEMORY_DIRECTORY)
        tempfile.tempdir = None


_use_memory_for_temporary_files()
settings.register_profile(
    "wxbridge",
    # More than usual: WXBRIDGE_EXAMPLES=5000 make test
    max_examples=int(os.environ.get("WXBRIDGE_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("wxbridge")
i18n.is_strict = True


def _configure_logging() -> list[object]:
    """Log as structlog does by default, but traces plainly: with all values in them one takes a second."""
    processors = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
    structlog.reset_defaults()
    structlog.configure(processors=processors, cache_logger_on_first_use=False)
    return processors


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Put logging back where a command, run in this process, has turned it to a stream that is closed by now."""
    processors = _configure_logging()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.get_config()["processors"] is not processors:
        root.handlers[:], root.level = handlers, level
        _configure_logging()


@pytest.fixture(autouse=True)
def _no_language_of_others() -> Iterator[None]:
    """Forget which language a command spoke that was run in this process."""
    yield
    reader.choose_language(None)
    speak("en")


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], Path]:
    """Write a jobs.yaml and give its path."""

    def write(text: str = SMALL) -> Path:
        path = tmp_path / "jobs.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def read(config_file: Callable[[str], Path]) -> Callable[..., Config]:
    """Load a configuration from its text, with `variables` as the environment."""

    def load_text(text: str = SMALL, **variables: str) -> Config:
        return load(config_file(text), registry.plugin_settings(), variables)

    return load_text


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test on each kind of database: those that open what `database_url` gives.

    PostgreSQL is one of our own, once for all tests of a process; where there is none, it is said why.
    WXBRIDGE_DATABASE=postgresql make test runs all others on it too.
    """
    if request.param == "sqlite" or postgresql.DATABASES.is_postgresql:
        yield request.param
        return
    with postgresql.DATABASES.on_postgresql():
        yield "postgresql"


@pytest.fixture(autouse="WXBRIDGE_DATABASE" in os.environ)
def _database_of_choice() -> Iterator[None]:
    with postgresql.DATABASES.on_postgresql():
        yield


@functools.cache
def _empty_tables() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        engine = database.make_engine(database.sqlite_url(Path(folder)))
        _make_tables(engine)
        engine.dispose()
        return Path(folder, database.DATABASE_FILE).read_bytes()


_make_tables = database.migrate


def copy_tables(engine: Engine) -> None:
    """Do what `migrate` does; a new SQLite file gets a copy of the tables, for a tenth of what making them costs."""
    path = Path(engine.url.database or ":memory:")
    is_new = engine.dialect.name == "sqlite" and path.parent.is_dir() and not (path.exists() and path.stat().st_size)
    if is_new and str(path) != ":memory:":
        path.write_bytes(_empty_tables())
    _make_tables(engine)


@pytest.fixture(autouse=True, scope="session")
def _tables_are_copied() -> Iterator[None]:
    with patch.object(database, "migrate", copy_tables):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is imported and collected out of all garbage collections: each would look at 400,000 objects again."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests so that no processor is idle in the end: each process gets an equal stretch of them.

    The first stretch begins with whole bridges and the second with what takes long; while those wait, the others
    compute. All end with quick ones, which are handed on to whoever has nothing left.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    quick = [item for item in items if item.nodeid.startswith("tests/unit/") and item not in long]
    slow = [item for item in items if not item.nodeid.startswith("tests/unit/") and item not in long]
    stretches = [slow[len(slow) * n // workers : len(slow) * (n + 1) // workers] for n in range(workers)]
    stretches[1 % workers][:0] = long
    ordered: list[pytest.Item] = []
    for number, stretch in enumerate(stretches):
        ordered += stretch
        filled = len(items) * (number + 1) // workers
        while quick and len(ordered) < filled:
            ordered.append(quick.pop(0))
    items[:] = ordered + quick


def pytest_sessionfinish() -> None:
    """End the PostgreSQL that tests were run on."""
    postgresql.close_shared()
