"""What people type, as it is compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core.text.normalise import fold, normalise, normalise_matchers, simplify


@given(st.text(max_size=60))
def test_plain_text_has_the_length_it_had(text):
    assert len(normalise(text)) == len(text)
    assert normalise(normalise(text)) == normalise(text)


def test_full_width_signs_are_read_as_those_of_a_keyboard():
    assert normalise("ｆｒｏｍ＝６ｈ　ｔｏ：ｎｏｗ／") == "from=6h to:now/"


@given(st.text(max_size=60))
def test_matchers_that_are_plain_stay_as_they_are(text):
    plain = normalise_matchers(text)
    assert normalise_matchers(plain) == plain


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("alertname='Disk Full' 1h", 'alertname="Disk Full" 1h'),
        ("alertname=‘Disk Full’，team=db", 'alertname="Disk Full",team=db'),
        ("""a='say "hi"' b""", r"""a="say \"hi\"" b"""),
        (r"""a='say \"hi\"' b""", r"""a="say \"hi\"" b"""),
        ("team=db 2h don't page 'em", "team=db 2h don't page 'em"),
    ],
)
def test_single_quotes_around_a_value_are_double_ones(written, plain):
    assert normalise_matchers(written) == plain


def test_signs_of_matchers_within_quotes_are_left_as_they_are():
    assert normalise_matchers("team＝“甲，乙”，severity！＝info；why：x") == 'team="甲，乙",severity!=info；why：x'


@pytest.mark.parametrize("name", ["Kafka 概览", "ＫＡＦＫＡ　概览", " kafka\u00a0\n概览 ", "Kafka\u200b概览"])
def test_names_are_compared_without_case_width_and_blanks(name):
    assert fold(name) == "kafka 概览"


def test_case_is_kept_where_it_says_something():
    assert simplify("ｎｏｗ－１Ｍ　／ Ｍ") == "now-1M / M"


def test_a_long_text_is_folded_as_a_short_one_is():
    assert fold("Ａ " * 300) == fold("a " * 300) == " ".join("a" * 300)
