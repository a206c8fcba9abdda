"""The fixtures of these tests; what they are made of is in `bot_harness`."""

from __future__ import annotations

from tests.integration.bot.bot_harness import make_talk, talk

__all__ = ["make_talk", "talk"]
