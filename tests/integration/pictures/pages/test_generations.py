"""Dashboards as Grafana 6, 7.5, 9 and 12 show them, shot with a real Chromium: every panel drawn, nothing loading."""

from __future__ import annotations

import time

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.fakes.grafana import FakeGrafana
from tests.fakes.grafana_boards import panels
from wxbridge.config.types import GrafanaSettings
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.pictures.pages.parts import cut_picture, read_missing
from wxbridge.pictures.pages.shot import Shot

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERY = pytest.mark.parametrize("version", ["7.5", "9", "12"])
DEADLINE = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def grafana():
    async with FakeGrafana(anonymous=True) as grafana:
        yield grafana


@pytest_asyncio.fixture(loop_scope="session")
async def shoot(browser, grafana, keep_picture):
    """Shoot the board, with a version and its contents."""

    async def do(version, board, path="/d/board/x?kiosk", **more):
        grafana.version, grafana.board = version, board
        png = await browser.shoot(Shot(grafana.url + path, **{"deadline": DEADLINE, "width": 1000, **more}))
        return png, keep_picture(f"board-{version}-{path.strip('/').replace('/', '-').partition('?')[0]}", png)

    return do


def drawn(image) -> int:
    """How many panels' colours there are."""
    found = image.getcolors(image.width * image.height)
    return sum(1 for pixels, colour in found if pixels > 20_000 and max(colour) - min(colour) > 100)


# ---------------------------------------------------------------- whole dashboards


@pytest.mark.parametrize("version", ["6", "7.5", "9", "12"])
async def test_every_panel_of_a_dashboard_is_drawn_and_it_ends_below_them(shoot, version):
    rows = [{"row": "概览", "panels": panels(4, 7)}, {"row": "Closed", "collapsed": True, "panels": panels(8, 11)}]
    png, image = await shoot(version, panels(6) + rows, marks=True)
    assert drawn(image) == 18
    assert image.height < 9 * 248 + 2 * 38 + 60  # no size detector, no window is taken for the page
    parts = cut_picture(png)
    assert len(parts) == 3


@EVERY
async def test_a_short_dashboard_ends_below_its_lowest_panel_unless_a_height_was_chosen(shoot, version):
    _, image = await shoot(version, panels(2))
    assert image.height == 16 + 240 + 16
    _, image = await shoot(version, panels(2), height=700)
    assert image.height == 700


@EVERY
async def test_a_settled_dashboard_takes_no_more_than_a_quarter_of_its_time(shoot, version):
    began = time.monotonic()
    _, image = await shoot(version, [*panels(3), *panels(1, 4, "stat")])
    assert drawn(image) == 4
    assert time.monotonic() - began < DEADLINE / 4


@EVERY
async def test_a_streaming_panel_holds_nothing_up(shoot, version):
    _, image = await shoot(version, [*panels(3), *panels(1, 4, "streaming")])
    assert drawn(image) == 4


@EVERY
async def test_a_chart_that_is_still_being_drawn_is_waited_for(shoot, version):
    _, image = await shoot(version, panels(1, 1, "animated"))
    (colour,) = (each for each in image.getcolors(2**24) if each[0] > 20_000 and max(each[1]) - min(each[1]) > 100)
    assert colour[0] == 400 * 120


@EVERY
async def test_while_the_variables_load_nothing_is_shot(shoot, grafana, version):
    grafana.variables_seconds = 4
    _, image = await shoot(version, panels(2))
    assert drawn(image) == 2


@EVERY
async def test_a_page_that_shows_nothing_for_a_while_is_waited_for(shoot, grafana, version):
    grafana.silent_seconds = 3
    _, image = await shoot(version, panels(2))
    assert drawn(image) == 2


@EVERY
async def test_an_empty_dashboard_is_called_so(shoot, version):
    with pytest.raises(PictureError, match=r"没有面板") as caught:
        await shoot(version, [], language="zh-CN")
    assert not caught.value.retry


@EVERY
async def test_a_page_whose_data_were_cut_off_is_none_and_comes_with_another_try(
    renderer, grafana, version, keep_picture
):
    grafana.version, grafana.board = version, [*panels(3), *panels(1, 4, "cut")]
    grafana.cuts = 1
    async with renderer(grafana=GrafanaSettings(url=grafana.url)) as pictures:
        png = await pictures.draw(PictureSpec("page", {"url": "/d/board/x", "width": 1000}))
        assert drawn(keep_picture(f"board-cut-{version}", png)) == 4


