from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core import json_values
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_number, clean_json, read_json, read_json_or_text

TEXTS = st.text(st.one_of(st.characters(), st.sampled_from('\\"\n\r\t\b\0\x7f\x85\u202e\u2066\ud83d')), max_size=8)
VALUES = st.recursive(TEXTS | st.none() | st.integers(), lambda each: st.lists(each) | st.dictionaries(TEXTS, each))


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


@given(VALUES, st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_every_text_of_a_body_is_clean_however_it_is_written(value: Any, ascii_only: bool, indent: int | str) -> None:
    # Long enough that what nobody sees does not make it a body without any text.
    text = json.dumps([value, "x" * 2000], ensure_ascii=ascii_only, indent=indent)
    body = text.encode("utf-8", "surrogatepass")
    if body.decode(errors="replace") == text:
        assert read_json_or_text(body) == clean_json(json.loads(text))


@pytest.mark.parametrize(
    "body", ['{"a":"' + '\\"' * 100_000, "{" + '"\\' * 100_000, '["a\\",' * 30_000, "[1" + ", " * 100_000]
)
def test_a_broken_body_takes_a_moment(body: str) -> None:
    start = time.process_time()
    assert isinstance(read_json_or_text(body.encode()), str)
    assert time.process_time() - start < 10
