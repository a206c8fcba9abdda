"""What the console shows and does of a running bridge: the callables that `web.console` asks for."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, runtime_checkable

import yaml
from pydantic import SecretStr

import wxbridge
from wxbridge.alerts.firing import FiringAlert
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.bot.commands import alerts
from wxbridge.bot.commands.alert_arguments import MAX_COMMENT_CHARS, end_after, read_query
from wxbridge.bot.commands.alerts import AlertReader
from wxbridge.bridge import Bridge
from wxbridge.config.types import TargetSettings
from wxbridge.core.errors import BadBody, PictureError
from wxbridge.core.model import (
    Body,
    Message,
    Notification,
    NotificationKind,
    Picture,
    PictureSpec,
    Priority,
)
from wxbridge.core.text.i18n import Language
from wxbridge.delivery.context import Lane
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.jobs.store import JobStatus
from wxbridge.web.console.neighbours import Budget, ConfigView, Console, FindingView, Seeing, SilenceView, TargetView

_RETRY_FOR = 86400.0
"""Seconds for which a message that is queued again is worth sending, as from the command line."""
_SHORTEST = 60.0
"""Seconds of a window whose rest is shown."""


@runtime_checkable
class LogsOut(Protocol):
    """A channel that can be logged out."""

    def log_out(self) -> Awaitable[None]:
        """End the login; somebody has to log in again. Raises `SendError`."""


def console_of(bridge: Bridge) -> Console:
    """The console's neighbours. They ask for the present configuration each time, and so outlast it."""

    async def retry(ids: Sequence[int]) -> int:
        return await bridge.outbox.retry(ids, now=time.time(), expires_after=_RETRY_FOR)

    async def drop(ids: Sequence[int]) -> int:
        return await bridge.outbox.drop(ids, now=time.time())

    async def log_out(name: str) -> None:
        channel = bridge.channels.get(name)
        if not isinstance(channel, LogsOut):
            raise BadBody(f"{name} cannot be logged out from here.")
        await channel.log_out()

    async def jobs() -> Sequence[JobStatus]:
        return await _jobs(bridge).list_jobs()

    return Console(
        database=bridge.database,
        outbox=bridge.outbox,
        language=lambda: bridge.config.language,
        timezone=lambda: bridge.config.timezone,
        targets=lambda: _targets(bridge),
        retry=retry,
        drop=drop,
        send_to=partial(_send_to, bridge),
        can_log_out=lambda: _can_log_out(bridge),
        log_out=log_out,
        jobs=jobs,
        run_job=lambda job: _jobs(bridge).run_now(job),
        mute_job=lambda job, until, by: _jobs(bridge).mute(job, until, by),
        unmute_job=lambda job: _jobs(bridge).unmute(job),
        upcoming=lambda start, end: _jobs(bridge).upcoming(start, end),
        config=lambda: _config(bridge),
        examine=lambda: _examine(bridge),
        reload=bridge.ask_reload,
        overview=bridge.alerts.overview,
        silences=partial(_silences, bridge),
        silence=partial(_silence, bridge),
        unsilence=partial(_unsilence, bridge),
        ack=partial(_ack, bridge),
        matchers_of=lambda firing: [str(matcher) for matcher in firing.silencing_matchers()],
        alert_pictures=partial(_alert_pictures, bridge),
        draw=partial(_draw, bridge),
        hosts=lambda: bridge.hosts.list_hosts() if bridge.hosts and bridge.config.host else None,
    )


def _can_log_out(bridge: Bridge) -> Collection[str]:
    return [name for name, channel in bridge.channels.items() if isinstance(channel, LogsOut)]


# ---------------------------------------------------------------- targets


def _targets(bridge: Bridge) -> list[TargetView]:
    lanes = {lane.name: lane for lane in bridge.lanes}
    return [_target(name, target, lanes.get(target.lane())) for name, target in bridge.targets.items()]


def _target(name: str, target: TargetSettings, lane: Lane | None) -> TargetView:
    now = time.monotonic()
    budgets = [_budget(rate, left) for rate, left in lane.pacer.windows_left(now).items()] if lane else []
    if lane:
        own = bool(target.pace)
        chat = lane.pacer.chat_windows_left(target.chat_key(), now)
        # Of what fills again within seconds there is nothing to see.
        budgets += [
            Budget(str(rate), rate.count, left, own=own) for rate, left in chat.items() if rate.seconds >= _SHORTEST
        ]
    return TargetView(
        name=name,
        channel=target.lane(),
        address=", ".join(_written(target, key) for key in target.address_keys if _written(target, key)),
        fallback=target.fallback,
        budgets=tuple(budgets),
        unpaced=lane is not None and not lane.pacer.counts,
        pictures=lane is None or lane.channel.capabilities.pictures != "none",
    )


def _budget(rate: str, left: int) -> Budget:
    return Budget(rate, int(rate.partition("/")[0]), left)


