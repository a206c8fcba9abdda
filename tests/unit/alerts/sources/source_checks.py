"""What must hold of whatever a source makes of a body."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.unit.alerts.composing import compose_bodies
from wxbridge.alerts import routing, serialization
from wxbridge.core.errors import BadBody
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.model import AlertGroup, AlertStatus, Text

JSON_TYPE = {"Content-Type": "application/json"}
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}

Parse = Callable[[bytes, Mapping[str, str]], AlertGroup]

ODD = [None, 0, -1.5, True, False, "", "x", "\x00", [], {}, [None], {"a": None}, [[1]], {"a": {"b": []}}]
"""What may stand anywhere instead of what was expected."""


def json_values(**known: Any) -> st.SearchStrategy[Any]:
    """Any JSON; objects often have the `known` names, with what may stand there."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    return st.recursive(
        leaves | st.sampled_from([name for names in known.values() for name in names] or [""]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(sorted(known) or ["a"]) | st.text(max_size=5), inner, max_size=5)
        ),
        max_leaves=12,
    )


@st.composite
def spoiled(draw: st.DrawFn, samples: list[Any]) -> Any:
    """A sample in which something, somewhere, is something else, or is not there."""
    data = copy.deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 3))):
        place = data
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if draw(st.booleans()) and isinstance(place[key], dict | list):
                place = place[key]
                continue
            if draw(st.booleans()):
                del place[key]
            else:
                place[key] = copy.deepcopy(draw(st.sampled_from(ODD) | st.floats() | st.text(max_size=8)))
            break
    return data


def check_usable(group: AlertGroup) -> None:
    """Whatever was read can be routed, composed, kept, and written to a database and a wire."""
    routing.split_by_target(group, routing.compile_routes([routing.Route(parse_matchers(['a=~".*"']), ("ops",))]))
    for language in ("en", "zh"):
        bodies = compose_bodies(group, language=language)
        assert bodies
        for body in bodies:
            if isinstance(body, Text):
                assert body.text.strip()
                assert "\x00" not in body.text
                body.text.encode()
    content = serialization.group_to_json(group)
    json.dumps(content, allow_nan=False).encode()
    again = serialization.group_from_json(content)
    assert serialization.group_to_json(again) == content
    if not any(value.number != value.number for alert in group.alerts for value in alert.values):
        assert again == group
    for alert in group.alerts:
        assert alert.fingerprint or alert.is_test
        assert isinstance(alert.status, AlertStatus)
        for text in (alert.title, alert.state, alert.link or "", *alert.links.values()):
            assert isinstance(text, str)
        for name, label in {**alert.labels, **alert.annotations}.items():
            assert isinstance(name, str)
            assert isinstance(label, str)


def check_told_or_refused(parse: Parse, body: bytes, headers: Mapping[str, str]) -> None:
    """A body is either read, or refused with a sentence; nothing else comes out."""
    try:
        group = parse(body, headers)
    except BadBody as error:
        assert str(error).endswith(".")  # noqa: PT017 - either outcome is right
    else:
        check_usable(group)


def check_told(parse: Parse, data: Any, headers: Mapping[str, str]) -> None:
    """Any JSON is told, but what says nothing."""
    if data is None or data in ([], ""):
        with pytest.raises(BadBody, match="nothing in the body"):
            parse(json.dumps(data).encode(), headers)
    else:
        check_usable(parse(json.dumps(data).encode(), headers))


def posted(parse: Parse, data: Any, headers: Mapping[str, str] = JSON_TYPE) -> AlertGroup:
    """What a source makes of a JSON value."""
    group = parse(json.dumps(data).encode(), headers)
    check_usable(group)
    return group
