"""Shots with a real Chromium of pages that behave like Grafana's, and of pages that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.fakes.grafana import TOKEN
from tests.fakes.grafana_pages import PANELS
from tests.support import wait_until
from wxbridge.core import imaging
from wxbridge.core.credentials import SiteCredentials
from wxbridge.core.errors import PictureError
from wxbridge.pictures.pages import capture
from wxbridge.pictures.pages.browser import Browser
from wxbridge.pictures.pages.network import LoginPage
from wxbridge.pictures.pages.parts import read_missing
from wxbridge.pictures.pages.program import find_browser
from wxbridge.pictures.pages.shot import MAX_HEIGHT, Shot

pytestmark = pytest.mark.asyncio(loop_scope="session")


def signed_in(fake, path: str, **more) -> Shot:
    return Shot(fake.url + path, auth=SiteCredentials(fake.url, headers={"Authorization": f"Bearer {TOKEN}"}), **more)


def colours_of_panels(image) -> int:
    """How many of the 20 panels' canvases, each in a colour of its own, are on the picture."""
    count = image.width * image.height
    found = image.getcolors(count)
    return sum(1 for pixels, colour in found if pixels > 20_000 and max(colour) - min(colour) > 100)


def family(pid: int) -> set[int]:
    """A process and everything below it."""
    below, parents = {pid}, {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(entry.name)] = parent(int(entry.name))
    size = 0
    while size != len(below):
        size = len(below)
        below |= {child for child, its in parents.items() if its in below}
    return below


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pids: set[int]) -> set[int]:
    living = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                living.add(pid)
    return living


def renderers(pid: int) -> set[int]:
    found = set()
    for child in family(pid):
        with contextlib.suppress(OSError):
            if b"--type=renderer" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(child)
    return found


# ---------------------------------------------------------------- whole pages


@pytest.mark.parametrize("layout", ["inner", "document"])
async def test_all_twenty_panels_are_on_the_picture_whatever_scrolls(browser, fake, keep_picture, layout):
    png = await browser.shoot(signed_in(fake, f"/d/kafka/{layout}"))
    image = keep_picture(f"dashboard-{layout}", png)
    assert sorted(int(query["panel"]) for query in fake.queries) == list(range(1, PANELS + 1))
    assert image.height == 2328
    assert image.getpixel((20, image.height - 9))[0] < 0x99  # the border of the last panel
    assert colours_of_panels(image) == PANELS


async def test_scale_doubles_the_pixels(browser, fake, keep_picture):
    image = keep_picture("scale", await browser.shoot(Shot(fake.url + "/pages/plain", width=600, height=400, scale=2)))
    assert image.size == (1200, 800)


async def test_chinese_is_drawn_with_glyphs_not_boxes(browser, fake, keep_picture):
    image = keep_picture("cjk", await browser.shoot(Shot(fake.url + "/pages/plain", width=600, height=200)))
    # six different glyphs have different amounts of ink; boxes would all have the same
    ink = [
        sum(image.crop((x, 8, x + 32, 50)).convert("L").point(lambda v: v < 128).get_flattened_data())
        for x in range(86, 86 + 5 * 32, 32)
    ]
    assert len(set(ink)) >= 4


async def test_one_element_is_shot_alone(browser, fake, keep_picture):
    image = keep_picture("element", await browser.shoot(Shot(fake.url + "/pages/parts", selector="#box")))
    assert image.size == (300, 200)
    assert image.getpixel((290, 190)) == (0, 128, 128)


async def test_without_full_page_the_window_is_shot(browser, fake):
    png = await browser.shoot(signed_in(fake, "/d/kafka/inner", full_page=False, height=700))
    assert imaging.open_picture(png, "it").size == (1440, 700)
    assert len(fake.queries) < PANELS


async def test_a_page_without_end_is_cut(browser, fake):
    png = await browser.shoot(Shot(fake.url + "/pages/endless", width=400))
    assert imaging.open_picture(png, "it").size == (400, MAX_HEIGHT)


async def test_a_page_that_grows_with_its_window_is_not_chased(browser, fake):
    png = await browser.shoot(Shot(fake.url + "/pages/vh", width=400))
    assert imaging.open_picture(png, "it").size == (400, 1350)


