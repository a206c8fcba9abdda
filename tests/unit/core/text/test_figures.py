"""Numbers within texts as programs write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core.text.figures import write_figures, write_label_figure


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("8.831563e+06", "8831563"),
        ("db-1 队列 1.234567891e+06", "db-1 队列 1234567.891"),
        ("VALUE = 4.7999999951571226", "VALUE = 4.8"),
        ("VALUE = 0.047999999951571226, high", "VALUE = 0.048, high"),
        ("值为0.047999999951571226秒。", "值为0.048秒。"),
        ("(used:93.21000000000001%)", "(used:93.21%)"),
        ("-4.79999999e-05 left", "-0.000048 left"),
        ("1e-05 1E+06 8.831563E6", "0.00001 1000000 8831563"),
        ("expires 1.798761599e+09", "expires 1798761599"),
        ("0.500000000 of 12.000000", "0.5 of 12"),
        ("mean 101.2063227953411 of db-1.", "mean 101.206 of db-1."),
        ("0.047999999951571226GiB", "0.048GiB"),
        ("99.9999999 % up", "99.9999999 % up"),
        ("100.0000000 %", "100 %"),
    ],
)
def test_a_number_that_stands_alone_is_written_as_a_person_does(text: str, written: str) -> None:
    assert write_figures(text) == written


@pytest.mark.parametrize(
    "text",
    [
        "12345678", "20261129004471", "12345.67 元", "1.5", "10.1.1.9:9100", "1.2.3456789", "v1.23456789",
        "a-1.23456789", "14:23:32.123456789", "2026-11-29T12:40:00.123456789Z", "http://x/?v=0.123456789&w=1e+06",
        "/var/1.23456789/x", "1,234567.1234567", "8831563e06",
        "1234e567", "commit 12e+34f5", "1e+300", "file-1.1234567-2.tar", "x1e+06",
        "web_0.1234567", "1.2345678_a", "e", "", "NaN", "+Inf", "0x1.8p+1", "00012.3456789",
    ],
)  # fmt: skip
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert write_figures(text) == text


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("8.831563e+06", "8831563"), ("0.047999999951571226", "0.048"), ("-0.047999999951571226", "-0.048"),
        ("1e+06", "1000000"), ("20261129.123456", "20261129.123456"), ("12345678", "12345678"), ("a 1e+06", "a 1e+06"),
        ("10.0.0.1", "10.0.0.1"), ("", ""), ("0.047999999951571226%", "0.048%"),
    ],
)  # fmt: skip
def test_a_label_is_a_number_as_a_whole_or_none(label: str, written: str) -> None:
    assert write_label_figure(label) == written


def go(number: float) -> str:
    """As Go's `%v` writes a float."""
    digits = repr(number)
    mantissa, _, exponent = digits.partition("e")
    if exponent or abs(number) >= 1e21 or (number and abs(number) < 1e-4):
        mantissa, _, exponent = f"{number:.17g}".partition("e")
        return f"{mantissa}e{int(exponent or 0):+03d}" if exponent else mantissa
    return digits


@given(st.floats(-1e20, 1e20, allow_nan=False), st.sampled_from(["{}", "used {} of it", "值：{}，高", "({}%)", "x={}"]))
def test_a_float_keeps_what_is_before_its_point_and_six_digits(number: float, frame: str) -> None:
    text = frame.format(go(number))
    written = write_figures(text)
    before, behind = frame.split("{}")
    assert written.startswith(before)
    assert written.endswith(behind)
    figure = Decimal(written[len(before) : len(written) - len(behind)])
    exact = Decimal(go(number))
    unit = Decimal(1).scaleb(exact.adjusted() - 5) if exact else Decimal(0)
    assert abs(figure - exact) <= min(unit, Decimal("0.1"))
    assert "e" not in written[len(before) : len(written) - len(behind)].lower() or abs(number) < 1e-20


@given(st.text() | st.text("0123456789.e+-E /:%"))
def test_no_text_raises_and_writing_it_twice_changes_nothing(text: str) -> None:
    written = write_figures(text)
    assert write_figures(written) == written
    assert write_label_figure(write_label_figure(text)) == write_label_figure(text)
