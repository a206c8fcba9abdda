"""Picture bytes below the state directory: written whole, found by their names alone, swept when nobody names them."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from tests.fakes import postgresql
from tests.fakes.grafana import png
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.errors import PictureError, StorageError
from wxbridge.core.schema import picture_parts
from wxbridge.pictures.store import PART_BYTES, PictureStore, content_type_of


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_a_picture_is_stored_whole_under_a_name_of_its_kind(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    names = {store.write(content) for content in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")}
    assert set(names_in(tmp_path)) == names
    assert sorted(map(content_type_of, names)) == ["image/jpeg", "image/png"]
    assert all(len(name) > 24 for name in names)


async def test_a_picture_that_is_saved_shows_the_name_that_it_was_given(tmp_path: Path) -> None:
    store = PictureStore.below(tmp_path)
    picture = await store.save(b"bytes", "hello.png")
    assert picture.name == "hello.png"
    assert store.path_of(str(picture.file)).read_bytes() == b"bytes"


async def test_what_comes_from_outside_is_checked_and_webp_becomes_png(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    with pytest.raises(PictureError, match="the picture is a web page, no picture"):
        await store.save_checked(b"<html>")
    assert names_in(tmp_path) == []
    webp = io.BytesIO()
    Image.open(io.BytesIO(png())).save(webp, "WEBP")
    saved = await store.save_checked(webp.getvalue())
    assert str(saved.file).endswith(".png")
    assert store.path_of(str(saved.file)).read_bytes().startswith(b"\x89PNG")


async def test_a_disk_that_takes_nothing_is_a_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("in the way")
    with pytest.raises(StorageError, match="the picture could not be stored"):
        await PictureStore.below(tmp_path).save(b"bytes")
    assert names_in(tmp_path) == ["pictures"]


@pytest.mark.parametrize("name", ["../secret", ".hidden", "a\x00b", "x" * 61, "gone.png", ""])
def test_only_a_picture_of_the_store_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / ".hidden").write_text("being written")
    assert PictureStore.below(tmp_path).find(name) is None


def test_what_nobody_names_is_swept_once_it_is_old(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    kept, lost, new = (store.write(b"bytes") for _ in range(3))
    for name in (kept, lost):
        os.utime(store.path_of(name), (1000, 1000))
    assert store.sweep({kept}, older_than=2000) == 1
    assert store.find(lost) is None
    assert store.find(kept)
    assert store.find(new)
    store.delete([kept, lost])
    assert store.find(kept) is None


# ---------------------------------------------------------------- several machines


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[PictureStore, PictureStore]]:
    """The stores of two machines that share a PostgreSQL."""
    with postgresql.DATABASES.on_postgresql():
        database = Database.open(postgresql.database_url(tmp_path))
        yield PictureStore(tmp_path / "one", database), PictureStore(tmp_path / "other", database)
        database.close()


async def test_what_one_machine_took_another_finds_and_sends(machines: tuple[PictureStore, PictureStore]) -> None:
    one, other = machines
    content = os.urandom(PART_BYTES * 2 + 17)
    name = await one.keep(content)
    assert other.find(name) is None
    path = await other.fetch(name)
    assert path.read_bytes() == content
    assert names_in(path.parent) == [name]
    assert await other.look_up(name) == path
    for missing in ("gone.png", "../one/" + name, "", "x\x00y"):
        assert await other.look_up(missing) is None
    assert not (await other.fetch("gone.png")).exists()


async def test_what_is_forgotten_is_forgotten_in_the_database_too(machines: tuple[PictureStore, PictureStore]) -> None:
    one, other = machines
    told, lost, kept = [await one.keep(b"bytes") for _ in range(3)]
    await one.forget([told])
    assert await other.look_up(told) is None
    assert await one.tidy({kept}, older_than=0.0) == 0
    assert await other.look_up(lost)
    await one.tidy({kept}, older_than=time.time() + 60)
    other.delete([lost, kept])
    assert await other.look_up(lost) is None
    assert await other.look_up(kept)


async def test_with_sqlite_the_database_holds_no_picture(tmp_path: Path) -> None:
    database = Database.open(sqlite_url(tmp_path))
    try:
        store = PictureStore.below(tmp_path, database)
        await store.keep(b"bytes")
        assert await database.read(lambda c: c.execute(sa.select(picture_parts)).all()) == []
    finally:
        database.close()
