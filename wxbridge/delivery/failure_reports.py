"""Tells the person in charge what was given up: at once, then together, and also where the bridge was killed between.

What died is noted in the database until it was told (`failure_notes`). A crash between telling and forgetting the note
tells a line twice; none is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from wxbridge.core.errors import StorageError
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say
from wxbridge.delivery.context import DeliveryContext
from wxbridge.delivery.failure_notes import FailureNote

log = structlog.get_logger()

MAX_FAILURES_TOLD_SINGLY = 3


async def try_report_failures(context: DeliveryContext) -> None:
    """Do `report_failures`, where the next look does it if this cannot."""
    try:
        await report_failures(context)
    except StorageError as error:  # it is noted: the next look tells it
        log.warning("what was given up cannot be told now", error=str(error))


async def report_failures(context: DeliveryContext) -> None:
    """Tell what is noted, target by target; call it every second or so. Raises `StorageError`."""
    outbox = context.outbox
    if not await outbox.has_failure_notes():
        return
    for target, notes in (await outbox.take_failure_notes(now=context.clock.wall())).items():
        for line in _lines(context, target, notes):
            await context.operators.tell(line, target)
        await context.insist(outbox.forget_failure_notes, [note.message_id for note in notes])


def _lines(context: DeliveryContext, target: str, notes: Sequence[FailureNote]) -> list[str]:
    """Each message where they are few, else how many, with the first and its error."""
    language = context.language
    each = [
        say("delivery.dead", language, id=note.message_id, target=target, error=tell_error(note.error, language))
        for note in notes
    ]
    if len(each) <= MAX_FAILURES_TOLD_SINGLY:
        return each
    if all(note.is_expired for note in notes):
        return [say("delivery.many_expired", language, target=target, n=len(notes), first=notes[0].message_id)]
    return [f"{each[0]}\n{say('text.more', language, n=len(each) - 1)}"]
