"""`outbox list|show|retry|drop`: what waits, what was sent, what died and why."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.cells import cell_len

from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.severity import worst_first
from wxbridge.cli.common import (
    ConfigOption,
    JsonOption,
    fail,
    local,
    plain,
    record,
    say,
    show,
    tell_value,
    with_database,
)
from wxbridge.cli.help_texts import CommandSet
from wxbridge.cli.reader import name_state, phrase, tell
from wxbridge.config.schema import Config
from wxbridge.config.types import parse_duration
from wxbridge.core.audit import AuditAction
from wxbridge.core.database import Database
from wxbridge.core.model import OPEN_STATES, Message, MessageState, NotificationKind, Text
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_rows import StoredNotification

app = CommandSet(no_args_is_help=True)

DEAD = (MessageState.DEAD, MessageState.EXPIRED, MessageState.UNKNOWN)
Ids = Annotated[list[int], typer.Argument(metavar="ID...", min=1, max=2**63 - 1)]


def _row(message: Message, config: Config) -> dict[str, Any]:
    body = message.body
    what = body.text if isinstance(body, Text) else f"[{body.name}]"
    return {
        "id": message.id,
        "state": message.state.value,
        "target": message.target,
        "error": ": ".join(text for text in (message.error_code, message.error) if text) or None,
        "error_code": message.error_code,
        "body": what,
        "kind": "text" if isinstance(body, Text) else "picture",
        "picture": None if isinstance(body, Text) else body.file,
        "tries": message.tries,
        "priority": message.priority,
        "possible_repeat": message.maybe_sent,
        "created": local(message.created_at, config),
        "next_try": local(message.next_try_at, config) if message.settled_at is None else None,
        "settled": local(message.settled_at, config),
        "expires": local(message.expires_at, config),
        "receipt": message.receipt,
        "notification": message.notification_id,
    }


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row as people read it: the service's code stays before the sentence."""
    code, error = row["error_code"], row["error"]
    sentence = error.removeprefix(f"{code}: ") if error else error
    told = ": ".join(text for text in (code if sentence != code else None, tell(sentence)) if text) if error else None
    return row | {"error": told, "kind": name_state(row["kind"])}


@app.command("list")
def list_(
    config: ConfigOption = None,
    state: list[str] | None = None,
    target: str | None = None,
    dead: Annotated[bool, typer.Option("--dead")] = False,  # noqa: FBT002
    waiting: Annotated[bool, typer.Option("--open")] = False,  # noqa: FBT002
    since: str | None = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """List messages, the newest first."""
    states = list(state or ())
    states += list(DEAD) if dead else []
    states += list(OPEN_STATES) if waiting else []
    unknown = sorted(set(states) - set(MessageState))
    if unknown:
        raise fail(f"there is no state {unknown[0]!r}; there are {', '.join(MessageState)}", 2)
    try:
        after = time.time() - parse_duration(since) if since else None
    except ValueError as error:
        raise fail(f"--since: {error}", 2) from None

    async def read(settings: Config, database: Database) -> list[dict[str, Any]]:
        found = await Outbox(database).list_messages(states=states, target=target, since=after, limit=limit)
        return [_row(message, settings) for message in found]

    rows = with_database(config, read)
    if not as_json:
        rows = [_for_people(row) | {"body": row["body"][:60]} for row in rows]
    show(rows, as_json=as_json, columns=("id", "state", "target", "created", "tries", "body", "error"),
         empty="no such messages")  # fmt: skip


@app.command("show")
def show_(ids: Ids, config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Show messages whole."""

    async def read(settings: Config, database: Database) -> list[dict[str, Any]]:
        outbox = Outbox(database)
        found = await outbox.get_messages(ids)
        wholes = [await outbox.find_notification(each.notification_id) for each in found]
        return [
            _row(message, settings) | {"whole": _whole(whole, settings)}
            for message, whole in zip(found, wholes, strict=True)
        ]

    rows = with_database(config, read)
    if len(rows) < len(set(ids)):
        missing = sorted(set(ids) - {row["id"] for row in rows})
        say(f"no message {', '.join(map(str, missing))}")
    if as_json:
        show(rows, as_json=True, columns=(), empty="")
    for row in rows if not as_json else ():
        for name, value in _for_people(row).items():
            if value is not None:
                label = phrase(f"terminal.heading.{name}")
                print(f"{label}{' ' * (16 - cell_len(label))} {plain(tell_value(name, value))}")  # noqa: T201
        print()  # noqa: T201
    if len(rows) < len(set(ids)):
        raise typer.Exit(1)


def _whole(stored: StoredNotification | None, config: Config) -> str | None:
    """All that was to be told, of which a message may be a part; None where that is not kept."""
    from wxbridge.alerts.digest import Digest
    from wxbridge.alerts.serialization import group_from_json

    if stored is None or stored.content is None:
        return None
    if stored.kind is NotificationKind.ALERT:
        group, now = group_from_json(stored.content), datetime.fromtimestamp(stored.created_at, UTC)
        worst = worst_first(group.alerts)
        alone = [replace(group, title=alert.title, alerts=(alert,), truncated=0) for alert in worst] or [group]
        return "\n\n".join(write_text(one, config.language, config.timezone, now) for one in alone)
    if stored.kind is NotificationKind.DIGEST:
        return Digest.from_json(stored.content).text(config.language, config.timezone)
    return str(stored.content.get("text", ""))


@app.command("retry")
def retry(ids: Ids, config: ConfigOption = None) -> None:
    """Queue messages again, whatever became of them; the running bridge sends them at once."""

    async def work(settings: Config, database: Database) -> int:
        done = await Outbox(database).retry(ids, now=time.time(), expires_after=86400)
        if done:
            await record(settings, database, AuditAction.RETRIED, ", ".join(map(str, ids)))
        return done

    _tell(with_database(config, work), len(set(ids)), "queued again")


@app.command("drop")
def drop(ids: Ids, config: ConfigOption = None) -> None:
    """Close queued messages unsent."""

    async def work(settings: Config, database: Database) -> int:
        done = await Outbox(database).drop(ids, now=time.time())
        if done:
            await record(settings, database, AuditAction.DROPPED, ", ".join(map(str, ids)))
        return done

    _tell(with_database(config, work), len(set(ids)), "dropped")


def _tell(done: int, wanted: int, word: str) -> None:
    say(f"{done} of {wanted} {word}")
    if done < wanted:
        raise typer.Exit(1)
