"""Pictures that cannot be made: their chats read a word of it at most, those in charge why, once per cause and hour."""

from __future__ import annotations

import re
from contextlib import suppress

import structlog

from wxbridge.alerts import render
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Message, Picture, Text
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say
from wxbridge.delivery.context import DeliveryContext
from wxbridge.delivery.outbox_statements import MissingPictureWords

log = structlog.get_logger()

MAX_CAUSE_CHARS = 200
"""Of an error that tells one cause from another."""
_TRIES = re.compile(r" \(\d+ tries in [\d.]+ s\)")
_ADDRESS = re.compile(r"(https?://[^/\s]+)\S*")
_PATH = re.compile(r"(?<=\s)/\S+")


async def miss_pictures(context: DeliveryContext, message: Message, error: str, send_id: int | None = None) -> None:
    """Close a picture that cannot be made, and those who wait for the same; say why where that is of use.

    `send_id` is the attempt that found it out, which takes no place in the pace.
    """
    words = MissingPictureWords(lambda text: _mark(context, text), lambda picture: _stand_in(context, picture))
    missing = await context.insist(
        context.outbox.miss_pictures, message, words, now=context.clock.wall(), error=error, send_id=send_id
    )
    for each in missing:
        context.count(each.target, "no_picture")
        log.warning("a picture could not be made", message=each.id, target=each.target, error=error)
    with suppress(StorageError):  # it stands in the log and with the message
        if await context.outbox.note_missing_cause(find_cause(error), now=context.clock.wall()):
            reason = tell_error(error, context.language)
            about = {"id": message.id, "target": message.target, "reason": reason}
            await context.operators.tell(say("delivery.pictures_missing", context.language, **about))


def find_cause(error: str) -> str:
    """Give what errors of one cause have in common: paths, figures and how often it was tried do not count."""
    text = _TRIES.sub("", error)
    text = _PATH.sub("/…", _ADDRESS.sub(r"\1", text))
    return re.sub(r"\d+", "#", text)[:MAX_CAUSE_CHARS]


def _mark(context: DeliveryContext, text: Message) -> str | None:
    lane = context.lane_of(text.target)
    if lane is None or not isinstance(text.body, Text):
        return None
    return render.add_line(text.body, say("delivery.picture_missing", context.language), lane.capabilities[text.target])


def _stand_in(context: DeliveryContext, picture: Message) -> str:
    spec = picture.body.spec if isinstance(picture.body, Picture) else None
    return render.stand_in(say("delivery.picture_missing", context.language), spec)
