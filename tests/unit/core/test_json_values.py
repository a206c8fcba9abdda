from __future__ import annotations

import pytest

from wxbridge.core import json_values
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_number, read_json, read_json_or_text


@pytest.mark.parametrize("read", [read_json, read_json_or_text])
def test_a_body_with_too_many_values_is_refused_unparsed(read: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "MAX_JSON_VALUES", 10)
    body = b'{"a": [1, 2, 3, 4, 5], "b": "one, two, [three], {four}, \\", five, six, seven, eight"}'
    assert len(read(body)["a"]) == 5  # type: ignore[operator]
    with pytest.raises(BadBody, match="more than 10 values"):
        read(body.replace(b"5]", b"5, 6, 7, 8, 9]"))  # type: ignore[operator]


def test_a_text_may_hold_as_many_commas_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "MAX_JSON_VALUES", 10)
    assert read_json_or_text(b"a" + b", b" * 20) == "a" + ", b" * 20


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (9007199254740993, 9007199254740993), ("9007199254740993", 9007199254740993), (-(10**18) - 1, -(10**18) - 1),
        (" 1234567890123456789 ", 1234567890123456789), (12345678, 12345678.0), ("8.831563e+06", 8831563.0),
        ("1e30", 1e30), (10**400, None), ("9" * 400, None), (True, None), ("x", None), (None, None),
    ],
)  # fmt: skip
def test_a_whole_number_keeps_every_digit(value: object, number: float | None) -> None:
    found = as_number(value)
    assert (found, type(found)) == (number, type(number))
