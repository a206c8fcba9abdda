"""A route as it stands in jobs.yaml."""

from __future__ import annotations

from pydantic import Field, field_validator

from wxbridge import routing
from wxbridge.settings import Names, Section


class RouteSettings(Section):
    """Which alerts go where. The first route that matches wins, unless it says `continue`."""

    match: dict[str, str] | list[str] = Field(default_factory=dict)
    """Labels that must be equal, or matchers such as `severity=~"critical|page"`."""
    to: Names
    """Targets."""
    continue_: bool = Field(default=False, alias="continue")
    """Whether later routes are tried too."""

    @field_validator("match")
    @classmethod
    def _matchers(cls, value: dict[str, str] | list[str]) -> dict[str, str] | list[str]:
        routing.parse_matchers(value)
        return value