async def test_a_long_table_does_not_leave_empty_space_below(browser, fake, keep_picture):
    image = keep_picture("table", await browser.shoot(Shot(fake.url + "/pages/table", width=600)))
    assert image.height == 900


async def test_what_fades_in_is_there(browser, fake, keep_picture):
    image = keep_picture("fade", await browser.shoot(Shot(fake.url + "/pages/fade", width=600, height=300)))
    assert image.getextrema()[0][0] < 50


async def test_the_page_is_told_time_zone_language_and_theme(browser, fake):
    told = {"timezone": "Asia/Shanghai", "language": "zh-CN", "theme": "dark"}
    await browser.shoot(Shot(fake.url + "/pages/told", **told))
    assert fake.told == {"zone": "Asia/Shanghai", "lang": "zh-CN", "scheme": "dark"}


async def test_a_large_picture_is_made_to_fit(browser, fake):
    png = await browser.shoot(signed_in(fake, "/d/kafka/inner?panels=8", max_bytes=9_000))
    assert len(png) <= 9_000
    assert imaging.sniff(png) == "image/png"


# ---------------------------------------------------------------- readiness


async def test_a_polling_page_is_shot_all_the_same(browser, fake):
    assert await browser.shoot(Shot(fake.url + "/pages/poller", deadline=9))


async def test_a_page_with_a_request_that_never_ends_is_shot_all_the_same(browser, fake):
    assert await browser.shoot(Shot(fake.url + "/pages/hanging", deadline=8))


async def test_a_page_that_draws_itself_late_is_waited_for(browser, fake, keep_picture):
    image = keep_picture("late", await browser.shoot(Shot(fake.url + "/pages/late")))
    assert image.getextrema()[0][0] < 50


async def test_a_panel_that_never_loads_is_an_error_that_names_it(browser, fake):
    with pytest.raises(PictureError, match=r"1 panel \(面板 7\), 1 query was still loading") as caught:
        await browser.shoot(signed_in(fake, "/d/kafka/inner?stuck=7&panels=8", deadline=5))
    assert caught.value.retry


async def test_a_missing_element_is_an_error_that_names_it(browser, fake):
    for asked in ({"wait_for": "#nowhere"}, {"selector": "#nowhere"}, {"wait_for": "h1", "selector": "#nowhere"}):
        with pytest.raises(PictureError, match=r"the element '#nowhere' is not on the page after \d") as caught:
            await browser.shoot(Shot(fake.url + "/pages/plain", **asked, deadline=2))
        assert caught.value.retry, "the page may have it later"
    with pytest.raises(PictureError, match=r"the element 'title' is not visible after \d"):
        await browser.shoot(Shot(fake.url + "/pages/blank", selector="title", deadline=2))


async def test_an_image_that_never_comes_is_named_as_missing(browser, fake):
    png = await browser.shoot(Shot(fake.url + "/pages/hole", deadline=8))
    assert read_missing(png) == ("slow", "架构图")
    assert read_missing(await browser.shoot(Shot(fake.url + "/pages/plain"))) == ()


async def test_a_page_that_computes_without_end_does_not_pass_the_deadline(browser, fake):
    began = time.monotonic()
    with contextlib.suppress(PictureError):
        await browser.shoot(Shot(fake.url + "/pages/busyloop", wait_for="#never", deadline=3))
    assert time.monotonic() - began < 6
    assert await browser.shoot(Shot(fake.url + "/pages/plain"))


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("path", "words", "retry"),
    [
        ("/pages/blank", "came out blank", True),
        ("/status/500", "HTTP 500", True),
        ("/status/404", "HTTP 404", False),
        ("/status/403", "may not see", False),
    ],
)
async def test_a_bad_page_is_a_sentence(browser, fake, monkeypatch, path, words, retry):
    monkeypatch.setattr(capture, "_BLANK_PATIENCE_SECONDS", 0.5)
    with pytest.raises(PictureError, match=words) as caught:
        await browser.shoot(Shot(fake.url + path + "?secret=1", deadline=10))
    assert caught.value.retry is retry
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words", "retry"),
    [
        ("http://127.0.0.1:9/", "refuse that port", False),
        ("http://127.0.0.1:64999/", "nothing listens there", True),
        ("http://no-such-host.invalid/", "cannot be resolved", True),
    ],
)
async def test_a_page_out_of_reach_is_a_sentence(browser, url, words, retry):
    with pytest.raises(PictureError, match=words) as caught:
        await browser.shoot(Shot(url))
    assert caught.value.retry is retry


