"""Look up what people read, in their language: `catalogue/LANGUAGE.toml` beside this module holds every text."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, TypeAlias

_CATALOGUE = files(__package__) / "catalogue"
LANGUAGES = tuple(sorted(file.name.removesuffix(".toml") for file in _CATALOGUE.iterdir()))
"""The languages that there are: one file each. A file more is a language more."""
FALLBACK_LANGUAGE = "en"
"""What is read where a language lacks a text."""
_SECTION = re.compile(r"^\[([\w.]+)\]$", re.MULTILINE)
_PLAIN_TEXT = re.compile(r'^(\w+) = ("[^"\\\n]*(?:\\["\\bfnrtu][^"\\\n]*)*")$', re.MULTILINE)
if TYPE_CHECKING:
    Language: TypeAlias = str
else:
    Language = Literal[LANGUAGES]

is_strict = False
"""Whether a missing text or field raises `LookupError`, as in tests; else it is logged, and English is read."""


def say(key: str, language: Language, /, **fields: object) -> str:
    """Return a text in the reader's language, `{field}` filled in.

    `key` is its section and name in the catalogue: `alerts.digest.storm`.
    """
    try:
        return load_texts(language)[key].format_map(fields)
    except LookupError as error:
        if is_strict:
            raise LookupError(f"{key} in {language}: there is no {error}") from error
        import structlog  # `--help` needs none of it

        structlog.get_logger(__name__).exception("a text of the catalogue is missing", key=key, language=language)
        return load_texts(FALLBACK_LANGUAGE).get(key, key).format_map(_Gaps(fields))


def say_list(items: Iterable[str], language: Language) -> str:
    """Write several things one after another, as a sentence in the reader's language has them."""
    return say("text.and", language).join(items)


def language_of(locale: str | None) -> Language:
    """Give the language of the catalogue for a locale such as `zh-CN`; English where it has none."""
    return next((each for each in LANGUAGES if locale and locale.startswith(each)), FALLBACK_LANGUAGE)


def has_text(key: str) -> bool:
    """Whether the catalogue has such a text."""
    return key in load_texts(FALLBACK_LANGUAGE)


@cache
def load_texts(language: Language) -> Mapping[str, str]:
    """Read the catalogue of a language, once: texts by their keys (`alerts.digest.storm`)."""
    _, *parts = _SECTION.split((_CATALOGUE / f"{language}.toml").read_text(encoding="utf-8"))
    sections = zip(parts[::2], parts[1::2], strict=True)
    return {f"{section}.{name}": text for section, body in sections for name, text in _read_section(body).items()}


def _read_section(body: str) -> dict[str, str]:
    """Read the texts of a section: as JSON, in a fraction of `tomllib`'s time, where each is a line of its own."""
    lines = body.strip()
    as_json, count = _PLAIN_TEXT.subn(r'"\1":\2,', lines)
    texts: dict[str, str] = json.loads(f"{{{as_json[:-1]}}}") if count > lines.count("\n") else tomllib.loads(body)
    return texts


class _Gaps(dict[str, object]):
    """Fields of a text; one that is not there stays as it is written."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"
