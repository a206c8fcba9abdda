"""The fixtures of these tests; what they are made of is in `wechat_bench`."""

from __future__ import annotations

from tests.integration.channels.wechat.wechat_harness import bench, make_bench

__all__ = ["bench", "make_bench"]
