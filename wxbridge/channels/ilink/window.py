"""The send window of a person: how long and how often they may be written to after their last message. Pure.

Both limits are Tencent's: 24 hours, and ten messages for each message of the person.
"""

from __future__ import annotations

from dataclasses import dataclass

RESERVED_MESSAGES = 1
"""Of each window, kept for critical alerts."""
ASK_AT_LEFT = 2
"""How many messages are left when the person is asked to write."""
ASK_AFTER_SECONDS = (10 * 3600.0, 20 * 3600.0)
"""Of silence, after which the person is asked to write."""


@dataclass(frozen=True)
class SendWindow:
    """Times are seconds since the epoch. Never opened where the person has never written."""

    opened_at: float | None = None
    """When the person wrote last."""
    sent: int = 0
    """Messages since then."""
    is_refused: bool = False
    """Whether the service has said that it is closed."""
    asked: int = 0
    """How often the person was asked to write since then, for silence."""
    is_asked: bool = False
    """Whether they were since few messages are left."""

    def asks_for_few(self, left: int) -> bool:
        """Tell whether the next text is to ask the person to write, because few messages are left after it."""
        return left <= ASK_AT_LEFT + 1 and not self.is_asked

    def left(self, now: float, seconds: float, messages: int) -> int:
        """Tell how many messages may still go; `seconds` and `messages` are the limits."""
        if self.opened_at is None or self.is_refused or now - self.opened_at >= seconds:
            return 0
        return max(0, messages - self.sent)

    def asks_for_silence(self, now: float) -> bool:
        """Tell whether the person is to be asked to write because they have been silent for long."""
        if self.opened_at is None or self.asked >= len(ASK_AFTER_SECONDS):
            return False
        return now - self.opened_at >= ASK_AFTER_SECONDS[self.asked]