async def test_a_page_that_never_answers_is_told_at_the_deadline(browser, fake):
    began = time.monotonic()
    with pytest.raises(PictureError, match=r"within 3 s: time ran out while waiting for the page's server") as caught:
        await browser.shoot(Shot(fake.url + "/slow", deadline=3))
    assert caught.value.retry
    assert time.monotonic() - began < 6


async def test_a_login_page_is_no_dashboard(browser, fake):
    with pytest.raises(LoginPage, match="login page"):
        await browser.shoot(Shot(fake.url + "/d/kafka/inner"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"timezone": "Mars/Base"}, "no time zone"),
        ({"language": "!!"}, "no language"),
        ({"wait_for": "!!"}, "no CSS selector"),
    ],
)
async def test_a_wrong_parameter_is_a_sentence(browser, fake, wrong, words):
    with pytest.raises(PictureError, match=words) as caught:
        await browser.shoot(Shot(fake.url + "/pages/plain", **wrong))
    assert not caught.value.retry


@pytest.mark.parametrize("url", ["file:///etc/passwd", "chrome://version", "javascript:alert(1)", "/relative"])
async def test_only_web_pages_are_shot(url):
    with pytest.raises(PictureError, match="no http or https"):
        Shot(url)


# ---------------------------------------------------------------- credentials


async def test_the_token_stays_with_its_origin_through_redirects_and_requests(browser, fake, other):
    fake.elsewhere = other.url.replace("127.0.0.1", "localhost") + "/pages/plain"
    await browser.shoot(signed_in(fake, "/away"))
    await browser.shoot(signed_in(fake, "/here"))
    bearer = f"Bearer {TOKEN}"
    assert other.credentials("/pages/plain") == [None]
    assert fake.credentials("/away") == [bearer]
    assert fake.credentials("/here") == [bearer]
    assert fake.credentials("/pages/plain") == [bearer]


async def test_cookies_are_handed_back(browser, fake):
    kept = []
    fake.sessions.add("abc")
    auth = SiteCredentials(fake.url, cookies={"grafana_session": "abc"}, keep=kept.append)
    await browser.shoot(Shot(fake.url + "/d/kafka/inner?panels=2", auth=auth))
    assert kept == [{"grafana_session": "abc"}]


# ---------------------------------------------------------------- the browser's life


async def test_it_starts_with_the_first_shot_and_stays_warm(fake):
    async with Browser() as browser:
        assert browser.pid is None
        await browser.shoot(Shot(fake.url + "/pages/plain"))
        first = browser.pid
        await browser.shoot(Shot(fake.url + "/pages/plain"))
        assert browser.pid == first is not None


async def test_a_page_that_loads_again_while_its_picture_is_taken_is_taken_once_more(browser, fake, keep_picture):
    picture = keep_picture("again", await browser.shoot(Shot(fake.url + "/pages/again", width=400, height=200)))
    colours = {colour for _, colour in picture.getcolors(2**24)}
    assert (0, 255, 0) in colours
    assert (255, 0, 0) not in colours


async def test_it_is_closed_when_idle_and_starts_again(fake):
    async with Browser(idle=0.0) as browser:
        shooting = asyncio.create_task(browser.shoot(Shot(fake.url + "/pages/plain")))
        await wait_until(lambda: browser.pid is not None)
        processes = family(browser.pid)
        await shooting
        await wait_until(lambda: browser.pid is None and not alive(processes))
        await browser.shoot(Shot(fake.url + "/pages/plain"))
        assert browser.pid not in processes


async def test_nothing_is_left_over_after_close(fake):
    before = family(os.getpid())
    async with Browser() as browser:
        await asyncio.gather(*(browser.shoot(Shot(fake.url + "/pages/plain")) for _ in range(3)))
        assert len(family(os.getpid()) - before) > 2
    await wait_until(lambda: not alive(family(os.getpid()) - before))
    with pytest.raises(PictureError, match="stopping"):
        await browser.shoot(Shot(fake.url + "/pages/plain"))


