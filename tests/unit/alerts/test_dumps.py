"""Maps and lists that templates of alerts write whole."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.dumps import leave_out_dumps
from wxbridge.core.model import Value

LABELS = {"cluster": "prod-sh", "instance": "10.1.1.9:9100", "job": "node", "nodename": "web 1"}
DUMP = "map[__name__:mem cluster:prod-sh instance:10.1.1.9:9100 job:node nodename:web 1]"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"low\n  VALUE = 4.8\n  LABELS = {DUMP}", "low\n  VALUE = 4.8"),
        (f"low, labels: {DUMP}", "low"),
        (f"标签：{DUMP}\n请处理", "请处理"),
        (f"{DUMP} is low", "is low"),
        (f"({DUMP})", ""),
        ("map[]", ""),
        ("LABELS = map[__name__:mem job:node team:db]", "LABELS: team=db"),
        ("map[job:other job2:node] is low", "job=other, job2=node is low"),
        ("map[url:http://x:80/a b size:8.831563e+06]", "url=http://x:80/a b, size=8831563"),
        ("a map[job:node] and map[team:db]", "a and team=db"),
        ("values map[A:93.25 C:1]", "values C=1"),
        ("map[a:map[b:c d:e] f:[x y:z]]", "a=map[b:c d:e], f=[x y:z]"),
        ("now: [ var='A' labels={job=node} value=93.27 ], [ var='C' labels={job=node} value=1 ].", "now: 93.27."),
    ],
)
def test_a_dump_says_only_what_is_told_nowhere_else(text: str, left: str) -> None:
    assert leave_out_dumps(text, LABELS, [Value("A", 93.25)]) == left


@pytest.mark.parametrize("text", ["bitmap[3]", "map[key] is nil", "map[unclosed:a", "the map", "map[ a:b]", "[1, 2]"])
def test_what_is_no_dump_stays(text: str) -> None:
    assert leave_out_dumps(text, LABELS) == text


NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
WORDS = st.text("abcXYZ0189.:/-[]{} 中", min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and text.count("[") == text.count("]") == 0 and not set("{}") & set(text)
)


@given(st.dictionaries(NAMES, WORDS, max_size=6), st.sets(st.integers(0, 5)), st.text("ab \n", max_size=9))
def test_no_label_is_lost_and_no_map_is_left(dumped: dict[str, str], known: set[int], before: str) -> None:
    # A blank and a colon within a value cannot be told from the next entry.
    dumped = {name: " ".join(value.replace(":", " ").split()) or "x" for name, value in dumped.items()}
    labels = {name: value for place, (name, value) in enumerate(dumped.items()) if place in known}
    text = f"{before} map[{' '.join(f'{name}:{dumped[name]}' for name in sorted(dumped))}]"
    left = leave_out_dumps(text, labels)
    assert "map[" not in left
    told = set(re.findall(r"(?<![a-z_])([a-z_]+)=", left))
    assert told == {name for name in dumped if name not in labels and not name.startswith("__")}, (text, left)


@pytest.mark.parametrize(
    "text",
    [
        "map[" + "a:b " * 25_000,
        "map[" * 25_000,
        "map[a:" * 16_000,
        "[ var='" * 14_000,
        "[ var='a' " * 30_000,
        " " * 100_000 + "map[]",
    ],
)
def test_a_text_that_is_made_to_take_long_does_not(text: str) -> None:
    began = time.thread_time()
    leave_out_dumps(text, LABELS)
    assert time.thread_time() - began < 5
