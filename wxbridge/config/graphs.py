"""The `graphs` section of jobs.yaml: short names for what people ask to see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wxbridge.config.types import ONE_OR_MANY, OrgId, Section, find_timezone, one_or_many
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.text.normalise import fold

MAX_PANELS = 4
"""Pictures of one reply."""
_SIZE = re.compile(r"(\d{2,5})\s*[x×*]\s*(\d{2,5})", re.IGNORECASE)
MIN_SIDE, MAX_SIDE = 100, 4000


class PictureSize(NamedTuple):
    """How large a picture is: CSS pixels, and pixels for each."""

    width: int
    height: int
    scale: int = 1


WIDE, TALL = PictureSize(960, 400, 2), PictureSize(540, 800, 2)
"""Twice as sharp as they are large, as panels are without a size."""
_SIZES = {**dict.fromkeys(("wide", "宽图", "宽屏"), WIDE), **dict.fromkeys(("tall", "高图", "长图"), TALL)}


def parse_size(text: str) -> PictureSize | None:
    """Read `800x400` (exactly so many pixels), `wide` or `tall`; None where it is none of them.

    Raises:
        ValueError: a side is not between 100 and 4000.
    """
    known = _SIZES.get(text.casefold())
    found = _SIZE.fullmatch(text)
    if known or found is None:
        return known
    size = PictureSize(int(found[1]), int(found[2]))
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in (size.width, size.height)):
        raise ValueError(f"{text}: a side is between {MIN_SIDE} and {MAX_SIDE} pixels, as in 800x400")
    return size


def parse_timezone(text: str) -> str:
    """Read the name of a time zone, such as Asia/Shanghai or UTC.

    Raises:
        ValueError: there is none of this name.
    """
    return find_timezone("UTC" if text.upper() in ("UTC", "GMT", "Z") else text).key


def _size(text: str) -> str:
    if parse_size(text) is None:
        raise ValueError(f"{text!r} is no size; write one like 800x400, wide or tall")
    return text


def _values(value: Any) -> Any:
    return {
        name: each if isinstance(each, list) else [each] for name, each in value.items()
    } if isinstance(value, Mapping) else value  # fmt: skip


class GraphSettings(Section):
    """What a short name shows: a dashboard of Grafana, some of its panels, or any page."""

    url: Annotated[str, Field(pattern=r"^\S+$")]
    """A path below `grafana.url`, or an address. Its own `from`, `to`, `var-…` and `viewPanel` count where the keys
    beside it say nothing."""
    panel: Annotated[
        tuple[int | str, ...], BeforeValidator(one_or_many), Field(max_length=MAX_PANELS, json_schema_extra=ONE_OR_MANY)
    ] = ()
    """A panel or several: the number in its address (`viewPanel=4`), or its title. Without one: the whole dashboard."""
    org: OrgId | None = None
    """The organisation of Grafana that has it; that of the address, else the account's own, when not given."""
    from_: str | None = Field(default=None, alias="from")
    """Since when: `now-6h`, `6h`, `now/d`."""
    to: str | None = None
    """Until when; now where nothing is said."""
    vars: Annotated[
        dict[str, Annotated[tuple[str, ...], Field(json_schema_extra=ONE_OR_MANY)]], BeforeValidator(_values)
    ] = Field(default_factory=dict)
    """Values of the dashboard's variables, each one or a list."""
    size: Annotated[str | None, AfterValidator(lambda text: text and _size(text))] = None
    """`800x400`, `wide` or `tall`."""
    theme: Literal["light", "dark"] | None = None
    timezone: Annotated[str | None, AfterValidator(lambda text: text and parse_timezone(text))] = None
    """That the picture is in; the bridge's own when not given."""
    title: str | None = None
    """What it is called in lists and above the picture."""

    @model_validator(mode="after")
    def _range(self) -> GraphSettings:
        from wxbridge.core.text import time_range  # the grammar of times, for what most files have not

        try:
            time_range.parse_ends(self.from_, self.to, datetime.now(UTC))
        except CannotAnswer as error:
            raise ValueError(str(error)) from None
        return self


def _names(graphs: dict[str, GraphSettings]) -> dict[str, GraphSettings]:
    seen: dict[str, str] = {}
    for name in graphs:
        if not name.strip() or any(sign in name for sign in "=,，"):
            raise ValueError(f"{name!r} is no name for a graph: it is empty or has one of = and , in it")
        if fold(name) in seen:
            raise ValueError(f"the graphs {seen[fold(name)]!r} and {name!r} are the same name to people")
        seen[fold(name)] = name
    return graphs


Graphs = Annotated[dict[str, GraphSettings], AfterValidator(_names)]
"""The section: what people write → what is shown. Names may be Chinese and hold blanks."""
