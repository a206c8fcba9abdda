"""Time intervals for routes: weekdays, times of day and the like, in Alertmanager's words. Pure."""

from __future__ import annotations

from datetime import datetime

from wxbridge.settings import Names, Section


class TimeInterval(Section):
    """One stretch of the week or the year; it holds where all that is given holds."""

    times: Names = ()
    """`22:00-08:00`, in the interval's zone; the end is exclusive, and one before its start goes over midnight."""
    weekdays: Names = ()
    """`mon`, or a range such as `mon-fri`."""
    timezone: str | None = None
    """The file's `timezone` when not given."""

    def holds(self, now: datetime) -> bool:
        """Tell whether a moment (aware) falls into it."""
        raise NotImplementedError
