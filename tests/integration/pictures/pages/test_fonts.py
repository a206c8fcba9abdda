"""Whether there is a Chinese font, and that somebody is told once where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.errors import StorageError
from wxbridge.core.findings import FindingState
from wxbridge.pictures import checks
from wxbridge.pictures.pages import fonts
from wxbridge.pictures.pages.missing_fonts import warn_of_missing_fonts

SOME_CONFIG: Any = None
"""The check for fonts looks at the machine only."""


@pytest.fixture
def no_lister(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without fc-list, and with fonts in one folder only."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    folder = tmp_path / "fonts"
    folder.mkdir()
    monkeypatch.setattr(fonts, "_FOLDERS", (str(folder),))
    return folder


def test_the_font_of_this_machine_is_found_with_its_family() -> None:
    found = fonts.find_chinese_font()
    assert found is not None
    assert found.path.exists()
    assert found.family


def test_it_is_found_without_fc_list_too(no_lister: Path) -> None:
    there = next(Path("/usr/share/fonts").rglob("wqy-*.tt?"), None)
    if there is None:
        pytest.skip("fonts-wqy-microhei is not installed")
    (no_lister / "deep").mkdir()
    (no_lister / "deep" / there.name).symlink_to(there)
    found = fonts.find_chinese_font()
    assert found is not None
    assert found.path.name == there.name


def test_a_font_without_chinese_letters_and_a_broken_file_do_not_count(no_lister: Path) -> None:
    latin = next(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"), None)
    if latin is not None:
        (no_lister / "cjk-in-name-only.ttf").symlink_to(latin)
    (no_lister / "wqy-broken.ttf").write_bytes(b"no font")
    assert fonts.find_chinese_font() is None


async def test_the_doctor_says_what_becomes_of_pictures_and_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    (well,) = await checks.check_font()
    assert well.state is FindingState.OK
    monkeypatch.setattr(fonts, "find_chinese_font", lambda: None)
    (ill,) = await checks.check_font()
    assert ill.state is FindingState.WARN
    assert "empty boxes" in ill.found
    assert "apt install" in ill.advice


# ---------------------------------------------------------------- telling


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.open(sqlite_url(tmp_path / "wxbridge.db"))
    yield database
    database.close()


async def test_that_there_is_no_font_is_told_once_and_again_when_it_goes_missing_later(database: Database) -> None:
    told: list[str] = []

    async def tell(line: str) -> None:
        told.append(line)

    font = fonts.ChineseFont(Path("x.ttf"), "X")
    searches = iter((font, None, None, font, None, None))
    found = [await warn_of_missing_fonts(database, "en", tell, find=lambda: next(searches)) for _ in range(6)]
    assert found == [False, True, False, False, True, False]
    assert told == [told[0]] * 2
    assert "no font with Chinese letters" in told[0]
    assert "apt install" in told[0]


async def test_where_it_could_not_be_told_it_is_told_next_time(database: Database) -> None:
    told: list[str] = []
    full = True

    async def tell(line: str) -> None:
        if full:
            raise StorageError("the disk is full")
        told.append(line)

    assert not await warn_of_missing_fonts(database, "zh", tell, find=lambda: None)
    full = False
    assert await warn_of_missing_fonts(database, "zh", tell, find=lambda: None)
    assert "没有中文字体" in told[0]
