"""Reloads jobs.yaml while the bridge runs: notices that files changed, waits until they are whole, reports how it went.

What a new configuration changes is the business of who takes it (`ReloadTarget`).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any, Protocol

import structlog

from wxbridge.config.schema import BrokenConfig, Config
from wxbridge.config.server import LOOPBACK
from wxbridge.config.types import reveal
from wxbridge.core.errors import ConfigError, Problem
from wxbridge.core.metrics import Metrics
from wxbridge.core.systemd import reload_announced
from wxbridge.core.text.i18n import Language, say

log = structlog.get_logger()

FILES_CHECK_SECONDS = 1.0
"""Seconds between two looks at the files: a `stat` each, which network file systems and replaced links answer too."""
QUIET_SECONDS = 0.4
"""Seconds in which the files must not change before they are read: editors write in several steps."""
PATIENCE_SECONDS = 2.0
"""Seconds that a file may be wrong before that is told: it may be half written."""
MAX_PROBLEMS_TOLD = 5
SETTLED_NANOSECONDS = 2_000_000_000
"""After which a further change shows in the times of a file; before, two changes may have the same."""


@dataclass(frozen=True)
class Taken:
    """What became of a valid configuration."""

    changed: tuple[str, ...]
    """The sections that differ from what was in use."""
    later: tuple[str, ...] = ()
    """What takes effect at the next start only."""
    orphans: tuple[tuple[str, int], ...] = ()
    """Targets that are gone, each with how many messages wait for it."""


class ReloadTarget(Protocol):
    """The running bridge, as far as reloading works with it."""

    def read_config(self) -> Config:
        """Read and check the files. Raises `ConfigError`. Called in a thread."""

    async def take(self, config: Config) -> Taken:
        """Run with a configuration from now on. Raises `ReloadFailed` where it cannot be; nothing has changed then."""

    async def tell_operators(self, line: str) -> None:
        """Queue a line for the person in charge; raises nothing."""


@dataclass
class ConfigState:
    """The configuration in use, and how reading it went; what of it is asked while the bridge runs."""

    config: Config
    started_at: float = field(default_factory=time.time)
    """When the bridge started. Seconds since the epoch, as `loaded_at`."""
    loaded_at: float = field(default_factory=time.time)
    """When the configuration came into use."""
    problems: tuple[str, ...] = ()
    """What was wrong the last time that the files were read, each with its line; empty where nothing was."""
    later: tuple[str, ...] = ()
    """What takes effect at the next start."""


class ReloadFailed(Exception):
    """A configuration could not be taken over; the old one is in use as before."""


class Reloader:
    """Keeps the bridge at what the files say. `ask` has them read at once; `run` also watches them.

    Args:
        bridge: What is reconfigured.
        state: The configuration in use; how reading goes is kept here.
        metrics: Where reloads are counted.
        sleep: Lets time pass.
    """

    def __init__(
        self,
        bridge: ReloadTarget,
        state: ConfigState,
        metrics: Metrics,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bridge, self._state, self._metrics, self._sleep = bridge, state, metrics, sleep
        self._files, self._patterns = state.config.files, state.config.patterns
        self._seen = _fingerprint(self._files, self._patterns)
        """The files when they were last read."""
        self._bell = asyncio.Event()
        self._asked = False
        self._told = ""
        """What the person in charge was last told to be wrong; empty while all is well."""
        self._told_later: tuple[str, ...] = ()

    def ask(self) -> None:
        """Have the files read again even if they did not change (SIGHUP)."""
        self._asked = True
        self._bell.set()

    async def run(self) -> None:
        """Watch the files and take over what is in them, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FILES_CHECK_SECONDS):
                    await self._bell.wait()
            self._bell.clear()
            await self.look()

    async def look(self) -> None:
        """Read the files where they changed, or somebody asked, once they are whole."""
        asked, self._asked = self._asked, False
        if not asked and await self._now() == self._seen:
            return
        found, problem, self._seen = await self._whole()
        if found is None:
            await self._refuse("invalid", problem)
            return
        with reload_announced():
            await self._take(found)

    async def _now(self) -> str:
        return await asyncio.to_thread(_fingerprint, self._files, self._patterns)

    async def _whole(self) -> tuple[Config | None, str, str]:
        """The configuration as it is once nobody writes any more; or what is wrong with it, if that lasts.

        Last comes the fingerprint of just what was read: who writes a moment later is noticed at the next look.
        """
        left = PATIENCE_SECONDS
        while True:
            before = await self._now()
            await self._sleep(QUIET_SECONDS)
            if await self._now() != before:
                left = PATIENCE_SECONDS
                continue
            try:
                config = await asyncio.to_thread(self._bridge.read_config)
                refuse_losses(self._state.config, config)
                self._state.problems = ()
            except ConfigError as error:
                self._state.problems = tuple(map(str, error.problems))
                problem = _problems(error.problems, self._state.config.language)
                if isinstance(error, BrokenConfig):
                    # What it newly includes is watched too: there the correction may come.
                    self._files = tuple(dict.fromkeys((*self._files, *error.files)))
                    self._patterns = tuple(dict.fromkeys((*self._patterns, *error.patterns)))
            except Exception as error:  # a mistake of ours must not end the looking
                log.exception("reading the configuration failed in a way it should not")
                problem = f"{type(error).__name__}: {error}"
            else:
                mine = self._files, self._patterns
                self._files, self._patterns = config.files, config.patterns
                if mine == (config.files, config.patterns) and await self._now() == before:
                    return config, "", before
                continue
            if await self._now() == before and left <= 0:
                return None, problem, before
            left -= QUIET_SECONDS

    async def _take(self, config: Config) -> None:
        try:
            taken = await self._bridge.take(config)
        except ReloadFailed as error:
            self._state.problems = (str(error),)
            await self._refuse("failed", str(error))
            return
        self._metrics.config_reloads.labels("ok").inc()
        self._metrics.config_ok.set(1)
        self._state.later = taken.later
        language = self._state.config.language
        if taken.changed or self._told:
            log.info("configuration reloaded", changed=list(taken.changed), files=len(config.files))
        else:
            log.info("configuration read again: nothing has changed")
        if taken.later:
            log.warning("takes effect at the next start", settings=list(taken.later))
        if taken.later and taken.later != self._told_later:
            await self._bridge.tell_operators(say("config.later", language, what=", ".join(taken.later)))
        self._told_later = taken.later
        for name, count in taken.orphans:
            log.warning("messages wait for a target that is gone", target=name, count=count)
            await self._bridge.tell_operators(say("config.orphans", language, what=name, n=count))
        if self._told:
            self._told = ""
            await self._bridge.tell_operators(say("config.back", language))

    async def _refuse(self, outcome: str, what: str) -> None:
        self._metrics.config_reloads.labels(outcome).inc()
        self._metrics.config_ok.set(0)
        log.error("configuration not reloaded, the old one stays", outcome=outcome, problems=what.splitlines())
        line = say(f"config.{outcome}", self._state.config.language, what=what)
        if line != self._told:
            self._told = line
            await self._bridge.tell_operators(line)


