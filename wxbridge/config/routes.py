"""A route as it stands in jobs.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from wxbridge.config.types import ONE_OR_MANY, Duration, Names, Section
from wxbridge.core.matchers import parse_matchers

Path_ = tuple[str | int, ...]
PICTURE_WAYS = ("image", "panel", "chart")
"""Where an alert's picture comes from, in the order in which they are tried where nothing else is said."""


def _alone(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > 1 and {"auto", "none"} & set(value):
        raise ValueError("`auto` and `none` stand alone")
    return value


PictureWays = Annotated[
    tuple[Literal["auto", "image", "panel", "chart", "none"], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(json_schema_extra=ONE_OR_MANY),
    AfterValidator(_alone),
]
"""A way to an alert's picture, or several in order."""


class NestedRoute(Section):
    """Which alerts go where. Among its siblings the first that matches wins, unless it says `continue`.

    What is not given is as in the route around it.
    """

    match: dict[str, str] | list[str] = Field(default_factory=dict)
    """Labels that must be equal, or matchers such as `severity=~"critical|page"`."""
    to: Names | None = None
    """Targets; `[]` for nobody, on purpose."""
    continue_: bool = Field(default=False, alias="continue")
    """Whether later routes are tried too."""
    routes: list[NestedRoute] = Field(default_factory=list)
    """Finer routes for what matches here; where none of them matches, this one answers."""
    mention: Names | None = None
    """Who is mentioned with each alert: names, a roster of `people:` such as `rota` for whose turn it is, `all` for
    everyone."""
    mention_label: Names | None = None
    """Labels or annotations of which the first that an alert has says who is mentioned too, through `people:`."""
    repeat_interval: Duration | None = None
    """How often an alert that still fires is told again; `0s` for never."""
    resolve_timeout: Duration | None = None
    """How long the sender of an alert that fires is silent before the alert is over; nobody is told. Where nothing is
    said: three times the longest time between two times that it said the same, `10m` to `24h`; `24h` where it said it
    once. `0s` takes a longer route's word back."""
    send_resolved: bool | None = None
    """Whether the end of an alert is told too. Yes, where nothing is said."""
    template: str | None = None
    """The name of a file in `templates:`; empty for the target's own or the built-in text."""
    mute_time_intervals: Names | None = None
    """Names of `time_intervals` in which nothing is told; what still fires at their end is told then."""
    active_time_intervals: Names | None = None
    """Names of `time_intervals` outside of which nothing is told."""
    pictures: PictureWays | None = None
    """Which picture follows an alert's text: `image` (its own), `panel` (the Grafana panel that it names), `chart`
    (drawn from Prometheus), or a list of these in the order in which they are tried; `auto` for all three, `none` for
    none. `auto`, where nothing is said."""

    @field_validator("match")
    @classmethod
    def _matchers(cls, value: dict[str, str] | list[str]) -> dict[str, str] | list[str]:
        parse_matchers(value)
        return value

    @field_validator("mention", "mention_label")
    @classmethod
    def _no_template(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if "{{" in name or "{%" in name:
                label = next(iter(re.findall(r"[Ll]abels[.\['\"]+(\w+)", name)), "owner")
                raise ValueError(
                    f"{name!r} is a template, and names are written here; `mention_label: {label}` mentions "
                    "whom a label names"
                )
        return value


class RouteSettings(NestedRoute):
    """Which alerts go where. The first route that matches wins, unless it says `continue`."""

    any_of = (("to", "routes"),)

    @model_validator(mode="after")
    def _leads_somewhere(self) -> RouteSettings:
        missing = list(_without_to(self, ()))
        if missing:
            raise ValidationError.from_exception_data(
                "RouteSettings", [{"type": "missing", "loc": (*path, "to"), "input": {}} for path in missing]
            )
        return self


def _without_to(route: NestedRoute, path: Path_) -> Iterator[Path_]:
    """The innermost routes that have no `to`, nor has any around them."""
    if route.to is not None:
        return
    if not route.routes:
        yield path
    for index, inner in enumerate(route.routes):
        yield from _without_to(inner, (*path, "routes", index))