async def test_a_browser_killed_in_mid_shot_is_replaced_and_the_shot_comes(fake):
    async with Browser() as browser:
        shooting = asyncio.ensure_future(browser.shoot(signed_in(fake, "/d/kafka/inner?panels=4", height=900)))
        await fake.arrived.wait()
        first = browser.pid
        os.kill(first, signal.SIGKILL)
        png = await shooting
        assert browser.pid != first
        assert imaging.open_picture(png, "it").height == 900


async def test_a_renderer_killed_in_mid_shot_leaves_the_browser_and_the_shot_comes(fake):
    async with Browser() as browser:
        shooting = asyncio.ensure_future(browser.shoot(signed_in(fake, "/d/kafka/inner?panels=4", height=900)))
        await fake.arrived.wait()
        first = browser.pid
        for renderer in renderers(first):
            os.kill(renderer, signal.SIGKILL)
        assert imaging.open_picture(await shooting, "it").height == 900
        assert browser.pid == first


async def test_a_driver_killed_in_mid_shot_is_replaced_and_the_shot_comes(fake):
    async with Browser() as browser:
        shooting = asyncio.ensure_future(browser.shoot(signed_in(fake, "/d/kafka/inner?panels=4", height=900)))
        await fake.arrived.wait()
        first = browser.pid
        os.kill(parent(first), signal.SIGKILL)
        assert imaging.open_picture(await shooting, "it").height == 900
        assert browser.pid != first


async def test_a_browser_that_crashes_every_time_is_an_error(fake):
    async with Browser() as browser:
        shooting = asyncio.ensure_future(browser.shoot(Shot(fake.url + "/slow", deadline=20)))
        killed = set()
        for _ in range(2):
            await wait_until(lambda: browser.pid is not None and browser.pid not in killed)
            killed.add(browser.pid)
            os.kill(browser.pid, signal.SIGKILL)
        with pytest.raises(PictureError, match="crashed twice") as caught:
            await shooting
        assert caught.value.retry


async def test_a_browser_that_hangs_is_replaced(fake, monkeypatch):
    monkeypatch.setattr("wxbridge.pictures.pages.browser._OPEN_SECONDS", 0.5)
    monkeypatch.setattr("wxbridge.pictures.pages.browser._CLOSE_SECONDS", 0.5)
    async with Browser() as browser:
        await browser.shoot(Shot(fake.url + "/pages/plain"))
        first = browser.pid
        os.kill(first, signal.SIGSTOP)
        assert await browser.shoot(Shot(fake.url + "/pages/plain", deadline=20))
        assert browser.pid != first
    await wait_until(lambda: not alive({first}))


async def test_a_cancelled_shot_leaves_the_browser_to_the_others(browser, fake):
    shooting = asyncio.ensure_future(browser.shoot(Shot(fake.url + "/slow")))
    await fake.arrived.wait()
    shooting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shooting
    pid = browser.pid
    assert await browser.shoot(Shot(fake.url + "/pages/plain"))
    assert browser.pid == pid


async def test_only_so_many_shots_at_once_and_the_wait_counts(fake):
    async with Browser(shots=1) as browser:
        first = asyncio.ensure_future(browser.shoot(Shot(fake.url + "/slow")))
        await fake.arrived.wait()
        with pytest.raises(PictureError, match="waiting for a free place"):
            await browser.shoot(Shot(fake.url + "/pages/plain", deadline=0.3))
        fake.release.set()
        assert await first


async def test_without_a_browser_it_says_how_to_install_one(monkeypatch, tmp_path):
    monkeypatch.setenv("WXBRIDGE_BROWSER", str(tmp_path / "none"))
    async with Browser() as browser:
        with pytest.raises(PictureError, match=r"no browser at .*none: `apt install chromium-headless-shell"):
            await browser.shoot(Shot("http://127.0.0.1:64999/"))


async def test_a_browser_that_does_not_start_is_a_sentence():
    async with Browser(Path("/bin/false")) as browser:
        with pytest.raises(PictureError, match="/bin/false does not start"):
            await browser.shoot(Shot("http://127.0.0.1:64999/"))


async def test_the_setting_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("WXBRIDGE_BROWSER", "/bin/true")
    assert find_browser(Path("/bin/false")) == Path("/bin/false")
    assert find_browser() == Path("/bin/true")
    monkeypatch.delenv("WXBRIDGE_BROWSER")
    assert "chrom" in str(find_browser())
