"""The texts that people read: both languages say the same, all of them are used, and none is missing."""

from __future__ import annotations

import ast
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from tests.support import REPOSITORY
from wxbridge.core.text import i18n
from wxbridge.core.text.error_words import SENTENCES
from wxbridge.core.text.i18n import LANGUAGES, has_text, load_texts, say

PACKAGE = REPOSITORY / "wxbridge"
CONSOLE = PACKAGE / "web" / "console"
ENGLISH = load_texts("en")
SECTIONS = {key.partition(".")[0] for key in ENGLISH}
_KEY = re.compile(rf"(?:{'|'.join(sorted(SECTIONS))})(?:\.[a-z0-9_*-]+)+")
_TEMPLATE_CALL = re.compile(r"""\bt\(\s*['"](?P<key>[\w.]+)['"](?P<more>\s*~)?""")


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@dataclass
class Uses:
    """Where the package names texts: `*` stands for what only the running program knows."""

    keys: dict[str, str] = field(default_factory=dict)
    """Key → where."""
    calls: list[tuple[str, set[str], str]] = field(default_factory=list)
    """Calls of `say`: key, fields, where."""


def _literals(node: ast.expr) -> Iterator[str]:
    """The keys that an expression may be."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in parts)
        case ast.IfExp(body=body, orelse=other):
            yield from _literals(body)
            yield from _literals(other)


def _imports_say(tree: ast.Module) -> bool:
    """Whether a module says texts of the catalogue: the command line has a `say` of its own, which prints."""
    return any(
        isinstance(each, ast.ImportFrom)
        and each.module == say.__module__
        and any(alias.name == "say" for alias in each.names)
        for each in tree.body
    )


def _read(path: Path, uses: Uses) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports_say, prefix = _imports_say(tree), "console." if path.is_relative_to(CONSOLE) else ""
    file = str(path.relative_to(REPOSITORY))
    for node in ast.walk(tree):
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant | ast.JoinedStr):
            # What is nothing but stars is no name of a text.
            words = (each for each in _literals(node) if each.strip("*."))
            uses.keys |= {key: where for each in words if _KEY.fullmatch(key := prefix + each)}
        match node:
            case ast.Call(func=ast.Name(id="say"), args=[key, *_]) if imports_say:
                keys = list(_literals(key))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="visit"), attr="say"), args=[key, *_]):
                keys = [prefix + each for each in _literals(key)]
            case ast.Call(func=ast.Name(id="say_in_console" | "t"), args=[*_, key]):
                keys = [prefix + each for each in _literals(key)]
            case _:
                continue
        # What `**fields` holds is not known here.
        given = {each.arg or "*" for each in node.keywords}
        uses.calls += [(key, given, where) for key in keys]
        uses.keys |= dict.fromkeys(keys, where)


@pytest.fixture(scope="module")
def uses() -> Uses:
    found = Uses()
    for path in PACKAGE.rglob("*.py"):
        _read(path, found)
    for path in CONSOLE.rglob("*.html"):
        for call in _TEMPLATE_CALL.finditer(path.read_text(encoding="utf-8")):
            key = f"console.{call['key']}{'*' if call['more'] else ''}"
            found.keys[key] = str(path.relative_to(REPOSITORY))
            found.calls.append((key, {"*"}, str(path.relative_to(REPOSITORY))))
    # The console's own `say` puts it before whatever key it is given, which is seen where it is called.
    del found.keys["console.*"]
    # These are looked up by what they say; that somebody says it is seen in test_error_words.py.
    return Uses(found.keys | {f"{section}.*": "error_words.py" for section in (*SENTENCES, "log")}, found.calls)


def _named(key: str) -> set[str]:
    pattern = re.compile(re.escape(key).replace(r"\*", r"[\w.-]+"))
    return {each for each in ENGLISH if pattern.fullmatch(each)}


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "en"])
def test_a_language_has_the_texts_and_the_fields_that_english_has(language: str) -> None:
    texts = load_texts(language)
    # In the same order, so that the files can be read side by side.
    assert list(texts) == list(ENGLISH)
    for key, text in texts.items():
        assert _fields(text) == _fields(ENGLISH[key]), key


def test_every_text_that_is_said_is_there_and_gets_its_fields(uses: Uses) -> None:
    assert len(uses.calls) > 50
    for key, given, where in uses.calls:
        assert _named(key), f"{where}: {key}"
        if "*" not in {*key, *given}:
            assert _fields(ENGLISH[key]) <= given, f"{where}: {key}"


def test_no_text_is_left_over(uses: Uses) -> None:
    assert ENGLISH.keys() - set().union(*map(_named, uses.keys)) == set()


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            yield from _flatten(value, f"{prefix}{name}.")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_are_what_toml_says(language: str) -> None:
    file = PACKAGE / "core" / "text" / "catalogue" / f"{language}.toml"
    assert load_texts(language) == dict(_flatten(tomllib.loads(file.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_are_read_sooner_than_by_tomllib(language: str) -> None:
    text = (PACKAGE / "core" / "text" / "catalogue" / f"{language}.toml").read_text(encoding="utf-8")

    def cost(read: Callable[[], object]) -> float:
        began = time.process_time()
        read()
        return time.process_time() - began

    # By turns, as the machine is not equally fast all the time; the least of each is what it takes.
    costs = [(cost(lambda: load_texts.__wrapped__(language)), cost(lambda: tomllib.loads(text))) for _ in range(10)]
    assert min(ours for ours, _ in costs) < 0.75 * min(theirs for _, theirs in costs)


def test_a_text_that_is_missing_is_an_error_here_and_english_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LookupError, match=r"text\.nothing"):
        say("text.nothing", "zh")
    with pytest.raises(LookupError, match="'n'"):
        say("text.more", "zh")
    monkeypatch.setattr(i18n, "is_strict", False)
    assert say("text.nothing", "zh") == "text.nothing"
    assert say("text.more", "zh") == "… and {n} more"
    assert not has_text("text.nothing")
    assert has_text("text.more")
