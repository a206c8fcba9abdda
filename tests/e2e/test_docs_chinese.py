"""The Chinese documentation says what the English one says: the same pages, headings, blocks and pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import REPOSITORY

DOCS = REPOSITORY / "docs"
TRANSLATED = (
    "quickstart",
    "sources",
    "channels",
    "operations",
    "routing",
    "troubleshooting",
    "from-prometheusalert",
)
PAIRS = [
    pytest.param(REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md", id="README"),
    *(pytest.param(DOCS / f"{name}.md", DOCS / "zh" / f"{name}.md", id=name) for name in TRANSLATED),
]
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def read_blocks(page: Path) -> list[str]:
    """Read the code blocks of a page, without what is said in comments; of an output, how many lines it has.

    That outputs are true in both languages is seen in `cli/test_routes.py`.
    """
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    found = [f"```text of {len(block.splitlines())} lines" if block.startswith("```text") else block for block in found]
    return [re.sub(r"(^|\s+)(#|//) .*$", "", block, flags=re.MULTILINE) for block in found]


def read_headings(page: Path) -> list[int]:
    """Read the levels of a page's headings, in their order."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [len(found) for found in re.findall(r"^(#+) ", text, re.MULTILINE)]


def count_tables(page: Path) -> list[int]:
    """Count the rows of each table of a page."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [len(rows.strip().splitlines()) for rows in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_chinese_page_has_the_headings_of_its_english_twin(english: Path, chinese: Path) -> None:
    assert read_headings(chinese) == read_headings(english)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_chinese_page_has_the_code_blocks_of_its_english_twin(english: Path, chinese: Path) -> None:
    assert read_blocks(chinese) == read_blocks(english)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_chinese_page_has_the_tables_of_its_english_twin(english: Path, chinese: Path) -> None:
    assert count_tables(chinese) == count_tables(english)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_chinese_page_is_written_in_chinese(english: Path, chinese: Path) -> None:
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", _BLOCK.sub("", chinese.read_text(encoding="utf-8")))
    paragraphs = [each for each in re.split(r"\n\s*\n", text) if re.search(r"[A-Za-z]{4,}.*\s[a-z]{3,}", each)]
    silent = [each for each in paragraphs if not re.search(r"[一-鿿]", each)]
    assert not [each for each in silent if not (each.strip().startswith(("#", "[English]", "MIT")) or "→" in each)]
    assert len(re.findall(r"[一-鿿]", text)) > len(english.read_text(encoding="utf-8")) / 12


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_chinese_sentences_have_chinese_punctuation(english: Path, chinese: Path) -> None:
    del english
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", _BLOCK.sub("", chinese.read_text(encoding="utf-8")))
    assert not re.findall(r".{0,8}[一-鿿][,;:?!]\s?[一-鿿].{0,8}", text)