def _written(target: TargetSettings, key: str) -> str:
    value = getattr(target, key, None)
    if value is None or isinstance(value, SecretStr):
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


# ---------------------------------------------------------------- messages


async def _send_to(bridge: Bridge, message_id: int, target: str) -> None:
    """Tell another target of what a message belongs to, in words composed for it.

    Raises:
        BadBody: the message or the target is gone.
        StorageError: it could not be stored.
    """
    outbox = bridge.outbox
    found = await outbox.get_messages([message_id])
    stored = await outbox.find_notification(found[0].notification_id) if found else None
    destination = bridge.destinations.get(target)
    if stored is None or destination is None:
        raise BadBody(f"Message {message_id} or the target {target} is gone.")
    bodies = bridge.alerts.recompose(stored.kind, stored.content, target, "")
    if not bodies or stored.kind is NotificationKind.OTHER:
        bodies = [*bodies, *_bodies(stored.messages, pictures_only=bool(bodies))]
    item = Notification(
        source=stored.source,
        target=target,
        bodies=tuple(bodies),
        priority=Priority(min(message.priority for message in stored.messages)),
        kind=stored.kind,
        content=stored.content,
        expires_after=destination.expires_after,
    )
    await outbox.put_beside(stored.id, item)


def _bodies(messages: Sequence[Message], *, pictures_only: bool) -> list[Body]:
    return [message.body for message in messages if not pictures_only or isinstance(message.body, Picture)]


# ---------------------------------------------------------------- alerts


def _reader(bridge: Bridge, by: str, language: Language) -> AlertReader:
    return AlertReader(by, datetime.now(bridge.config.timezone), language)


async def _silence(
    bridge: Bridge, matchers: Sequence[str], seconds: float, by: str, comment: str, language: Language
) -> str:
    reader = _reader(bridge, by, language)
    query = read_query(" ".join(matchers), language)
    ends_at = end_after(reader.at, seconds, language)
    # How to end it is a word for chats; here there is a button.
    return await alerts.make_silence(bridge.alerts, query, ends_at, comment[:MAX_COMMENT_CHARS], reader, tell_end=False)


async def _unsilence(bridge: Bridge, name: str, by: str, language: Language) -> str:
    return await alerts.end_silence(bridge.alerts, name, _reader(bridge, by, language))


async def _ack(bridge: Bridge, key: str, by: str, comment: str, language: Language) -> str:
    return await alerts.acknowledge(bridge.alerts, key, comment[:MAX_COMMENT_CHARS], _reader(bridge, by, language))


async def _silences(bridge: Bridge, language: Language) -> tuple[Sequence[SilenceView], Sequence[str]]:
    """The silences of all sides, and sentences about who did not answer."""
    overview = await bridge.alerts.list_silences(with_grafana=True)
    found = [
        SilenceView(
            each.ids[0], each.matchers, each.starts_at, each.ends_at, each.created_by, each.comment, each.places,
            can_end=each.can_end,
        )
        for each in overview.silences
    ]  # fmt: skip
    return found, list(alerts.missing_lines(overview.missing, language))


async def _alert_pictures(bridge: Bridge, found: Sequence[FiringAlert], look: Seeing) -> Mapping[str, PictureSpec]:
    """Which picture each of these alerts would bring, by key; decided without asking anybody. Raises `StorageError`."""
    settings = bridge.alerts.settings.pictures or AlertPictureOptions()
    seen = replace(settings, language=look.language, theme=look.theme)
    return await bridge.alerts.preview_pictures(found, seen, datetime.fromtimestamp(look.at, UTC))


async def _draw(bridge: Bridge, spec: PictureSpec) -> bytes:
    if bridge.draw is None:
        raise PictureError("This bridge draws no pictures.")
    return await bridge.draw(spec)


# ---------------------------------------------------------------- jobs


def _jobs(bridge: Bridge) -> JobScheduler:
    if bridge.jobs is None:
        raise BadBody("This bridge runs no jobs.")
    return bridge.jobs


# ---------------------------------------------------------------- the configuration


def _config(bridge: Bridge) -> ConfigView:
    files, config = bridge.files, bridge.config
    return ConfigView(
        files=tuple(map(str, config.files or (config.path,))),
        loaded_at=files.loaded_at,
        text=masked(config),
        problems=files.problems,
        later=files.later,
        version=wxbridge.__version__,
        started_at=files.started_at,
    )


def masked(config: Any) -> str:
    """A configuration as YAML, with what was written in its files, and stars for secrets."""
    data: Mapping[str, Any] = config.model_dump(mode="json", exclude_unset=True, fallback=str)
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, default_flow_style=False, width=100)


async def _examine(bridge: Bridge) -> list[FindingView]:
    from wxbridge import doctor

    found = await doctor.examine(bridge.config, bridge.database)
    return [FindingView(each.name, each.state.value, each.found, each.advice) for each in found]
