from __future__ import annotations

import re
import warnings
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.routing import parse_matchers
from wxbridge.core.patterns import LONGEST, MOST_WAYS, checked, trouble


@pytest.mark.parametrize(
    "pattern",
    [
        "crit.*", "a|b", ".*db.*", ".*a.*b.*", r"(web|db)-\d+", r"10\.1\.\d+\.\d+", r"(\d{1,3}\.){3}\d{1,3}",
        "(?i)disk.*", "(?:a|b)?c", "[]a]*x", "[^]]*", r"\.*", r"[\]]+", "a{", "", "(ab)*c", r"\w+-prod",
    ],
)  # fmt: skip
def test_what_people_write_for_labels_is_taken(pattern: str) -> None:
    re.compile(pattern)
    assert trouble(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b", "(a|b)+c|(ab|a)*c", "(a*)*", "(.*)*x", "(a|aa)+x", "((a?){8}){8}x", "a?" * 30 + "a" * 30,
        ".*.*.*.*x", "a{,}b{,}c{,}", "(a{1,50}){1,50}", "(?:(?:a{0,9})?){9}", "((x|y)*)", r"(a)\1", "(?=a)b",
        "(?P<n>a)", "x{99999}", "a" * (LONGEST + 1), "((" * 20 + "a?" + "){8}){8}" * 20,
    ],
)  # fmt: skip
def test_what_could_take_for_ever_is_refused_with_a_reason(pattern: str) -> None:
    assert trouble(pattern)


def test_matchers_without_an_expression_are_not_looked_at() -> None:
    evil = "(a+)+b"
    assert checked(parse_matchers({"a": evil}))
    with pytest.raises(ValueError, match=r'a=~"\(a\+\)\+b": what is repeated may itself match in several ways'):
        checked(parse_matchers([f'a=~"{evil}"']))


def ways(tree: Any) -> int:
    """The same, counted on the tree that Python itself makes of an expression."""
    product = 1
    for operator, argument in tree:
        if operator is sre.BRANCH:
            product *= sum(ways(branch) for branch in argument[1])
        elif operator is sre.SUBPATTERN:
            product *= ways(argument[-1])
        elif operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            low, high, inner = argument
            high = 256 if high is sre.MAXREPEAT else int(high)
            product *= sum(min(ways(inner), 10**9) ** count for count in range(low, high + 1)) or 1
        elif operator in (sre.GROUPREF, sre.ASSERT, sre.ASSERT_NOT, sre.GROUPREF_EXISTS):
            return 10**9
        product = min(product, 10**9)
    return product


TEXTS = st.lists(
    st.sampled_from(
        ["a", "b", "(", "(?:", ")", "|", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{,}", "{", "}", "[ab]", "[^a*]",
         "[]+]", r"\d", r"\*", r"\(", r"\\", ".", "^", "$", "x", "??", "*?", "(?i)"],
    ),
    max_size=14,
).map("".join)  # fmt: skip


@given(TEXTS)
def test_what_is_taken_has_no_more_ways_than_are_allowed_by_python_s_own_reading(pattern: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
            tree = _parser.parse(re.sub(r"(?<!\\)\.[*+]$", "", pattern) or "")
    except (re.error, OverflowError):
        return
    if trouble(pattern) is None:
        assert ways(tree) <= MOST_WAYS
