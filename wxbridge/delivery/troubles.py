"""Since when targets cannot be reached: what fail-over counts from, over restarts too."""

from __future__ import annotations

from wxbridge.core.clock import SystemClock
from wxbridge.delivery.outbox import Outbox


class TargetTroubles:
    """Knows since when each target is in trouble: its channel is away, or refuses what waits there first.

    It begins with the first failure, or when the channel is seen away, and ends when the channel is up and a message
    has left. Waiting for the pace is none.
    """

    def __init__(self, outbox: Outbox, clock: SystemClock) -> None:
        self._outbox, self._clock = outbox, clock
        self._began: dict[str, float] = {}
        """By target, in seconds since the machine started."""
        self._failing: set[str] = set()
        """The targets whose last attempt failed."""
        self._well: set[str] = set()
        """The targets that were well at the last look."""
        self._stored: set[str] = set()
        """The targets whose trouble is stored."""
        self._is_loaded = False

    def go_on_from(self, before: TargetTroubles) -> None:
        """Take over what another has noted."""
        self._began, self._failing, self._well = before._began, before._failing, before._well
        self._stored, self._is_loaded = before._stored, before._is_loaded

    def note_failure(self, target: str) -> None:
        """Note that an attempt failed, and not by the message's own fault."""
        self._failing.add(target)
        self._began.setdefault(target, self._clock.boot())

    def note_answer(self, target: str) -> None:
        """Note that the service took a message, or refused it for what it is."""
        self._failing.discard(target)

    def is_failing(self, target: str) -> bool:
        """Whether the last attempt failed."""
        return target in self._failing

    def seconds(self, target: str) -> float:
        """How long a target has been in trouble; 0 where it is not."""
        return max(0.0, self._clock.boot() - self._began[target]) if target in self._began else 0.0

    async def look(self, target: str, *, is_up: bool) -> bool:
        """Take note of how a target is now; tell whether it has just become well. Raises `StorageError`."""
        if not self._is_loaded:
            await self._load()
        if is_up and target in self._failing and not await self._outbox.has_open(target):
            self._failing.discard(target)
        if not is_up or target in self._failing:
            began = self._began.setdefault(target, self._clock.boot())
            if target not in self._stored:
                since = self._clock.wall() - (self._clock.boot() - began)
                await self._outbox.record_trouble(target, since)
                self._stored.add(target)
            self._well.discard(target)
            return False
        if target in self._stored:
            await self._outbox.forget_trouble(target)
            self._stored.discard(target)
        self._began.pop(target, None)
        is_news = target not in self._well
        self._well.add(target)
        return is_news

    async def _load(self) -> None:
        now, boot = self._clock.wall(), self._clock.boot()
        for name, since in (await self._outbox.read_troubles()).items():
            self._began[name] = min(self._began.get(name, boot), boot - max(0.0, now - since))
            self._stored.add(name)
        self._is_loaded = True
