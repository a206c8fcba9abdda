"""Whether the services of a channel over HTTP are reached, and whether they let its accounts in.

A channel may serve several accounts at several places: one robot whose key is refused keeps no other back. What is
asked about is a list of names, a service's and an account's; the channel's own state is the worst of all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from wxbridge.channels.connected import Backoff
from wxbridge.core.model import ChannelState, ChannelStatus, OnStatus

log = structlog.get_logger()

FAILURES_UNTIL_UNREACHABLE = 3
"""How many failures in a row make a service unreachable."""
FIRST_LOOK_SECONDS = 1.0
MAX_LOOK_SECONDS = 60.0
"""The longest pause between two looks at what is away."""
SECONDS_PER_REPORT = 900.0
"""Between two lines of the log about the same outage."""
MAX_TROUBLES_NAMED = 3
MAX_ERROR_CHARS = 300


@dataclass
class ServiceTrouble:
    """What is wrong with a service or an account since its last success."""

    state: ChannelState
    """What it is once it counts (`is_counted`)."""
    began: datetime
    began_monotonic: float
    look_at: float
    """When it may be tried again; monotonic seconds."""
    backoff: Backoff
    error: str = ""
    tries: int = 0
    is_counted: bool = False
    is_unproven: bool = False
    """Whether a request went out and no answer came: what is sent next needs a sign of life first."""
    reported_at: float = 0.0

    @property
    def detail(self) -> str:
        """The last error, and how often it was tried."""
        return f"{self.error[:MAX_ERROR_CHARS]} (tried {self.tries} times)"


class ServiceStates:
    """Keeps what is wrong, logs when an outage begins, every so often, and when it ends, and tells a listener.

    Args:
        name: Begins the events of the log.
        clock: Monotonic seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.listener: OnStatus = lambda _: None
        self._name, self._clock = name, clock
        self._troubles: dict[str, ServiceTrouble] = {}
        self._started = datetime.now(UTC)
        self._status = ChannelStatus(ChannelState.ONLINE, self._started)

    # ------------------------------------------------ asking

    @property
    def status(self) -> ChannelStatus:
        """The state of all: online while nothing is wrong."""
        return self._status

    @property
    def is_well(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self._troubles

    def is_look_due(self, names: Iterable[str]) -> bool:
        """Tell whether something of this is away, and may be looked at."""
        names = tuple(names)
        counted = any(name in self._troubles and self._troubles[name].is_counted for name in names)
        return counted and self.seconds_until_look(names) <= 0

    def status_of(self, names: Iterable[str]) -> ChannelStatus:
        """Tell the state of what these names stand for together."""
        troubles = [trouble for name in names if (trouble := self._troubles.get(name)) and trouble.is_counted]
        return self._describe(troubles)

    def seconds_until_look(self, names: Iterable[str]) -> float:
        """Tell how long to leave alone what these names stand for; 0 where it may be tried."""
        now = self._clock()
        waits = (self._troubles[name].look_at - now for name in names if name in self._troubles)
        return max(0.0, *waits, 0.0)

    def list_troubles(self) -> list[dict[str, Any]]:
        """Give what is away or refused, in JSON's types."""
        return [
            {
                "name": name,
                "state": trouble.state.value,
                "began": trouble.began.timestamp(),
                "error": trouble.error[:MAX_ERROR_CHARS],
                "tries": trouble.tries,
            }
            for name, trouble in self._troubles.items()
            if trouble.is_counted
        ]

    def recall(self, troubles: Iterable[Mapping[str, Any]], names: Container[str]) -> None:
        """Take over what `list_troubles` gave elsewhere, as far as it is about `names`; a look is due at once."""
        now = self._clock()
        for kept in troubles:
            began = datetime.fromtimestamp(kept["began"], UTC)
            if kept["name"] in names:
                self._troubles[kept["name"]] = ServiceTrouble(
                    ChannelState(kept["state"]),
                    began,
                    now - max(0.0, (datetime.now(UTC) - began).total_seconds()),
                    look_at=now,
                    backoff=Backoff(FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS, FAILURES_UNTIL_UNREACHABLE),
                    error=kept["error"],
                    tries=kept["tries"],
                    is_counted=True,
                    reported_at=now - SECONDS_PER_REPORT,
                )
        self._refresh()

    def is_unproven(self, name: str) -> bool:
        """Tell whether a sign of life is needed before anything is sent."""
        trouble = self._troubles.get(name)
        return trouble is not None and trouble.is_unproven

    # ------------------------------------------------ what happened

    def note_failure(self, name: str, error: str, *, is_unproven: bool = False) -> None:
        """Note that a service was not reached, or that something else answered in its place."""
        self._note(name, ChannelState.UNREACHABLE, error, FAILURES_UNTIL_UNREACHABLE).is_unproven |= is_unproven
        self._refresh()

    def note_refusal(self, name: str, error: str) -> None:
        """Note that a service does not let an account in."""
        self._note(name, ChannelState.UNAUTHORISED, error, 1)
        self._refresh()

    def note_alive(self, name: str) -> None:
        """Note a sign of life, which is no success yet."""
        if name in self._troubles:
            self._troubles[name].is_unproven = False

    def note_success(self, name: str) -> None:
        """Note that a service, or an account, is well."""
        trouble = self._troubles.pop(name, None)
        if trouble is None:
            return
        if trouble.is_counted:
            seconds = round(self._clock() - trouble.began_monotonic)
            log.info("service is well again", channel=self._name, after=seconds, tries=trouble.tries)
        self._refresh()

    def _note(self, name: str, state: ChannelState, error: str, until_counted: int) -> ServiceTrouble:
        now = self._clock()
        trouble = self._troubles.get(name)
        if trouble is None:
            backoff = Backoff(FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS)
            trouble = self._troubles[name] = ServiceTrouble(state, datetime.now(UTC), now, now, backoff)
        trouble.error = error
        trouble.tries += 1
        if now >= trouble.look_at:  # what was under way at the same time is no further look
            trouble.look_at = now + trouble.backoff.next_pause()
        begins = not trouble.is_counted and trouble.backoff.failures >= until_counted
        trouble.is_counted |= begins
        if begins or (trouble.is_counted and now - trouble.reported_at >= SECONDS_PER_REPORT):
            trouble.reported_at = now
            log.warning(
                "service is away", channel=self._name, state=state.value,
                since=trouble.began.isoformat(timespec="seconds"), tries=trouble.tries, error=error,
            )  # fmt: skip
        return trouble

    def _refresh(self) -> None:
        status = self._describe([trouble for trouble in self._troubles.values() if trouble.is_counted])
        if status.state is ChannelState.ONLINE and self._status.state is not ChannelState.ONLINE:
            self._started = datetime.now(UTC)
            status = ChannelStatus(ChannelState.ONLINE, self._started)
        if status == self._status:
            return
        self._status = status
        try:
            self.listener(status)
        except Exception:
            log.exception("status listener failed", channel=self._name)

    def _describe(self, troubles: list[ServiceTrouble]) -> ChannelStatus:
        if not troubles:
            return ChannelStatus(ChannelState.ONLINE, self._started)
        refused = any(trouble.state is ChannelState.UNAUTHORISED for trouble in troubles)
        state = ChannelState.UNAUTHORISED if refused else ChannelState.UNREACHABLE
        named = "; ".join(trouble.detail for trouble in troubles[:MAX_TROUBLES_NAMED])
        more = len(troubles) - MAX_TROUBLES_NAMED
        detail = f"{named}; and {more} more" if more > 0 else named
        return ChannelStatus(state, min(trouble.began for trouble in troubles), detail)
