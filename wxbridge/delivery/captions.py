"""Which text a picture belongs to, where it does not follow it: others were sent to its target meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

from wxbridge.core.errors import StorageError
from wxbridge.core.model import Message, MessageState, Picture, Text
from wxbridge.core.recent import RecentDict
from wxbridge.core.text.i18n import Language, say
from wxbridge.delivery.outbox import Outbox

MAX_TITLE_CHARS = 100
_MAX_CAPTIONED = 1000


class PictureCaptions:
    """What one channel sent last to each chat; before its first message since the start, the database knows.

    Several targets may lead into one chat.
    """

    def __init__(self, outbox: Outbox, language: Language, chats: Mapping[str, str]) -> None:
        self._outbox = outbox
        self._language = language
        self._chats = chats
        """Which chat each target leads to."""
        self._last: dict[str, int] = {}
        """The notification that was sent last, by chat."""
        self._captioned = RecentDict[int, None](_MAX_CAPTIONED)
        """The pictures that had a caption: none has two, however much comes between."""

    def note_sent(self, message: Message) -> None:
        """Note that a message was sent."""
        self._last[self._chat_of(message)] = message.notification_id

    def note_captioned(self, message: Message) -> None:
        """Note that the caption of a picture was sent."""
        self.note_sent(message)
        self._captioned[message.id] = None

    async def caption_of(self, message: Message) -> str:
        """Say whose picture a message is.

        Empty where it is no picture, follows its own text, where its text was not sent, and where the database cannot
        be read.
        """
        if message.id in self._captioned or not isinstance(message.body, Picture):
            return ""
        try:
            if await self._find_last(message) in (None, message.notification_id):
                return ""
            stored = await self._outbox.find_notification(message.notification_id)
        except StorageError:
            return ""
        texts = [each.body for each in stored.messages if each.state is MessageState.SENT] if stored else []
        title = next((body.text.strip().partition("\n")[0] for body in texts if isinstance(body, Text)), "")
        if len(title) > MAX_TITLE_CHARS:
            title = f"{title[: MAX_TITLE_CHARS - 1]}…"
        return say("delivery.picture_of", self._language, title=title) if title else ""

    async def _find_last(self, message: Message) -> int | None:
        """Find the notification that the chat was sent last. Raises `StorageError`."""
        chat = self._chat_of(message)
        if chat not in self._last:
            targets = [name for name, its in self._chats.items() if _key(its, message.recipient) == chat]
            last = await self._outbox.find_last_sent(targets, message.recipient)
            if last is None:
                return None
            self._last.setdefault(chat, last)
        return self._last[chat]

    def _chat_of(self, message: Message) -> str:
        return _key(self._chats[message.target], message.recipient)


def _key(chat: str, recipient: str | None) -> str:
    return chat if recipient is None else f"{chat}\n{recipient}"
