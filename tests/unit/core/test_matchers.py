from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wxbridge.core.matchers import Matcher, Operator, parse_matcher, parse_matchers

NAMES = st.sampled_from(["severity", "team", "job"])
VALUES = st.sampled_from(["", "a", "b", "critical", "a|b"])
LABELS = st.dictionaries(NAMES, VALUES)


@pytest.mark.parametrize(
    ("written", "matcher"),
    [
        ('severity="critical"', Matcher("severity", "=", "critical")),
        ("severity=critical", Matcher("severity", "=", "critical")),
        (' team =~ "a|b" ', Matcher("team", "=~", "a|b")),
        ('team!="a"', Matcher("team", "!=", "a")),
        ('team!~"a.*"', Matcher("team", "!~", "a.*")),
        ("team=", Matcher("team", "=", "")),
        ('team=""', Matcher("team", "=", "")),
        (r'msg="say \"hi\" \\ there"', Matcher("msg", "=", r'say "hi" \ there')),
        (r'msg="two\nlines"', Matcher("msg", "=", "two\nlines")),
        (r'host=~"db\d+\.x"', Matcher("host", "=~", r"db\d+\.x")),
        (r"host=~db\d+", Matcher("host", "=~", r"db\d+")),
        (r'"a \"b\""="c"', Matcher('a "b"', "=", "c")),
        ('"服务 名"=~"支付|网关"', Matcher("服务 名", "=~", "支付|网关")),
        ("a.b/c=d", Matcher("a.b/c", "=", "d")),
        ("a=b}", Matcher("a", "=", "b}")),
        ("a!= ~b", Matcher("a", "!=", "~b")),
        ('msg="a=~b,{c}"', Matcher("msg", "=", "a=~b,{c}")),
        ('"tag name"="tag value"', Matcher("tag name", "=", "tag value")),
        ("服务=支付 网关", Matcher("服务", "=", "支付 网关")),
        ("url=http://a/?b=c", Matcher("url", "=", "http://a/?b=c")),
    ],
)
def test_a_matcher_is_read_as_alertmanager_reads_it(written: str, matcher: Matcher) -> None:
    assert parse_matcher(written) == matcher


@pytest.mark.parametrize(
    "written",
    [
        "",
        "severity",
        "=critical",
        'a="b',
        'a="b"c',
        "a b=c",
        "{a=b}",
        'a="b" "c"',
        '""=a',
        'a="',
        'a="b\\"',
        "a\\b=c",
        "a'b=c",
        '"a=b',
        'a=="b',
    ],
)
def test_what_is_no_matcher_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match="is no matcher; write one like"):
        parse_matcher(written)


@pytest.mark.parametrize("written", ['a=~"("', "a!~*", 'a=~"[z-a]"', 'a=~"(?=a)b"', r'a=~"(a)\1"', 'a=~"x{99999}"'])
def test_a_broken_expression_is_told(written: str) -> None:
    with pytest.raises(ValueError, match="the regular expression is broken"):
        parse_matcher(written)