def _problems(problems: Sequence[Problem], language: Language) -> str:
    lines = [str(problem) for problem in problems[:MAX_PROBLEMS_TOLD]]
    left = len(problems) - len(lines)
    return "\n".join([*lines, *([say("config.more", language, n=left)] if left else [])])


def refuse_losses(old: Config, new: Config) -> None:
    """Refuse a file that was cut short: what a running bridge works with does not vanish by itself.

    Raises:
        ConfigError: all routes, all targets or the section of a channel are gone, or nothing at all is set.
    """
    if not new.model_fields_set - {"path", "state_dir"}:
        raise ConfigError([Problem(str(new.path), 1, "is empty; a running bridge does not take that over")])
    why = "as if the file were cut short; a running bridge does not take that over, restart it if you mean it"
    lost = [
        Problem(str(new.path), 1, f"`{name}` is gone, {why}")
        for name in ("targets", "routes", "wechat")
        if getattr(old, name, None) and not getattr(new, name, None)
    ]
    if lost:
        raise ConfigError(lost)


# ---------------------------------------------------------------- what is different

SERVED_BY = ("server", "hooks", "language")
"""The sections that the HTTP application is made from."""


def sections_of(*configs: Config) -> list[str]:
    """List the sections that any of some configurations may have."""
    return list(dict.fromkeys(name for each in configs for name in type(each).model_fields if name != "path"))


def list_differing(old: Config, new: Config, names: Iterable[str]) -> list[str]:
    """List the sections that two configurations do not have in common."""
    return [name for name in names if getattr(old, name, None) != getattr(new, name, None)]


def restrict_to_running(old: Config, new: Config) -> tuple[Config, tuple[str, ...]]:
    """Give a new configuration with what cannot change while the bridge runs as it was, and what that is."""
    update: dict[str, Any] = {}
    later = []
    if new.state_dir != old.state_dir:
        update["state_dir"] = old.state_dir
        later.append("state_dir")
    if new.database != old.database:
        update["database"] = old.database
        later.append("database")
    if new.server.listen != old.server.listen:
        # Beyond loopback nobody is let in without a token, so what is fit for another address may not be for this.
        open_door = old.server.host not in LOOPBACK and not reveal(new.server.token)
        update["server"] = old.server if open_door else new.server.model_copy(update={"listen": old.server.listen})
        later.append("server" if open_door else "server.listen")
    return (new.model_copy(update=update) if update else new), tuple(later)


# ---------------------------------------------------------------- the files


def _fingerprint(files: Iterable[Path], patterns: Iterable[str]) -> str:
    """Tell a state of the files from every other: their names and contents, and what the patterns find."""
    digest = hashlib.sha256()
    found = {Path(path) for pattern in patterns for path in glob(pattern, recursive=True)}  # noqa: PTH207 - as `reading`
    for path in sorted({*files, *found}):
        try:
            about = path.stat()
            changed_at = max(about.st_mtime_ns, about.st_ctime_ns)
            settled = time.time_ns() - changed_at > SETTLED_NANOSECONDS
            place = (about.st_dev, about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size)
            content = _read_settled(path, place) if settled else _hash_content(path)
        except OSError as error:
            content = f"{error.errno}"
        digest.update(f"{path}\0{content}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _hash_content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=1000)
def _read_settled(path: Path, _place: tuple[int, ...]) -> str:
    """The hash of a file that has not changed for a while: it is read once for each state that `stat` tells of."""
    return _hash_content(path)
