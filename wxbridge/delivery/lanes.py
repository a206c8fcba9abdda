"""The lanes in use, and what is left of their pace."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from wxbridge.delivery.context import Lane


class LaneTable:
    """The lanes of the configuration in use; `lanes` is replaced by another."""

    def __init__(self) -> None:
        self.lanes: Sequence[Lane] = ()

    def find(self, name: str) -> Lane | None:
        """Find a lane by its name (`wechat`, `wecom_bot:NAME`)."""
        return next((lane for lane in self.lanes if lane.name == name), None)

    def budgets(self) -> dict[str, Mapping[str, int]]:
        """Tell how many messages may still go in each window of each lane's pace: by lane, by rate (`30/min`)."""
        now = time.monotonic()
        return {lane.name: lane.pacer.windows_left(now) for lane in self.lanes}