async def test_a_page_whose_data_stay_cut_off_is_an_error_that_says_how_long_was_waited(renderer, grafana):
    grafana.version, grafana.board, grafana.cuts = "9", panels(1, 1, "cut"), 1000
    async with renderer(grafana=GrafanaSettings(url=grafana.url)) as pictures:
        with pytest.raises(PictureError, match=r"lost its server: /api/ds/query had no answer .*tries in"):
            await pictures.draw(PictureSpec("page", {"url": "/d/board/x", "width": 1000, "deadline": 12}))


@pytest.mark.parametrize("version", ["7.5", "9"])
async def test_a_panel_that_cannot_be_set_up_or_asks_for_ever_keeps_no_other_away_and_is_named(shoot, version):
    png, image = await shoot(version, [*panels(3), *panels(1, 4, "throws"), *panels(1, 5, "asks")])
    assert drawn(image) == 4
    assert read_missing(png) == ("面板 4", "面板 5")


async def test_a_grafana_that_says_no_version_is_waited_for_as_any_page(shoot):
    with capture_logs() as logs:
        _, image = await shoot("0", panels(2))
    assert drawn(image) == 2
    assert "browser.unknown_grafana" in [each["event"] for each in logs]


# ---------------------------------------------------------------- one panel


@EVERY
async def test_a_panel_alone_is_as_high_as_asked(shoot, version):
    _, image = await shoot(version, panels(2), "/d-solo/board/x?panelId=2", width=540, height=320)
    assert image.size == (540, 320)
    assert drawn(image) == 1


@EVERY
async def test_a_panel_that_is_gone_is_an_error_that_says_so(shoot, version):
    with pytest.raises(PictureError, match=r"no panel on the page, which says: Panel .*not found") as caught:
        await shoot(version, panels(2), "/d-solo/board/x?panelId=999", height=320)
    assert not caught.value.retry


@EVERY
async def test_an_alerts_panel_without_data_or_with_an_error_is_no_picture(shoot, version):
    board = [*panels(1, 1, "empty"), *panels(1, 2, "error")]
    with pytest.raises(NothingToDraw):
        await shoot(version, board, "/d-solo/board/x?panelId=1", height=320, needs_data=True)
    with pytest.raises(PictureError, match="shows an error: parse error: unexpected end of input"):
        await shoot(version, board, "/d-solo/board/x?panelId=2", height=320, needs_data=True)
    assert (await shoot(version, board, "/d-solo/board/x?panelId=1", height=320))[0]


# ---------------------------------------------------------------- Grafana 12


async def test_every_tab_is_in_the_picture_and_one_that_cannot_be_chosen_is_named(shoot):
    board = [
        {"tab": "First", "panels": panels(2)},
        {"tab": "磁盘", "panels": panels(1, 3)},
        {"tab": "Third", "panels": panels(3, 4)},
    ]
    png, image = await shoot("12", board, marks=True)
    assert drawn(image) == 5
    assert read_missing(png) == ("磁盘",)
    assert [part.count(b"IDAT") > 0 for part in cut_picture(png)] == [True, True]


async def test_panels_of_a_tab_that_are_drawn_late_are_in_the_picture(shoot):
    board = [{"tab": "First", "panels": panels(2)}, {"tab": "Second", "panels": panels(8, 3)}]
    _, image = await shoot("12", board, "/d/board/x?kiosk&late=500")
    assert drawn(image) == 10


async def test_tabs_within_tabs_and_rows_are_in_the_picture_each_once(shoot):
    inner = [{"tab": "A", "panels": panels(1, 2)}, {"tab": "B", "panels": panels(1, 3)}]
    _, image = await shoot("12", [{"tab": "One", "panels": panels(1)}, {"tab": "Two", "tabs": inner}])
    assert drawn(image) == 3
    rows = [{"row": "R", "tabs": inner}, {"row": "S", "tabs": [{"tab": "A", "panels": panels(1, 4)}]}]
    _, image = await shoot("12", rows)
    assert drawn(image) == 3
    assert image.height < 3 * 300 + 100


async def test_of_tabs_that_have_no_name_in_the_address_the_first_is_shown_and_the_others_are_named(shoot):
    png, image = await shoot("12", [{"tab": each, "panels": panels(1, n)} for n, each in enumerate("甲乙丙", 1)])
    assert drawn(image) == 1
    assert read_missing(png) == ("乙", "丙")


async def test_a_page_that_leads_elsewhere_is_an_error(shoot):
    with pytest.raises(PictureError, match="Grafana shows / instead"):
        await shoot("12", [], "/explore")


async def test_the_kiosk_mode_that_is_none_any_more_shows_no_menu(shoot):
    _, image = await shoot("12", panels(1), "/d/board/x?kiosk=tv&orgId=1")
    assert (170, 0, 170) not in [colour for _, colour in image.getcolors(2**24)]
    assert drawn(image) == 1
