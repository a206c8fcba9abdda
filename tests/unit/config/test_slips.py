"""What people mistype in jobs.yaml: one error a mistake, at its line, in plain words, and nothing that only follows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support import REPOSITORY
from wxbridge import registry
from wxbridge.config.schema import load
from wxbridge.config.slips import FREE_TEXTS, mend_slips
from wxbridge.core.errors import ConfigError
from wxbridge.core.text.error_words import tell_error

README = re.search(r"```yaml\n(language: zh.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
assert README
SAMPLES = {"README": README[1], "shipped": (REPOSITORY / "jobs.yaml").read_text(encoding="utf-8")}
ENVIRONMENT = dict.fromkeys(re.findall(r"\$\{(\w+)", "".join(SAMPLES.values())), "x") | {
    "WECHATY_PUPPET_SERVICE_ENDPOINT": "127.0.0.1:1", "WXBRIDGE_LISTEN": "127.0.0.1:1",
    "INSPECTION_CRON": "* * * * *", "CHART_CRON": "* * * * *",
} | dict.fromkeys(("HEARTBEAT_URL", "GRAFANA_URL", "SIMULATOR_URL"), "http://a")  # fmt: skip
WORDS = {
    "full-width": "全角", "tab": "制表符", "quote": "引号", "brace": "括号", "bracket": "括号",
}  # fmt: skip


def complaints(path: Path, text: str) -> list[tuple[int, str]]:
    path.write_text(text, encoding="utf-8")
    try:
        load(path, registry.plugin_settings(), ENVIRONMENT)
    except ConfigError as error:
        return [(problem.line, problem.text) for problem in error.problems]
    return []


def structure(line: str) -> Iterator[int]:
    """The places of a line that are in no quotes and no comment."""
    quote = ""
    for place, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'" and line[place - 1 : place] in " [{,:":
            quote = sign
        elif sign == "#" and line[place - 1 : place] in ("", " "):
            return
        else:
            yield place


def slips(line: str) -> Iterator[tuple[str, str]]:
    """A line with each mistake that somebody may make in it, and the word that names it."""
    for place in structure(line):
        sign, after = line[place], line[place + 1 : place + 2]
        if sign == ":" and after in (" ", ""):
            yield "full-width", f"{line[:place]}：{line[place + 1 :]}"
            yield "full-width", f"{line[:place]}：{line[place + 2 :]}"
            if after and line[place + 2 : place + 3] not in (" ", "#", ""):
                yield "full-width", f"{line[:place]}:\u3000{line[place + 2 :]}"
                yield "tab", f"{line[:place]}:\t{line[place + 2 :]}"
        elif sign == ",":
            yield "full-width", f"{line[:place]}，{line[place + 1 :]}"
            yield "full-width", f"{line[:place]}，{line[place + 2 :]}"
        elif sign in "}]" and not re.search(r"\$\{\w+(:-[^}]*)?$", line[:place]):
            yield "brace" if sign == "}" else "bracket", line[:place] + line[place + 1 :]
    for match in re.finditer(r'(?<=[ \[{:,])"([^"]*)"', line):
        before, inner, after = line[: match.start()], match[1], line[match.end() :]
        if before.lstrip().startswith("#"):
            continue
        yield "quote", f'{before}"{inner}{after}'
        yield "full-width", f'{before}"{inner}”{after}'
        if not before.strip().endswith(tuple(f"{key}:" for key in FREE_TEXTS)):
            yield "full-width", f"{before}“{inner}”{after}"
            yield "full-width", f'{before}“{inner}"{after}'
    indent = len(line) - len(line.lstrip())
    if indent and line.strip() and line.strip()[0] != "#":
        yield "tab", "\t" * (indent // 2) + line[indent:]
        yield "full-width", "\u3000" * indent + line[indent:]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_well(name: str, tmp_path: Path) -> None:
    assert complaints(tmp_path / "jobs.yaml", SAMPLES[name]) == []


@given(st.data())
def test_each_mistake_is_one_error_that_names_it_at_its_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = data.draw(st.sampled_from(list(SAMPLES.values()))).split("\n")
    places = [(number, word, slip) for number, line in enumerate(lines) for word, slip in slips(line) if slip != line]
    number, word, slip = data.draw(st.sampled_from(places))
    path = tmp_path_factory.getbasetemp() / "slip.yaml"
    found = complaints(path, "\n".join([*lines[:number], slip, *lines[number + 1 :]]))
    assert [line for line, _ in found] == [number + 1], (slip, found)
    assert word in found[0][1], (slip, found)
    assert WORDS[word] in tell_error(found[0][1], "zh", sections=("problems",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("targets: {\n  a: {channel: console},\n  b: {channel: console}\nroutes: []\n", [(1, "brace")]),
        ("targets:\n  a: {channel: console\n  b: {channel: console}\nroutes:\n  - {to: [a, b}\n",
         [(2, "brace"), (5, "bracket")]),
        ("server:\n  token: 'it''s\ntargets: {a: {channel: console}}\nroutes: []\n", [(2, "quote")]),
        ('server: {token: "abc, listen: "127.0.0.1:1"}\ntargets: {a: {channel: console}}\nroutes: []\n',
         [(1, "quote")]),
        ("targets: {a: {channel: console}}}\nroutes: []\n", [(1, "brace")]),
        ("targets： {a: {channel: console}}\nroutes: []\nnonsense: 1\n", [(1, "full-width"), (3, "nonsense")]),
        ("targets:\n\ta: {channel: console}\n\tb: {channel: console}\nroutes: [{to: [a，b]}]\n",
         [(2, "tab"), (3, "tab"), (4, "comma")]),
        ("＃ 注释\ntargets: {a: {channel: console}}\nroutes: ［{to: a}］\n",
         [(1, "full-width"), (3, "full-width bracket `［`"), (3, "full-width bracket `］`")]),
        ("targets:\n  运维群：{channel：console}\nroutes: []\n", [(2, "full-width colon")]),
    ],
)  # fmt: skip
def test_several_mistakes_are_told_each_and_what_follows_from_them_is_not(
    tmp_path: Path, text: str, expected: list[tuple[int, str]]
) -> None:
    found = complaints(tmp_path / "jobs.yaml", text)
    assert [line for line, _ in found] == [line for line, _ in expected], found
    for (_, said), (_, word) in zip(found, expected, strict=True):
        assert word in said


@pytest.mark.parametrize(
    "text",
    [
        "text: 大家好，请看：链接\n",
        "text: “你好”\n",
        'text: "你好，世界：“x”"\n',
        "text: |\n  你好：世界，“引号”\n    a：b\nkeep: 1d\n",
        "text: 第一行\n  第二行：继续，好\n",
        "- 告警：严重\n- 张三，李四\n",
        "a: {announce: 你好，世界, b: c}\n",
        "a: [b, # 注释：，“”\n  c]\n",
        "a: 'it''s' # don't\n",
        'a: "two\n  lines"\n',
        "# 一，二：三\t“四”\n",
        "a: x\t# tab before a comment\n",
        "${A}: {b: c}\n",
    ],
)
def test_what_is_no_mistake_stays_as_it_is(text: str) -> None:
    assert mend_slips(text) == (text, [])


@given(st.text(alphabet="ab:：,，“”\"'{}[]- \t\u3000#\n|&*", max_size=60))
def test_any_text_is_gone_through_in_the_end(text: str) -> None:
    mended, found = mend_slips(text)
    assert mended.count("\n") == text.count("\n")
    assert all(1 <= slip.line <= text.count("\n") + 1 for slip in found)


def test_documented_configurations_have_no_slips() -> None:
    for page in [*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md"]:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            assert mend_slips(block) == (block, []), page
    for file in [*REPOSITORY.glob("*.y*ml"), *(REPOSITORY / "deploy").rglob("*.y*ml")]:
        text = file.read_text(encoding="utf-8")
        assert list(yaml.safe_load_all(text))
        assert mend_slips(text)[1] == [], file