@given(st.text())
def test_any_text_is_a_matcher_or_a_sentence(text: str) -> None:
    try:
        parse_matcher(text)
    except ValueError as error:
        assert "matcher" in str(error) or "expression" in str(error)  # noqa: PT017 - either outcome is right


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: "\n" not in text), st.text())
def test_a_matcher_in_quotes_holds_any_name_and_value(name: str, value: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert parse_matcher(f"{quoted(name)}={quoted(value)}") == Matcher(name, "=", value)


@pytest.mark.parametrize(
    ("matcher", "labels", "holds"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a=", {}, True),
        ("a!=b", {}, True),
        ("a!=", {"a": "x"}, True),
        ('a=~"b"', {"a": "abc"}, False),
        ('a=~"b|c"', {"a": "c"}, True),
        ('a=~".*"', {"a": "two\nlines"}, True),
        ('a=~".*"', {}, True),
        ('a=~".+"', {}, False),
        ('a!~"b.*"', {"a": "abc"}, True),
        ('a!~"b.*"', {"a": "bcd"}, False),
        ('a=~"(?i)CRIT.*"', {"a": "critical"}, True),
    ],
)
def test_a_matcher_is_anchored_and_takes_an_absent_label_for_empty(
    matcher: str, labels: dict[str, str], holds: bool
) -> None:
    assert parse_matcher(matcher).matches(labels) is holds


@given(LABELS, NAMES, VALUES)
def test_each_matcher_and_its_opposite_share_all_labels_between_them(
    labels: dict[str, str], name: str, value: str
) -> None:
    assert Matcher(name, "=", value).matches(labels) is not Matcher(name, "!=", value).matches(labels)
    assert Matcher(name, "=~", value).matches(labels) is not Matcher(name, "!~", value).matches(labels)
    assert Matcher(name, "=", value).matches(labels) is Matcher(name, "=~", re.escape(value)).matches(labels)


def test_a_mapping_asks_for_equality_of_every_label() -> None:
    matchers = parse_matchers({"severity": "critical", "team": "a|b"})
    assert all(matcher.matches({"severity": "critical", "team": "a|b"}) for matcher in matchers)
    assert not all(matcher.matches({"severity": "critical", "team": "a"}) for matcher in matchers)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(), st.sampled_from(["=", "!="]))
@example("a", '\\n"\\', "=")
@example("a", " \n ", "=")
def test_a_matcher_is_written_so_that_it_can_be_read_again(name: str, value: str, operator: Operator) -> None:
    matcher = Matcher(name, operator, value)
    assert parse_matcher(str(matcher)) == matcher


@pytest.mark.parametrize(
    ("written", "matchers"),
    [
        (['{severity="critical",team=~"a|b"}'], ["severity=critical", 'team=~"a|b"']),
        (['severity="a,b", team!=c'], ['severity="a,b"', "team!=c"]),
        (["a=b", "c=d,"], ["a=b", "c=d"]),
        (["{}"], []),
        ([], []),
        ([r'{a="\","}'], [r'a="\","']),
    ],
)
def test_an_entry_may_hold_several_matchers_as_in_alertmanager(written: list[str], matchers: list[str]) -> None:
    assert parse_matchers(written) == tuple(map(parse_matcher, matchers))


@pytest.mark.parametrize("written", ["", "a=b,,c=d", "a=b,c", "{a=b", ","])
def test_an_entry_of_which_a_part_is_no_matcher_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no matcher"):
        parse_matchers([written])


# ---------------------------------------------------------------- the tree


@pytest.mark.parametrize(
    ("matcher", "label", "holds"),
    [
        ('a=~"[[:alpha:]]+"', "abc", True),
        (r'a=~"\pL+"', "告警", True),
        ('a=~"db-.*|web-.*"', "web-1", True),
        ('a=~"dbs?-1"', "db-1", True),
        ('a=~"ab*"', "a", True),
        ('a=~"a.*"', "\ud800", False),
        ('a=~".*"', "\ud800", True),
        ('a=~"(a+)+b"', "a" * 5000, False),
    ],
)
def test_expressions_are_re2_s(matcher: str, label: str, holds: bool) -> None:
    assert parse_matcher(matcher).matches({"a": label}) is holds


PIECES = ["a", "b", "-", ".", "ab", ".*", "b+", "a?", "(?:ab|b)", "|", "b{0,2}", "[ab]"]


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), st.text("ab-x", max_size=6))
def test_what_needs_no_expression_is_decided_as_by_it(expression: str, label: str) -> None:
    try:
        expected = re.compile(expression).fullmatch(label) is not None
    except re.error:
        return
    assert Matcher("a", "=~", expression).matches({"a": label}) is expected


def test_an_expression_that_would_grow_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="the regular expression is broken: pattern too large"):
        Matcher("a", "=~", r"\pL{1000}")
