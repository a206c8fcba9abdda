"""Telling the person in charge, once, that this machine draws Chinese letters as empty boxes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.schema import read_fact, remember_fact
from wxbridge.core.text.i18n import Language, say
from wxbridge.pictures.pages.fonts import ADVICE, find_chinese_font

log = structlog.get_logger(__name__)

TOLD = "told:no_chinese_font"
"""The fact that somebody was told."""


async def warn_of_missing_fonts(
    database: Database,
    language: Language,
    tell: Callable[[str], Awaitable[object]],
    *,
    find: Callable[[], Any] = find_chinese_font,
) -> bool:
    """Tell, once, that Chinese letters become boxes in pictures, where no font here has them.

    That it was told is a fact of the database. It is forgotten once there is a font, so that it is told again should
    the font go. A crash between telling and noting tells twice, and never not at all.

    Args:
        database: Where the fact is kept.
        language: Of what is told.
        tell: Sends one line to whoever is in charge; it raises `StorageError` where the line could not be stored.
        find: The search for a font; it may take a second, and is made in a thread.

    Returns:
        Whether it was told now. Nothing is raised: what the database does not take is logged.
    """
    try:
        there = await asyncio.to_thread(find) is not None
        told = bool(await database.read(lambda c: read_fact(c, TOLD)))
        if there is not told:
            return False  # all is well, or somebody knows
        if not there:
            log.warning("no font has Chinese letters: in pictures they become boxes", advice=ADVICE)
            await tell(say("pictures.no_chinese_font", language, advice=ADVICE))
        await database.run(lambda c: remember_fact(c, TOLD, not there, time.time()))
    except StorageError as error:
        log.error("that there is no Chinese font could not be told", error=str(error))  # noqa: TRY400
        return False
    return not there
