"""A real PostgreSQL of our own: a cluster in a temporary directory, never the machine's."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.support import free_port
from wxbridge.core import database
from wxbridge.core.database import make_engine, migrate, sqlite_url
from wxbridge.core.schema import SCHEMA_VERSION, metadata

START_SECONDS = 60.0
PATIENT_ANSWER_SECONDS = 20.0
_UNPRIVILEGED = ("postgres", "nobody")
"""Who may run a server where we are root, which PostgreSQL refuses to be run by."""
_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def find_binaries() -> Path | None:
    """Where the newest PostgreSQL's programs are; None where it is not installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    named = shutil.which("initdb")
    newest = sorted(found, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    return newest[-1] if newest else Path(named).resolve().parent if named else None


def why_missing() -> str:
    """Say why there is no PostgreSQL to test with; empty where there is."""
    if find_binaries() is None:
        return "PostgreSQL is not installed here (Debian: apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        return f"PostgreSQL's driver is not installed (pip install 'wxbridge-monitoring[postgresql]'): {error}"
    return ""


class Cluster:
    """A PostgreSQL server of our own. `is_durable` has it write to the disk as it would in earnest."""

    def __init__(self, *, is_durable: bool = False, parent: Path | None = None) -> None:
        binaries = find_binaries()
        assert binaries is not None, why_missing()
        self._binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="wxbridge-pg-", dir=parent))
        self.port = free_port()
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            user = next(pwd.getpwnam(name) for name in _UNPRIVILEGED if _exists(name))
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "max_connections": "200",
            "shared_buffers": "32MB",
            **({} if is_durable else _FAST),
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--pgdata", str(self._data), "--username", "wxbridge", "--auth", "trust",
                  "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")  # fmt: skip

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """The address of a database; by another port where something stands in between."""
        return f"postgresql://wxbridge@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        log = (self.directory / "log").open("ab")
        arguments = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(
            [self._binaries / "postgres", "-D", str(self._data), *arguments],
            stdout=log, stderr=log, cwd="/", start_new_session=True, **self._as,
        )  # type: ignore[call-overload]  # fmt: skip
        last = time.monotonic() + START_SECONDS
        ready = [self._binaries / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self._server.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < last, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends all sessions (`fast`), SIGQUIT is as if the machine died (`immediate`)."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait()
            self._server = None

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement outside of any transaction."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> str:
        """Make a database, with our tables; returns its address."""
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = 'tables'"):
            self.execute("CREATE DATABASE tables")
            # On a machine that others use too there may be seconds between two statements.
            from wxbridge.core import postgresql

            with patch.dict(postgresql._SESSION, {"idle_in_transaction_session_timeout": "60s"}):
                engine = make_engine(self.url("tables"))
                migrate(engine)
                engine.dispose()
        self.execute(f"CREATE DATABASE {name} TEMPLATE tables STRATEGY FILE_COPY")
        return self.url(name)

    def empty_database(self, name: str) -> None:
        """Make a database as it was made, for a twentieth of what that costs; whoever uses it is put out."""
        import psycopg

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            tables = [table.name for table in reversed(metadata.sorted_tables)]
            statements = [f"DELETE FROM {table}" for table in tables]
            statements += [
                f"SELECT setval('{sequence}', 1, false)"
                for (sequence,) in connection.execute("SELECT quote_ident(sequencename) FROM pg_sequences")
            ]
            statements.append(f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION}'")
            connection.execute("; ".join(statements).encode())

    def drop_database(self, name: str) -> None:
        """Delete a database, whoever uses it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self) -> None:
        """Stop the server and delete all of it."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments], check=False, capture_output=True, cwd="/", **self._as
        )  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr.decode()


def _exists(user: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


# ---------------------------------------------------------------- the database that tests are run on


@functools.cache
def shared_cluster() -> Cluster:
    """The one cluster of this process; `close_shared` ends it."""
    cluster = Cluster()
    cluster.start()
    return cluster


def close_shared() -> None:
    """End the cluster of this process, where there is one."""
    if shared_cluster.cache_info().currsize:
        shared_cluster().close()
        shared_cluster.cache_clear()


class Databases:
    """Which database the present test is run on, and what it has made there."""

    def __init__(self) -> None:
        self.is_postgresql = False
        self._made: dict[Path, str] = {}
        self._count = 0
        self._free: list[str] = []
        """Empty ones, which tests before this one have used."""

    def url(self, directory: Path) -> str:
        """The address of the database that belongs to a directory; the same again for the same directory."""
        if not self.is_postgresql:
            return sqlite_url(directory)
        directory.mkdir(parents=True, exist_ok=True)
        if directory not in self._made:
            self._made[directory] = self._free.pop() if self._free else self._create()
        return shared_cluster().url(self._made[directory])

    def _create(self) -> str:
        self._count += 1
        name = f"test_{self._count}"
        shared_cluster().create_database(name)
        return name

    @contextlib.contextmanager
    def on_postgresql(self) -> Iterator[None]:
        """Run a test on PostgreSQL; skips it, and says why, where there is none."""
        if reason := why_missing():
            pytest.skip(reason)
        self.is_postgresql = True
        try:
            # On a machine that others use too a server may be slow, and is none the less there.
            with patch.object(database, "ANSWER_SECONDS", PATIENT_ANSWER_SECONDS):
                yield
        finally:
            self.is_postgresql = False
            for name in self._made.values():
                shared_cluster().empty_database(name)
            self._free += self._made.values()
            self._made.clear()


DATABASES = Databases()
"""Of the test that is running."""


def database_url(directory: Path) -> str:
    """The address of the database of a directory, of the kind that the present test is run on."""
    return DATABASES.url(directory)
