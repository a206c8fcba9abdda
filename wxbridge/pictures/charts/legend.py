"""What the curves of a chart are called: by the labels that tell them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_NAME = "__name__"
_MAX_NAMELESS_VALUES = 3
"""So many values can stand without the names of their labels."""
_WORDLESS = re.compile(r"[\d.:+-]{0,4}|true|false|")
"""Values that say nothing without the name of their label."""


def common(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The labels that all have, with the same value, without the metric's name."""
    if not labels:
        return {}
    first, *rest = labels
    return {
        name: value for name, value in first.items() if name != _NAME and all(each.get(name) == value for each in rest)
    }


def names(labels: Sequence[Mapping[str, str]]) -> list[str]:
    """Name each by the labels that not all share: `web-1`, `web-1 · sda`, `cpu=0`; else by what it measures."""
    shared = common(labels)
    metrics = {each.get(_NAME, "") for each in labels}
    return [_one({name: value for name, value in each.items() if name not in shared}, each, metrics) for each in labels]


def _one(own: Mapping[str, str], all_labels: Mapping[str, str], metrics: set[str]) -> str:
    parts = [value for name, value in own.items() if name == _NAME and len(metrics) > 1]
    own = {name: value for name, value in own.items() if name != _NAME}
    bare = len(own) <= _MAX_NAMELESS_VALUES
    parts += [
        value if bare and not _WORDLESS.fullmatch(value) else f"{name}={value}" for name, value in sorted(own.items())
    ]
    if parts:
        return " · ".join(parts)
    return all_labels.get("instance") or all_labels.get(_NAME) or ""


def line(labels: Mapping[str, str]) -> str:
    """Labels in one line: `instance=web-1  job=node`."""
    return "  ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name not in (_NAME, "alertname"))
