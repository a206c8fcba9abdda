"""The fixtures of these tests; what they are made of is in `wechat_harness`."""

from __future__ import annotations

from tests.integration.channels.wechat.wechat_harness import harness, make_harness

__all__ = ["harness", "make_harness"]
