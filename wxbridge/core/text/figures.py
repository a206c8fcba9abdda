"""Numbers within texts, as programs write them: `8.831563e+06`, `0.047999999951571226`."""

from __future__ import annotations

import re
from decimal import Decimal

from wxbridge.core.text.units import format_number

_MAX_EXPONENT = 20
"""A number of more digits is not written out."""
_MIN_PLACES_IN_TEXT = 5
"""Behind the point, from where on a number was written by a program: people write 12345.67."""
_MIN_PLACES_ALONE = 10
"""The same for what is a whole label: 20261129.123456 may be a version."""
_SIGNIFICANT = 6
_NUMBER = r"\d+(?:\.\d+)?e[+-]\d{1,3}|\d\.\d+E\d{1,2}|\d+\.\d{5,}"
_ALONE = re.compile(rf"(?P<sign>-?)(?P<number>{_NUMBER})(?P<unit>\s?%)?", re.IGNORECASE)
_POINT_OR_EXPONENT = re.compile(r"\d[.eE]")
"""What every such number has; most texts do not, and need no closer look."""
_IN_TEXT = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,20}://\S+"  # an address stays as it is
    # No part of a word, a version, a path, a clock or a number with separators.
    r"|(?<![A-Za-z0-9_./@#])(?<!\d[:,])(?<![A-Za-z0-9_]-)"
    rf"(?P<number>{_NUMBER})"
    # A unit may follow at once.
    r"(?![A-Za-zµ]*[0-9_])(?!\.[A-Za-z0-9_])(?!-[A-Za-z0-9_])",
    re.IGNORECASE,
)


def write_figures(text: str) -> str:
    """Write the numbers of a text as a person does: whole ones with all digits, fractions with six.

    Only numbers that a program wrote, and that stand alone: with an exponent, or more than six digits, five of them
    behind the point.
    """
    return _IN_TEXT.sub(_write_found, text) if _POINT_OR_EXPONENT.search(text) else text


def _write_found(found: re.Match[str]) -> str:
    if not found["number"]:
        return found[0]
    written = _write(found["number"], _MIN_PLACES_IN_TEXT)
    # What is not quite 100 % must not look like it.
    is_percent = written == "100" and found.string[found.end() :].lstrip()[:1] in ("%", "％")
    return found[0] if is_percent and Decimal(found["number"]) != 100 else written  # noqa: PLR2004


def write_label_figure(text: str) -> str:
    """The same for a label, which is a number as a whole or none."""
    found = _ALONE.fullmatch(text)
    if not found:
        return text
    written = _write(found["number"], _MIN_PLACES_ALONE)
    return f"{'' if written == '0' else found['sign']}{written}{found['unit'] or ''}"


def _write(number: str, least_places: int) -> str:
    mantissa, _, exponent = number.lower().partition("e")
    if not exponent:
        whole, _, places = mantissa.partition(".")
        digits = len((whole + places).lstrip("0"))
        if len(places) < least_places or digits <= _SIGNIFICANT or (len(whole) > 1 and whole.startswith("0")):
            return number
    elif abs(int(exponent)) > _MAX_EXPONENT:
        return number
    return format_number(Decimal(number))
