"""What the console shows and does of a running bridge, by the objects of `web.services`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import yaml
from pydantic import SecretStr

import wxbridge
from wxbridge.alerts.firing import FiringAlert
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.bot.commands import alerts
from wxbridge.bot.commands.alert_arguments import MAX_COMMENT_CHARS, end_after, read_query
from wxbridge.bot.commands.alerts import AlertReader
from wxbridge.config.types import TargetSettings
from wxbridge.core.errors import BadBody
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
from wxbridge.web.console.neighbours import Budget, ConfigView, Console, FindingView, Seeing, SilenceView, TargetView
from wxbridge.web.services import WebServices

_RETRY_FOR = 86400.0
"""Seconds for which a message that is queued again is worth sending, as from the command line."""
_SHORTEST = 60.0
"""Seconds of a window whose rest is shown."""


def console_of(services: WebServices) -> Console:
    """The console's neighbours. They ask for the present configuration each time, and so outlast it."""

    async def retry(ids: Sequence[int]) -> int:
        return await services.outbox.retry(ids, now=time.time(), expires_after=_RETRY_FOR)

    async def drop(ids: Sequence[int]) -> int:
        return await services.outbox.drop(ids, now=time.time())

    return Console(
        database=services.database,
        outbox=services.outbox,
        language=lambda: services.state.config.language,
        timezone=lambda: services.state.config.timezone,
        targets=lambda: _targets(services),
        retry=retry,
        drop=drop,
        send_to=partial(_send_to, services),
        can_log_out=services.channels.list_logout_channels,
        log_out=services.channels.log_out,
        jobs=services.jobs.list_jobs,
        run_job=services.jobs.run_now,
        mute_job=services.jobs.mute,
        unmute_job=services.jobs.unmute,
        upcoming=services.jobs.upcoming,
        config=lambda: _config(services),
        examine=lambda: _examine(services),
        reload=services.reloader.ask,
        overview=services.alerts.overview,
        silences=partial(_silences, services),
        silence=partial(_silence, services),
        unsilence=partial(_unsilence, services),
        ack=partial(_ack, services),
        matchers_of=lambda firing: [str(matcher) for matcher in firing.silencing_matchers()],
        alert_pictures=partial(_alert_pictures, services),
        draw=services.drawer.draw,
        hosts=lambda: services.hosts.list_hosts() if services.state.config.host else None,
    )


# ---------------------------------------------------------------- targets


def _targets(services: WebServices) -> list[TargetView]:
    targets = services.channels.targets
    return [_target(name, target, services.lanes.find(target.lane())) for name, target in targets.items()]


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


async def _send_to(services: WebServices, message_id: int, target: str) -> None:
    """Tell another target of what a message belongs to, in words composed for it.

    Raises:
        BadBody: the message or the target is gone.
        StorageError: it could not be stored.
    """
    outbox = services.outbox
    found = await outbox.get_messages([message_id])
    stored = await outbox.find_notification(found[0].notification_id) if found else None
    destination = services.alerts.settings.targets.get(target)
    if stored is None or destination is None:
        raise BadBody(f"Message {message_id} or the target {target} is gone.")
    bodies = services.alerts.recompose(stored.kind, stored.content, target, "")
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


def _reader(services: WebServices, by: str, language: Language) -> AlertReader:
    return AlertReader(by, datetime.now(services.state.config.timezone), language)


async def _silence(
    services: WebServices, matchers: Sequence[str], seconds: float, by: str, comment: str, language: Language
) -> str:
    reader = _reader(services, by, language)
    query = read_query(" ".join(matchers), language)
    ends_at = end_after(reader.at, seconds, language)
    # How to end it is a word for chats; here there is a button.
    return await alerts.make_silence(
        services.alerts, query, ends_at, comment[:MAX_COMMENT_CHARS], reader, tell_end=False
    )


async def _unsilence(services: WebServices, name: str, by: str, language: Language) -> str:
    return await alerts.end_silence(services.alerts, name, _reader(services, by, language))


async def _ack(services: WebServices, key: str, by: str, comment: str, language: Language) -> str:
    return await alerts.acknowledge(services.alerts, key, comment[:MAX_COMMENT_CHARS], _reader(services, by, language))


async def _silences(services: WebServices, language: Language) -> tuple[Sequence[SilenceView], Sequence[str]]:
    """The silences of all sides, and sentences about who did not answer."""
    overview = await services.alerts.list_silences(with_grafana=True)
    found = [
        SilenceView(
            each.ids[0], each.matchers, each.starts_at, each.ends_at, each.created_by, each.comment, each.places,
            can_end=each.can_end,
        )
        for each in overview.silences
    ]  # fmt: skip
    return found, list(alerts.missing_lines(overview.missing, language))


async def _alert_pictures(
    services: WebServices, found: Sequence[FiringAlert], look: Seeing
) -> Mapping[str, PictureSpec]:
    """Which picture each of these alerts would bring, by key; decided without asking anybody. Raises `StorageError`."""
    settings = services.alerts.settings.pictures or AlertPictureOptions()
    seen = replace(settings, language=look.language, theme=look.theme)
    return await services.alerts.preview_pictures(found, seen, datetime.fromtimestamp(look.at, UTC))


# ---------------------------------------------------------------- the configuration


def _config(services: WebServices) -> ConfigView:
    state = services.state
    config = state.config
    return ConfigView(
        files=tuple(map(str, config.files or (config.path,))),
        loaded_at=state.loaded_at,
        text=masked(config),
        problems=state.problems,
        later=state.later,
        version=wxbridge.__version__,
        started_at=state.started_at,
    )


def masked(config: Any) -> str:
    """A configuration as YAML, with what was written in its files, and stars for secrets."""
    data: Mapping[str, Any] = config.model_dump(mode="json", exclude_unset=True, fallback=str)
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, default_flow_style=False, width=100)


async def _examine(services: WebServices) -> list[FindingView]:
    found = await services.doctor.examine()
    return [FindingView(each.name, each.state.value, each.found, each.advice) for each in found]
