"""What monitors send → AlertGroup. Each source is one module with `parse`, and one line in the registry."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from wxbridge.core.model import AlertGroup, PictureSpec
from wxbridge.core.pictures import fetch_spec

MAX_ALERTS_PER_BODY = 5_000
"""How many alerts of one body are read; what is above counts as truncated."""

RETRY_SECONDS = 55.0
"""How long after a Grafana the same is a replica's: none retries, and what it says again, a minute later or more, is
a reminder. Less than the minute, for clocks and networks are not exact."""

UPDATE, UPDATED_BY = "update", "updated_by"
"""The annotations that say what somebody has done with a problem (acknowledged, commented, …), and who."""

ParseBody = Callable[[bytes, Mapping[str, str]], AlertGroup]
"""Reads a posted body and its headers. Raises `BadBody` where nothing can be read."""


def picture_at(address: str) -> PictureSpec | None:
    """A picture to be fetched from an address (http, https or `data:`); None where there is none."""
    return fetch_spec(address) if address else None


WEB_SCHEMES = ("http://", "https://")
"""How an address begins that a person can open."""


def base_address(address: str) -> str:
    """What an address says of its server: host and port, and where the server lies below a path, that path.

    Empty for what is no web address. Of a page of Grafana's, the path is what stands before the page.
    """
    if not address.startswith(WEB_SCHEMES):
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.netloc.rpartition('@')[2]}{_PAGE.split(parts.path, maxsplit=1)[0]}".rstrip("/").lower()


_PAGE = re.compile(r"/(?:d|d-solo|dashboard|dashboards|alerting|explore|graph)(?=/|$)")


def strip_times(address: str) -> str:
    """An address without the times that it shows: Grafana's links name that of the notification."""
    return _TIME_IN_ADDRESS.sub("", address)


_TIME_IN_ADDRESS = re.compile(r"(?<=[?&])(?:from|to)=\d+&?")


GRAFANAS_OWN = frozenset({"DatasourceNoData", "DatasourceError"})
"""The names of alerts that Grafana makes of rules without data, and of those that cannot be evaluated."""


def rule_name_of(labels: Mapping[str, str]) -> str:
    """The name of the rule that an alert comes from, by its labels: of Grafana's own alerts that of the rule meant."""
    name = labels.get("alertname", "")
    return (labels.get("rulename", "").strip() or name) if name in GRAFANAS_OWN else name


def short_hash(value: Any) -> str:
    """A name for a JSON value that no other value has: 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def strip_state(title: str) -> str:
    """`[Alerting] x` and `[OK] x` are of one rule, also where it has neither an id nor a name."""
    return re.sub(r"^\[[^\]]*\]\s*", "", title)


_MAX_INDENTED_CHARS = 1000
"""Characters up to which JSON is told in lines; beyond that they are more spaces than words."""


def as_free_text(source: str, data: Any, *, title: str = "", recipients: tuple[str, ...] = ()) -> AlertGroup:
    """A readable body that is no alert: told as it stands."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, indent=1)
    if not isinstance(data, str) and len(text) > _MAX_INDENTED_CHARS:
        text = json.dumps(data, ensure_ascii=False)
    return AlertGroup(source=source, group_key="", title=title or source, text=text, recipients=recipients)
