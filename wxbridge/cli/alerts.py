"""`send` and `alert test`: putting messages in by hand; `alerts`: what fires."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wxbridge.cli.common import (
    FAILED,
    WRONG_USAGE,
    ConfigOption,
    JsonOption,
    command_to_start,
    fail,
    is_resolved,
    local,
    print_json,
    reach_here,
    read_config_in_use,
    record,
    say,
    show,
    with_database,
)
from wxbridge.cli.help_texts import CommandSet
from wxbridge.cli.reader import name_part, phrase
from wxbridge.config.hooks import HookSettings
from wxbridge.config.schema import Config
from wxbridge.config.types import reveal
from wxbridge.core import logging
from wxbridge.core.audit import AuditAction
from wxbridge.core.database import Database
from wxbridge.core.matchers import Matcher, matches_all, parse_matchers
from wxbridge.core.model import Capabilities, MessageState, Picture, Priority, Text
from wxbridge.core.state_lock import is_held

if TYPE_CHECKING:
    from wxbridge.cli.sample_alerts import SampleAlert  # brings PIL

alert = CommandSet(no_args_is_help=True)

WAIT = 30.0
"""Seconds that `send` waits for the outcome."""


def send(
    target: str,
    text: Annotated[str, typer.Argument()] = "",
    image: Path | None = None,
    config: ConfigOption = None,
) -> None:
    """Send a text, a picture, or both, through the outbox, and wait until the bridge has delivered it."""
    if not text.strip() and image is None:
        raise fail("there is nothing to send: give a TEXT or --image FILE", 2)

    if not with_database(config, lambda settings, database: _send(settings, database, target, text, image)):
        raise typer.Exit(FAILED)


async def _send(settings: Config, database: Database, target: str, text: str, image: Path | None) -> bool:
    from wxbridge import parts
    from wxbridge.alerts import render
    from wxbridge.delivery.outbox import Outbox

    targets = parts.all_targets(settings)
    if target not in targets:
        raise fail(f"there is no target {target!r}; there are {', '.join(sorted(targets)) or 'none'}", 2)
    destination = parts.destinations_of(targets)[target]
    if destination.recipients(()) is not None:
        raise fail(f"the target {target!r} sends to those whom an alert names; name one with a room or a contact", 2)
    bodies: list[Text | Picture] = [Text(text)] if text.strip() else []
    if image:
        bodies.append(await _picture(settings, database, image, destination.capabilities))
    note = render.make_notification("cli", target, bodies, destination, settings.language, Priority.REPLY)
    accepted = await Outbox(database).put([note])
    await record(settings, database, AuditAction.SENT, target)
    if not is_held(settings.state_dir):
        say(f"queued; it is sent when the bridge runs (`{command_to_start(settings)}`)")
        return True
    return await _outcome(database, list(accepted.ids))


async def _picture(settings: Config, database: Database, image: Path, capabilities: Capabilities) -> Picture:
    from wxbridge.pictures.fetch import read_file
    from wxbridge.pictures.store import PictureStore

    fetched = await read_file(image, max_bytes=capabilities.picture_limit)
    return await PictureStore.below(settings.state_dir, database).save(fetched.data, image.name)


async def _outcome(database: Database, ids: list[int]) -> bool:
    from wxbridge.delivery.outbox import Outbox

    deadline = time.monotonic() + WAIT
    while True:
        rows = await Outbox(database).get_messages(ids)
        still = [row for row in rows if row.settled_at is None]
        if not still:
            break
        if time.monotonic() > deadline:
            reason = next(
                (row.error for row in still if row.error), "the channel may be offline; see `wxbridge status`"
            )
            say(f"still queued after {WAIT:g} s: {reason}")
            return False
        await asyncio.sleep(0.1)
    for row in rows:
        say(f"{row.id} {row.state.value}" + (f": {row.error}" if row.error else ""))
    return all(row.state is MessageState.SENT for row in rows)


@alert.command("test")
def alert_test(
    source: Annotated[str | None, typer.Option(show_default="grafana")] = None,
    status: str = "firing",
    file: Path | None = None,
    to: str | None = None,
    config: ConfigOption = None,
) -> None:
    """Post a sample alert with values and a picture to the running bridge, as the monitor would."""
    from wxbridge.cli import sample_alerts

    resolved = is_resolved(status)
    name = source or ("generic" if file else "grafana")
    if name not in sample_alerts.SAMPLES:
        raise fail(f"there is no sample for {name!r}; there are {', '.join(sample_alerts.SAMPLES)}", WRONG_USAGE)
    sample = sample_alerts.SAMPLES[name]
    try:
        body = file.read_bytes() if file else sample.body(resolved=resolved)
    except OSError as error:
        raise fail(f"{file} cannot be read: {error.strerror}", WRONG_USAGE) from None
    code, answer = asyncio.run(_post(read_config_in_use(config), sample, to, body))
    print_json(answer)
    if code != 202:  # noqa: PLR2004 - HTTP
        raise fail(f"the bridge answered {code}")


async def _post(settings: Config, sample: SampleAlert, to: str | None, body: bytes) -> tuple[int, Any]:
    import aiohttp

    from wxbridge.alerts.intake import TEST_HEADER
    from wxbridge.core.errors import describe_error

    # A bridge that listens on port 0 or on all addresses has noted where it really is.
    base = await _noted_url(settings) or f"http://{settings.server.listen}"
    url = f"{reach_here(base)}/hooks/{sample.hook}"
    headers = {"Content-Type": sample.content_type, TEST_HEADER: "1"} | _credentials(settings, sample.hook, body)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.post(url, data=body, headers=headers, params={"to": to} if to else None) as response,
        ):
            return response.status, await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        running = "" if is_held(settings.state_dir) else f"; no bridge runs here: start `{command_to_start(settings)}`"
        raise fail(f"cannot post to {url}: {describe_error(error)}{running}") from None


def _credentials(settings: Config, hook: str, body: bytes) -> dict[str, str]:
    """What opens a hook: the server's token, else the hook's own, else a signature."""
    own: HookSettings = getattr(settings.hooks, hook.partition("/")[0])
    for token in (settings.server.token, own.token):
        if reveal(token):
            return {"Authorization": f"Bearer {reveal(token)}"}
    if own.hmac_secret is None:
        return {}
    stamp = str(int(time.time())) if own.timestamp_header else ""
    signed = f"{stamp}:".encode() + body if stamp else body
    signature = hmac.new(own.hmac_secret.get_secret_value().encode(), signed, hashlib.sha256).hexdigest()
    return {own.signature_header: signature} | ({own.timestamp_header: stamp} if own.timestamp_header else {})


async def _noted_url(settings: Config) -> str | None:
    from wxbridge.cli.common import database_of
    from wxbridge.core.schema import read_fact

    if not is_held(settings.state_dir):
        return None
    with database_of(settings) as database:
        about = await database.read(lambda c: read_fact(c, "bridge")) or {}
    return str(about.get("url", "")) or None


def alerts(
    matchers: Annotated[list[str] | None, typer.Argument(metavar="[MATCHER]...")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """List what fires, the worst first: in Alertmanager, in Grafana, and of what was posted here.

    Exit code 1 where one of those that are asked did not answer: something may be missing.
    """
    from wxbridge.alerts import firing

    wanted = _parse_matchers(matchers or ())
    logging.configure("auto", "error")

    async def read(settings: Config, database: Database) -> tuple[firing.FiringOverview, Config]:
        from wxbridge.alerts.service import AlertMonitors, AlertService
        from wxbridge.delivery.outbox import Outbox

        service = AlertService(database, Outbox(database), monitors=AlertMonitors.of(settings))
        try:
            await service.reload_silences()
            return await service.overview(), settings
        finally:
            await service.close()

    overview, settings = with_database(config, read)
    rows = [firing.as_json(each) for each in overview.alerts if matches_all(wanted, each.labels)]
    if not as_json:
        rows = [_alert_row(row) | {"since": local(row["since"], settings)} for row in rows]
    columns = ("id", "status", "alert", "labels", "since", "places", "held")
    show(rows, as_json=as_json, columns=columns, empty="nothing fires")
    for name, why in overview.missing.items():
        say(f"{name} did not answer: {why}")
    if overview.left_out:
        say(phrase("alerts.left_out", n=overview.left_out))
    if overview.missing or overview.left_out:
        raise typer.Exit(FAILED)


def _parse_matchers(words: Sequence[str]) -> tuple[Matcher, ...]:
    """Read matchers as Alertmanager's command line does. Exit code 2 where they are none."""
    named = [word if re.search(r"[=!~]", word) else f"alertname={word}" for word in words]
    try:
        return parse_matchers(named)
    except ValueError as error:
        raise fail(str(error), WRONG_USAGE) from None


def _alert_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One alert as a line of the table."""
    labels = ", ".join(f"{name}={value}" for name, value in row["labels"].items() if name != "alertname")
    held = [phrase("terminal.alerts.silenced", ids=", ".join(row["silenced_by"]))] if row["silenced_by"] else []
    held += [phrase("terminal.alerts.inhibited")] if row["inhibited"] else []
    held += [phrase("terminal.alerts.acked", by=row["acked_by"])] if row["acked_by"] else []
    return {
        "id": row["key"][:8],
        "status": row["state"] or row["status"],
        "alert": row["title"],
        "labels": labels,
        "places": ", ".join(map(name_part, row["places"])),
        "held": phrase("terminal.and").join(held),
    }
