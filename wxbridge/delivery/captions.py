"""Which text a picture belongs to, where it does not follow it: others were sent to its target meanwhile."""

from __future__ import annotations

from wxbridge.core.errors import StorageError
from wxbridge.core.model import Message, MessageState, Picture, Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.delivery.outbox import Outbox

MAX_TITLE_CHARS = 100
_MAX_CAPTIONED = 1000


class PictureCaptions:
    """What one channel sent last to each of its targets, since the bridge started."""

    def __init__(self, outbox: Outbox, language: Language) -> None:
        self._outbox = outbox
        self._language = language
        self._last: dict[str, int] = {}
        """The notification that was sent last, by target."""
        self._captioned: dict[int, None] = {}
        """The pictures that had a caption: none has two, however much comes between."""

    def note_sent(self, message: Message) -> None:
        """Note that a message was sent."""
        self._last[message.target] = message.notification_id

    def note_captioned(self, message: Message) -> None:
        """Note that the caption of a picture was sent."""
        self.note_sent(message)
        self._captioned[message.id] = None
        while len(self._captioned) > _MAX_CAPTIONED:
            del self._captioned[next(iter(self._captioned))]

    async def caption_of(self, message: Message) -> str:
        """Say whose picture a message is.

        Empty where it is no picture, follows its own text or nobody knows (after a restart), where its text was not
        sent, and where the database cannot be read.
        """
        last = self._last.get(message.target)
        if last in (None, message.notification_id) or message.id in self._captioned:
            return ""
        if not isinstance(message.body, Picture):
            return ""
        try:
            stored = await self._outbox.find_notification(message.notification_id)
        except StorageError:
            return ""
        texts = [each.body for each in stored.messages if each.state is MessageState.SENT] if stored else []
        title = next((body.text.strip().partition("\n")[0] for body in texts if isinstance(body, Text)), "")
        if len(title) > MAX_TITLE_CHARS:
            title = f"{title[: MAX_TITLE_CHARS - 1]}…"
        return say("delivery.picture_of", self._language, title=title) if title else ""
