"""Each page of the console in a real Chromium: what it shows, what can be done, on a phone and with keys alone."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from console_bench import READ_TOKEN, TOKEN, Bench, alert, group
from PIL import Image

from wxbridge import outbox
from wxbridge.model import ChannelState

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-headless-shell")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"),
]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
PAGES = (
    "/", "/console/login", "/console/alerts", "/console/alerts?silence=new", "/console/targets", "/console/jobs",
    "/console/rooms", "/console/configuration", "/console/doctor",
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        made = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        await made.close()


@asynccontextmanager
async def opened(browser: Any, console: Bench, *, token: str = TOKEN, **options: Any) -> AsyncIterator[Any]:
    """A page that is signed in; whatever the browser complains of fails the test."""
    context = await browser.new_context(**{"viewport": DESK, "locale": "en-US", **options})
    context.set_default_timeout(8000)
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    await page.goto(f"{console.url}/")
    await page.get_by_label("Token" if options.get("locale", "en") != "zh-CN" else "令牌").fill(token)
    await page.keyboard.press("Enter")
    await page.locator("nav.pages").wait_for()
    yield page
    await context.close()
    assert not problems


@pytest.mark.parametrize(
    ("viewport", "locale", "scheme"), [(PHONE, "zh-CN", "dark"), (DESK, "en-US", "light")], ids=["phone", "desktop"]
)
async def test_every_page_fits_its_screen_can_be_touched_and_has_no_serious_finding_of_axe(
    browser: Any, console: Bench, viewport: dict[str, int], locale: str, scheme: str
) -> None:
    dead = await console.bridge.database.read(lambda c: outbox.listing(c, limit=1))
    async with opened(browser, console, viewport=viewport, locale=locale, color_scheme=scheme) as page:
        for path in (*PAGES, f"/console/message?id={dead[0].id}"):
            await page.goto(console.url + path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
            assert await page.locator("html").get_attribute("lang") == locale.partition("-US")[0]
            small = await page.evaluate(
                "[...document.querySelectorAll("
                "'button, .button, nav a, select, input:not([type=hidden], [type=radio])')]"
                ".filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML)"
            )
            assert not small, path
            found = (await Axe().run(page)).response["violations"]
            serious = [(each["id"], each["nodes"][0]["html"]) for each in found
                       if each["impact"] in ("serious", "critical")]  # fmt: skip
            assert not serious, path


async def test_the_timeline_shows_what_came_in_and_retries_and_hands_on_without_leaving_the_place(
    browser: Any, console: Bench
) -> None:
    async with opened(browser, console) as page:
        disk = page.locator("article", has=page.get_by_role("heading", name="DiskFull"))
        assert 'routes[0] severity="critical"' in " ".join((await disk.inner_text()).split())
        assert "room_gone the room is gone" in await disk.inner_text()
        watchdog = page.locator("article", has=page.get_by_role("heading", name="Watchdog"))
        assert "sends it to nobody" in await watchdog.inner_text()
        evil = page.locator("article h2", has_text="<script>alert('x')</script>")
        assert await evil.count() == 1
        await disk.get_by_role("button", name="Retry").click()
        await page.get_by_text("is queued again.").wait_for()
        await disk.locator(".pill.bad").wait_for(state="detached")
        await disk.get_by_role("link", name="in full").first.click()
        await page.get_by_label("Send to").select_option("robot")
        await page.get_by_role("button", name="Send", exact=True).click()
        await page.get_by_text("was queued for robot too").wait_for()
        await page.goto(f"{console.url}/?target=robot")
        assert await page.locator("article").count() == 1
        await page.get_by_label("State").select_option("sent")
        await page.wait_for_url("**state=sent**")
        assert await page.get_by_role("link", name="Clear").is_visible()


async def test_what_comes_in_shows_by_itself_and_leaves_open_what_was_opened(browser: Any, console: Bench) -> None:
    async with opened(browser, console, viewport=PHONE) as page:
        await page.locator("#finer summary").click()
        await page.wait_for_timeout(1200)  # the first look of the stream, against which the next is held
        await console.post(group(alert("CameJustNow"), key=f"now{time.time()}"))
        await page.get_by_role("heading", name="CameJustNow").wait_for()
        assert await page.locator("#finer[open]").count() == 1


async def test_a_target_is_tested_with_a_picture_and_shows_what_may_still_be_sent(browser: Any, console: Bench) -> None:
    out = io.BytesIO()
    Image.new("RGB", (640, 400), (20, 120, 90)).save(out, "PNG")
    async with opened(browser, console) as page:
        await page.goto(f"{console.url}/console/targets")
        card = page.locator(".target", has=page.get_by_role("heading", name="duty"))
        assert "of 30 left (30/min)" in await card.inner_text()
        assert "运维值班" in await card.inner_text()
        await card.locator("summary").click()
        await card.get_by_label("Text").fill("does it arrive?")
        await card.get_by_label("Picture").set_input_files(
            {"name": "a.png", "mimeType": "image/png", "buffer": out.getvalue()}
        )
        await card.get_by_role("button", name="Send", exact=True).click()
        await page.get_by_text("Queued for duty").wait_for()
        await console.until(lambda: any(m.media for m in console.simulator.messages("运维值班")))
        assert "does it arrive?" in [m.text for m in console.simulator.messages("运维值班")]
        await page.goto(f"{console.url}/?target=duty")
        thumbnail = page.locator("article img").first
        await thumbnail.scroll_into_view_if_needed()
        await page.wait_for_function("document.querySelector('article img').naturalWidth > 0")


async def test_a_job_is_run_muted_and_unmuted(browser: Any, console: Bench) -> None:
    async with opened(browser, console, viewport=PHONE) as page:
        await page.goto(f"{console.url}/console/jobs")
        assert await page.locator(".lane .run").count() >= 12
        card = page.locator(".job", has=page.get_by_role("heading", name="hello"))
        await card.get_by_role("button", name="Run now").click()
        await page.get_by_text("hello was started.").wait_for()
        await card.get_by_text("worked").wait_for()
        await card.get_by_role("button", name="Mute").click()
        await page.get_by_text("hello is muted until").wait_for()
        await card.get_by_role("button", name="Unmute").click()
        await page.get_by_text("runs at its times again").wait_for()


async def test_an_alert_is_silenced_with_its_labels_and_the_silence_ended(browser: Any, console: Bench) -> None:
    async with opened(browser, console) as page:
        await page.goto(f"{console.url}/console/alerts")
        await page.get_by_role("link", name="Silence DiskFull").click()
        matchers = page.get_by_label("Matchers")
        assert 'alertname="DiskFull"' in await matchers.input_value()
        assert 'mount="/data"' in await matchers.input_value()
        await page.get_by_text("30m", exact=True).click()
        await page.get_by_label("Comment").fill("the disk is being exchanged")
        await page.get_by_role("button", name="Silence").click()
        await page.get_by_text("holds until").wait_for()
        [silence] = await console.bridge.board.silences()
        assert (silence["comment"], len(silence["matchers"])) == ("the disk is being exchanged", 4)
        assert await page.locator(".alert.hushed").count() == 1
        await page.get_by_role("button", name=f"End it now: {silence['id']}").click()
        await page.get_by_text("is over.").wait_for()
        await page.locator(".alert.hushed").wait_for(state="detached")


async def test_rooms_are_found_and_copied_as_a_line_for_the_configuration(browser: Any, console: Bench) -> None:
    async with opened(browser, console) as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto(f"{console.url}/console/rooms")
        await page.get_by_role("searchbox").fill("值班")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Copy line for targets:: 运维值班").click()
        await page.get_by_text("Copied").wait_for()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == "运维值班: {channel: wechat, room: 运维值班}"


async def test_the_configuration_shows_what_is_wrong_with_its_line_and_no_secret(browser: Any, console: Bench) -> None:
    right = console.file.read_text(encoding="utf-8")
    async with opened(browser, console) as page:
        await page.goto(f"{console.url}/console/configuration")
        text = await page.locator("main").inner_text()
        assert str(console.file) in text
        assert "**********" in text
        assert not [secret for secret in (TOKEN, READ_TOKEN, console.simulator.token, "11111111") if secret in text]
        console.file.write_text(right + "nonsense: 1\n", encoding="utf-8")
        await page.get_by_text(f"jobs.yaml:{len(right.splitlines()) + 1}").wait_for(timeout=15000)
        console.file.write_text(right, encoding="utf-8")
        await page.get_by_text("The files are right and in use.").wait_for(timeout=15000)


async def test_doctor_runs_when_asked(browser: Any, console: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from wxbridge import doctor

    monkeypatch.setattr(doctor, "CHECKS", {"state_dir": doctor.state_dir})
    async with opened(browser, console) as page:
        await page.goto(f"{console.url}/console/doctor")
        await page.get_by_role("button", name="Run the checks").click()
        await page.get_by_text("1 checks, 0 bad.").wait_for()
        assert await page.locator(".finding", has_text="state_dir").count() == 1


async def test_keys_alone_lead_from_the_first_page_to_a_job_that_runs(browser: Any, console: Bench) -> None:
    async with opened(browser, console, viewport=PHONE) as page:
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip"
        for _ in range(12):
            if await page.evaluate("document.activeElement.matches('.more button')"):
                break
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Jobs"
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/console/jobs")
        for _ in range(30):
            await page.keyboard.press("Tab")
            if (await page.evaluate("document.activeElement.textContent")).strip() == "Run now":
                break
        await page.keyboard.press("Enter")
        await page.get_by_text("hello was started.").wait_for()


async def test_the_login_shows_a_live_code_that_is_exchanged_without_reloading(browser: Any, console: Bench) -> None:
    async with opened(browser, console, viewport=PHONE) as page:
        await page.goto(f"{console.url}/console/login")
        assert "小桥" in await page.locator("main").inner_text()
        await page.evaluate("window.stays = true")
        console.simulator.gateway.auto_scan = False
        console.simulator.logout()
        code = page.locator(".qr img")
        await code.wait_for(timeout=20000)
        first = await code.get_attribute("src")
        console.simulator.refresh_qrcode()
        await page.wait_for_function("was => document.querySelector('.qr img')?.src !== was", arg=first, timeout=15000)
        assert await page.evaluate("window.stays") is True
        async with opened(browser, console, token=READ_TOKEN) as reader:
            await reader.goto(f"{console.url}/console/login")
            assert await reader.locator(".qr").count() == 0
        console.simulator.scan()
        await page.locator(".channel .pill.good").first.wait_for(timeout=15000)
        await console.until(lambda: console.bridge.statuses()["wechat"].state is ChannelState.ONLINE)
