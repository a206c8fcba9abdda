"""From a monitor's POST to rows in the outbox: parse, route, compose, store. The answer waits for the commit."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from wxbridge import compose, notify, routing, stored
from wxbridge.digest import Digest
from wxbridge.errors import BadBody
from wxbridge.model import Accepted, AlertGroup, Body, Capabilities, Notification, NotificationKind, Priority, Text
from wxbridge.notify import Destination
from wxbridge.sources import Parse

log = structlog.get_logger()

MASTER = "master"
"""The target that stands for the person in charge."""
NOBODY = "nobody"
"""The target of what nobody is there for; such messages are dead from the start, and listed."""

Put = Callable[[Sequence[Notification]], Awaitable[Accepted]]


@dataclass(frozen=True)
class Intake:
    """Takes alerts in. One for a configuration."""

    sources: Mapping[str, Parse]
    routes: Sequence[routing.Route]
    targets: Mapping[str, Destination]
    language: compose.Language
    timezone: ZoneInfo
    put: Put

    async def accept(
        self,
        source: str,
        body: bytes,
        headers: Mapping[str, str],
        to: Sequence[str] = (),
    ) -> Accepted:
        """Store what a body says for its targets; `to` overrides the routes.

        Raises:
            BadBody: the body cannot be read.
            StorageError: it could not be stored; the sender should try again.
        """
        group = self.sources[source](body, headers)
        dedupe = group.dedupe or hashlib.sha256(body).hexdigest()
        notifications = [self._notification(name, part, dedupe, note) for name, part, note in self._parts(group, to)]
        accepted = await self.put(notifications)
        log.info(
            "alert accepted",
            source=source, title=group.title[:120], alerts=len(group.alerts),
            to=[item.target for item in notifications], queued=accepted.queued, duplicates=accepted.duplicates,
        )  # fmt: skip
        return accepted

    def _check(self, to: Sequence[str]) -> None:
        unknown = [name for name in to if name not in self.targets]
        if unknown:
            raise BadBody(f"There is no target {unknown[0]!r}; there are {', '.join(sorted(self.targets)) or 'none'}.")

    def _parts(self, group: AlertGroup, to: Sequence[str]) -> list[tuple[str, AlertGroup, str]]:
        """Each target with its part of the group and a note; what nobody is to get goes to the master."""
        unknown = [name for name in to if name not in self.targets]
        if to:
            routed, left = {name: group for name in to if name in self.targets}, group if unknown else None
            note = compose.say("no_target", self.language, names=", ".join(unknown))
        else:
            routed, left = routing.split(group, self.routes)
            note = compose.say("unrouted", self.language)
        parts = [(name, part, "") for name, part in routed.items()]
        if left:
            name = MASTER if MASTER in self.targets else NOBODY
            log.warning(note, title=group.title[:120], to=name)
            parts.append((name, left, note))
        return parts

    def _notification(self, name: str, group: AlertGroup, dedupe: str, note: str) -> Notification:
        destination = self.targets.get(name)
        capabilities = destination.capabilities if destination else Capabilities(text_limit=2000)
        bodies = compose.compose(group, capabilities, self.language, note)
        return Notification(
            source=group.source,
            target=name,
            bodies=tuple(bodies),
            priority=_priority(group),
            dedupe_key=f"{group.source}:{name}:{dedupe}",
            # A body without times says the same at each firing; in between, its rule has said something else.
            dedupe_group=None if group.dedupe else f"{group.source}:{name}:{group.group_key}",
            kind=NotificationKind.ALERT,
            content=stored.as_json(group),
            expires_after=destination.expires_after if destination else 86400.0,
            dead=None if destination else "no route matches, and there is no master to tell",
        )

    def recompose(self, kind: NotificationKind, content: Any, target: str, note: str) -> list[Body]:
        """Say what a stored notification says for another target, with a note above it; empty where nothing is kept."""
        destination = self.targets.get(target)
        if destination is None or content is None:
            return []
        if kind is NotificationKind.ALERT:
            return compose.compose(stored.from_json(content), destination.capabilities, self.language, note)
        if kind is NotificationKind.DIGEST:
            text = Digest.from_json(content).text(self.language, self.timezone)
            whole = "\n".join(part for part in (note, text) if part)
            return [Text(part) for part in compose.parts(whole, destination.capabilities, self.language)]
        return notify.again(content, destination, self.language, note)

    async def push(self, to: Sequence[str], bodies: Sequence[Any], priority: Priority = Priority.ALERT) -> Accepted:
        """Store bodies for targets as they are; texts are split to the target's limit.

        Raises:
            BadBody: a target is unknown.
            StorageError: it could not be stored.
        """
        self._check(to)
        return await self.put(
            [
                notify.notification("push", name, bodies, self.targets[name], self.language, priority)
                for name in dict.fromkeys(to)
            ]
        )


_URGENT = {"critical", "page", "emergency", "disaster", "fatal", "p0"}


def _priority(group: AlertGroup) -> Priority:
    severities = {alert.labels.get("severity", "").lower() for alert in group.alerts}
    return Priority.CRITICAL if severities & _URGENT else Priority.ALERT
