# ruff: noqa: INP001 - a script, in no package
"""Draw how every source reads, firing and over: `python docs/renderings/make_sources.py`.

The texts are those of `tests/unit/alerts/test_recorded_senders.py`: of the samples that `wxbridge alert test` posts,
and of bodies that real senders posted.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

HERE = Path(__file__).parent
# The tests are no part of the package: they are found where pytest finds them.
sys.path[:0] = [str(HERE.parent.parent), str(HERE)]

from make import Bubble, draw, words  # noqa: E402
from make import page as chat  # noqa: E402

from tests.unit.alerts.test_recorded_senders import read_told  # noqa: E402
from wxbridge.core.text.i18n import Language  # noqa: E402

PARTS = ("sample/", "zabbix/", "uptime-kuma/")
"""What has a picture: the names in `told/` that begin so."""


def bubbles(part: str, language: Language) -> list[Bubble]:
    """The texts of a part, each as it stands in the chat."""
    span = "5分钟" if language == "zh" else "5 min"
    texts = (text for name, text in read_told(language).items() if name.startswith(part))
    return [words(text.replace("TIME", "14:05", 1).replace("TIME", "14:10").replace("SPAN", span)) for text in texts]


def main() -> None:
    """Make all."""
    languages: tuple[Language, ...] = ("zh", "en")
    pages = {
        f"sources_{part.strip('/').replace('-', '_')}_{language}": chat(
            "群" if language == "zh" else "ops", bubbles(part, language)
        )
        for part in PARTS
        for language in languages
    }
    asyncio.run(draw(pages, colours=256))


if __name__ == "__main__":
    main()
