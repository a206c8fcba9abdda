"""Collapsed rows of Grafana's dashboards are opened, and pictures are cut at rows: with a real Chromium."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from PIL import Image, ImageChops
from playwright.async_api import Page

from tests.fakes.grafana import FakeGrafana
from tests.fakes.grafana_pages import ROW_PANELS
from wxbridge.pictures.pages import parts as page_parts
from wxbridge.pictures.pages.shot import Shot

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard():
    async with FakeGrafana(anonymous=True) as dashboard:
        yield dashboard


@pytest.mark.parametrize(
    "page", ["classic", "scenes", "scenes?lang=zh", "rows", "rows?lang=zh", "toggles"], ids=lambda page: page
)
async def test_collapsed_rows_are_opened_and_each_row_becomes_a_picture(browser, dashboard, keep_picture, page):
    png = await browser.shoot(Shot(f"{dashboard.url}/d/hosts/{page}", width=1000, marks=True))
    name = "rows-" + page.replace("?lang=", "-")
    whole = keep_picture(name, png)
    assert sorted({query["panel"] for query in dashboard.queries}) == sorted(ROW_PANELS)
    assert dashboard.clicks == ["磁盘 Disks", "Network"]  # once each, and no open row was closed
    parts = [keep_picture(f"{name}-{number}", part) for number, part in enumerate(page_parts.cut_picture(png, page))]
    assert len(parts) == 4
    assert sum(part.height for part in parts) == whole.height
    two, one = (max(part.height for part in parts), min(part.height for part in parts))
    assert 2 * 240 < two < 2 * 240 + 110  # two lines of panels with their heading
    assert 240 < one < 240 + 70
    for part in parts[1:]:  # nothing but background above a heading: no panel was cut in two
        assert part.crop((0, 0, part.width, 3)).getextrema() == ((17, 17), (18, 18), (23, 23))


def show_the_same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures differ in nothing but how single pixels were rounded."""
    return one.size == other.size and max(most for _, most in ImageChops.difference(one, other).getextrema()) <= 8


@pytest.mark.parametrize("held_up", ["busy=4", "busy=8", "late=400"])
@pytest.mark.parametrize("page", ["scenes", "toggles"])
async def test_panels_of_an_opened_row_that_come_late_are_in_the_picture(
    browser, dashboard, keep_picture, page, held_up
):
    usual = keep_picture("rows-usual", await browser.shoot(Shot(f"{dashboard.url}/d/hosts/{page}", width=1000)))
    png = await browser.shoot(Shot(f"{dashboard.url}/d/hosts/{page}?{held_up}", width=1000))
    assert show_the_same(keep_picture(f"rows-{held_up}", png), usual)


async def test_panels_are_in_the_picture_where_the_browser_tells_their_page_late_how_tall_it_is(
    browser, dashboard, keep_picture, monkeypatch
):
    address = f"{dashboard.url}/d/hosts/toggles"
    usual = keep_picture("rows-usual", await browser.shoot(Shot(address, width=1000)))
    tell, telling = Page.set_viewport_size, set()

    async def tell_late(page, size):
        loop = asyncio.get_running_loop()
        loop.call_later(0.4, lambda: telling.add(loop.create_task(tell(page, size))))

    monkeypatch.setattr(Page, "set_viewport_size", tell_late)
    assert show_the_same(keep_picture("rows-window", await browser.shoot(Shot(address, width=1000))), usual)
    assert telling


async def test_rows_stay_collapsed_where_that_is_wanted(browser, dashboard):
    await browser.shoot(Shot(f"{dashboard.url}/d/hosts/scenes", width=1000, expand=False))
    assert dashboard.clicks == []
    assert sorted({query["panel"] for query in dashboard.queries}) == sorted(
        ["CPU", "Memory", "Load", "Lag", "Messages in"]
    )


async def test_rows_within_a_row_are_opened_and_stay_in_its_picture(browser, dashboard, keep_picture):
    inner = [{"title": "Inner 1", "collapsed": True, "panels": ["A", "B"]}, {"title": "Inner 2", "panels": ["C", "D"]}]
    dashboard.rows = [
        {"title": "Outer", "collapsed": True, "rows": inner},
        {"title": "Last", "panels": ["E", "F"]},
    ]
    png = await browser.shoot(Shot(f"{dashboard.url}/d/hosts/rows", width=1000, marks=True))
    whole = keep_picture("rows-nested", png)
    assert sorted({query["panel"] for query in dashboard.queries}) == ["A", "B", "C", "D", "E", "F"]
    first, last = (keep_picture(f"rows-nested-{n}", part) for n, part in enumerate(page_parts.cut_picture(png)))
    assert first.height > 2 * 240
    assert last.height < 240 + 110
    assert first.height + last.height == whole.height


async def test_a_row_that_is_too_tall_for_a_phone_is_cut_between_its_panels(browser, dashboard, keep_picture):
    dashboard.rows = [{"title": "All", "panels": [f"Disk {n}" for n in range(1, 15)]}]
    png = await browser.shoot(Shot(f"{dashboard.url}/d/hosts/scenes", width=600, marks=True))
    parts = [keep_picture(f"rows-tall-{number}", part) for number, part in enumerate(page_parts.cut_picture(png))]
    assert len(parts) == 2
    assert max(part.height for part in parts) <= 1440
    assert parts[1].crop((0, 0, 600, 3)).getextrema() == ((17, 17), (18, 18), (23, 23))


async def test_a_row_that_will_not_open_holds_up_nothing(browser, dashboard):
    dashboard.rows = [{"title": "Empty", "collapsed": True, "panels": []}, {"title": "Full", "panels": ["A"]}]
    # In Chinese only its emptiness says that a row is collapsed, and this one is empty when it is open too.
    await browser.shoot(Shot(f"{dashboard.url}/d/hosts/rows?lang=zh", width=1000, deadline=20))
    assert dashboard.clicks == ["Empty"]


async def test_a_long_page_that_is_no_dashboard_is_cut_where_nothing_is_written(browser, dashboard, keep_picture):
    png = await browser.shoot(Shot(f"{dashboard.url}/article", width=680, marks=True))
    parts = [keep_picture(f"article-{number}", part) for number, part in enumerate(page_parts.cut_picture(png))]
    assert len(parts) > 3
    assert all(part.height <= 2 * 680 * 1.2 for part in parts)
    for part in parts:
        for edge in (0, part.height - 4):
            assert part.crop((0, edge, 640, edge + 4)).getextrema()[1] == (255, 255)  # left of the frame: all white
