"""What one target is told of a group, in the built-in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from wxbridge.alerts import render
from wxbridge.alerts.alert_text import write_text
from wxbridge.core.model import AlertGroup, Body, Capabilities
from wxbridge.core.text.i18n import Language

ROOMY = Capabilities(text_limit=2000)


def compose_bodies(
    group: AlertGroup,
    capabilities: Capabilities = ROOMY,
    language: Language = "en",
    note: str = "",
    *,
    timezone: tzinfo = UTC,
    now: datetime | None = None,
    mentions: Sequence[str] = (),
) -> list[Body]:
    """Write a group's text, split to the limit, then its pictures. Times are told as of `now`, else the present."""
    text = write_text(group, language, timezone, now or datetime.now(UTC))
    return render.build_bodies(text, group, capabilities, language, note, mentions)
