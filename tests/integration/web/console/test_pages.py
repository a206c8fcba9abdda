"""Each page of the console in a real Chromium: what it shows, what can be done, on a phone and with keys alone."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from PIL import Image

from tests.integration.web.console.console_harness import READ_TOKEN, TOKEN, ConsoleBridge, alert, group, running
from wxbridge.config import watcher
from wxbridge.core.model import ChannelState
from wxbridge.pictures.pages.program import find_browser

CHROMIUM = find_browser()
pytestmark = [
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"),
]

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
LOADED = """selector => {  // looked for again each time: the page renews itself meanwhile
  const image = document.querySelector(selector); image?.scrollIntoView(); return image?.naturalWidth > 0
}"""
PAGES = (
    "/", "/console/login", "/console/alerts", "/console/alerts?silence=new", "/console/targets", "/console/jobs",
    "/console/host", "/console/rooms", "/console/configuration", "/console/doctor", "/console/routes?labels=team%3Ddb",
    "/console/senders?to=ops", "/console/templates", "/console/alerts?by=severity",
    "/console/audit", "/console/audit?action=ran", "/?state=dead&target=duty",
)  # fmt: skip


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        made = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        await made.close()


def is_complaint(said: Any) -> bool:
    """Whether a browser complains of something; what is asked for though it is not there, or drawn late, is none."""
    return said.type == "error" and not re.search(r"/nowhere$|/s/nonsense$|/chart\?", said.location["url"])


COOKIES: dict[tuple[str, str], tuple[str, str]] = {}
"""By bridge and token: who has signed in once need not do so in every test of that bridge."""


@asynccontextmanager
async def opened(
    browser: Any, console: ConsoleBridge, path: str = "/", *, token: str = TOKEN, **options: Any
) -> AsyncIterator[Any]:
    """A page of somebody who has signed in; whatever the browser complains of fails the test."""
    context = await browser.new_context(**{"viewport": DESK, "locale": "en-US", **options})
    context.set_default_timeout(60_000)
    if token and (console.url, token) not in COOKIES:
        async with console.session.post(
            f"{console.url}/console/sign-in", data={"token": token}, allow_redirects=False
        ) as answer:
            COOKIES[console.url, token] = next((each.key, each.value) for each in answer.cookies.values())
    if token:
        name, value = COOKIES[console.url, token]
        await context.add_cookies([{"name": name, "value": value, "url": console.url}])
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(f"{said.text} {said.location}") if is_complaint(said) else None)
    await page.goto(console.url + path)
    yield page
    await context.close()
    assert not problems


LONG = "PersistentVolumeClaimFillingUpWithAnAlertNameThatNoScreenOfAPhoneHasRoomForInOneLine"
_LAYOUT = """() => {
  const seen = selector => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility())
    .map(e => [e, e.getBoundingClientRect()]);
  const texts = found => found.map(([e]) => e.outerHTML);
  return {
    width: document.documentElement.scrollWidth, language: document.documentElement.lang,
    small: texts(seen('button, .button, nav a, select, input:not([type=hidden], [type=radio])')
      .filter(([, box]) => box.height < 43.5)),
    outside: texts(seen('body *').filter(([e, box]) => !e.closest('.only-read, .skip') && box.right > innerWidth + 1)),
  };
}"""
_SERIOUS = """() => axe.run({resultTypes: ['violations']}).then(({violations}) => violations
  .filter(each => ['serious', 'critical'].includes(each.impact)).map(each => [each.id, each.nodes[0].html]))"""


async def own_pages(console: ConsoleBridge) -> tuple[str, ...]:
    """The pages of one message and of one alert, and the one behind a signed link."""
    await console.push("kafka-3")
    if not any(each.alert.title == LONG for each in await console.bridge.alerts.list_firing()):
        await console.post(group(alert(LONG, "critical", instance="i" * 90), key="long"))
        await console.post(group(alert("LongWord", "Severity" * 15), key="word"))
    dead = await console.dead_message()
    firing = await console.bridge.alerts.list_firing()
    key = next(each.key for each in firing if each.alert.title == LONG)
    word = next(each.key for each in firing if each.alert.title == "LongWord")
    pages = console.bridge.alerts.pages
    assert pages
    link = pages.silence([each.key for each in firing], "robot", time.time()).removeprefix(pages.public_url)
    return (
        f"/console/message?id={dead}", f"/console/alert?key={key}", f"/console/alert?key={word}",
        f"/console/alerts?silence={key}", "/console/alerts?text=LongWord", link,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("viewports", "locale", "scheme"),
    [((PHONE, DESK), "zh-CN", "dark"), ((DESK, PHONE), "en-US", "light")],
    ids=["chinese-dark", "english-light"],
)
async def test_every_page_fits_its_screen_can_be_touched_and_has_no_serious_finding_of_axe(
    browser: Any, console: ConsoleBridge, viewports: tuple[dict[str, int], ...], locale: str, scheme: str
) -> None:
    async def look(page: Any, path: str) -> None:
        await page.set_viewport_size(viewports[0])
        await page.goto(console.url + path)
        await page.evaluate(Axe().axe_script)
        for viewport in viewports:
            await page.set_viewport_size(viewport)
            layout = await page.evaluate(_LAYOUT)
            assert not layout["outside"], (path, viewport)
            assert layout["width"] <= viewport["width"], (path, viewport)
            assert layout["language"] == locale.partition("-US")[0]
            assert not layout["small"], (path, viewport)
            assert not await page.evaluate(_SERIOUS), (path, viewport)

    own = await own_pages(console)
    how = {"viewport": viewports[0], "locale": locale, "color_scheme": scheme}
    async with opened(browser, console, **how) as page:
        for path in (*PAGES, *own):
            await look(page, path)
    async with opened(browser, console, token="", **how) as page:
        for path in ("/console/sign-in", "/s/nonsense", own[-1], "/console/nowhere"):
            await look(page, path)


async def test_a_long_word_for_how_bad_it_is_leaves_the_title_room_and_many_alerts_are_counted_in_one_line(
    browser: Any, tmp_path: Path
) -> None:
    async with running(tmp_path) as bench:
        many = (alert(f"Many{number}", instance=f"host-{number}:9100") for number in range(1000))
        await bench.post(group(*many, alert("LongWord", "Severity" * 15)), to="spare")
        async with opened(browser, bench, "/console/alerts?text=LongWord", viewport=PHONE) as page:
            header = page.locator(".alert > header")
            whole = await header.bounding_box()
            title = await header.locator("h3").bounding_box()
            assert title["width"] > whole["width"] / 3
            assert title["height"] < 60
            badge = page.locator(".pages .badge", has_text="999+")
            assert (await badge.bounding_box())["height"] <= 20
            lines = "e => { const r = new Range(); r.selectNode(e.firstChild); return r.getClientRects().length }"
            assert await badge.evaluate(lines) == 1


_NAME = "[e.tagName, e.name, e.type === 'submit' && e.value, e.getAttribute('href') || e.textContent.trim()].join(' ')"
_CONTROLS = f"""[...document.querySelectorAll('a[href], button, input, select, textarea, summary')].filter(e =>
  e.checkVisibility() && !e.disabled && e.type !== 'hidden' && (e.type !== 'radio' || e.checked)).map(e => {_NAME})"""
_WATCH = f"""() => {{
  window.focused = [];
  addEventListener('focusin', ({{target: e}}) => {{
    const shown = e.type === 'radio' ? e.nextElementSibling : e, style = getComputedStyle(shown);
    const isSeen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    focused.push([isSeen, {_NAME}]);
  }});
}}"""
"""Where the focus comes. Controls are told apart by their names: what is live is made anew meanwhile."""


async def test_keys_alone_reach_every_control_and_show_where_they_are(browser: Any, console: ConsoleBridge) -> None:
    own = await own_pages(console)
    async with opened(browser, console) as page:
        for path in (*PAGES, *own):
            await page.goto(console.url + path)
            await page.evaluate(_WATCH)
            for _ in await page.evaluate(_CONTROLS):
                await page.keyboard.press("Tab")
            while not await page.evaluate("document.activeElement === document.body"):
                await page.keyboard.press("Tab")
            focused = await page.evaluate("focused")
            assert not [name for is_seen, name in focused if not is_seen], path
            assert {name for _, name in focused} >= set(await page.evaluate(_CONTROLS)), path


async def test_the_timeline_shows_what_came_in_and_retries_and_hands_on_without_leaving_the_place(
    browser: Any, console: ConsoleBridge
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
        # A target that nothing else in these tests is sent to.
        await page.get_by_label("Send to").select_option("spare")
        await page.get_by_role("button", name="Send", exact=True).click()
        await page.get_by_text("was queued for spare too").wait_for()
        await page.goto(f"{console.url}/")
        assert "spare" in await disk.inner_text(), "it belongs to the same POST"
        await page.goto(f"{console.url}/?target=spare")
        assert await disk.count() == 1
        assert await page.locator("article").count() == 1
        await page.get_by_label("State").select_option("sent")
        await page.wait_for_url("**state=sent**")
        await page.get_by_role("link", name="Clear").wait_for()


async def test_what_comes_in_shows_by_itself_and_leaves_open_what_was_opened(
    browser: Any, console: ConsoleBridge
) -> None:
    async with opened(browser, console, viewport=PHONE) as page:
        await page.locator("#finer summary").click()
        await console.post(group(alert("CameJustNow"), key=f"now{time.time()}"))
        await page.get_by_role("heading", name="CameJustNow").wait_for()
        assert await page.locator("#finer[open]").count() == 1


async def test_a_page_is_renewed_once_at_a_time_so_that_no_older_answer_overwrites_a_newer(
    browser: Any, console: ConsoleBridge
) -> None:
    under_way = most = 0

    async def answer_slowly(route: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        answer = await route.fetch()
        await asyncio.sleep(1.5)
        under_way -= 1
        await route.fulfill(response=answer)

    async with opened(browser, console) as page:
        await page.route(f"{console.url}/", answer_slowly)
        for name in ("SlowFirst", "SlowSecond", "SlowThird"):
            await console.post(group(alert(name), key=f"{name}{time.time()}"))
            await asyncio.sleep(1.1)
        await page.get_by_role("heading", name="SlowThird").wait_for()
        assert most == 1
        await page.unroute_all(behavior="wait")


async def test_a_target_is_tested_with_a_picture_and_shows_what_may_still_be_sent(
    browser: Any, console: ConsoleBridge
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (640, 400), (20, 120, 90)).save(out, "PNG")
    async with opened(browser, console, "/console/targets") as page:
        card = page.locator(".target", has=page.get_by_role("heading", name="duty"))
        assert "of 30 left (30/min)" in await card.inner_text()
        assert "of 25 left (25/min) · its own pace" in await card.inner_text()
        assert "运维值班" in await card.inner_text()
        await card.locator("summary").click()
        await card.get_by_label("Text").fill("does it arrive?")
        await card.get_by_label("Picture").set_input_files(
            {"name": "a.png", "mimeType": "image/png", "buffer": out.getvalue()}
        )
        await card.get_by_role("button", name="Send", exact=True).click()
        await page.get_by_text("Queued for duty").wait_for()
        await console.until(lambda: any(m.media for m in console.simulator.world.messages("运维值班")))
        assert "does it arrive?" in [m.text for m in console.simulator.world.messages("运维值班")]
        await page.goto(f"{console.url}/?target=duty")
        await page.wait_for_function(LOADED, arg="article img")


async def test_a_job_is_run_muted_and_unmuted(browser: Any, console: ConsoleBridge) -> None:
    async with opened(browser, console, "/console/jobs", viewport=PHONE) as page:
        assert await page.locator(".lane .run").count() >= 12
        card = page.locator(".job", has=page.get_by_role("heading", name="hello"))
        await card.get_by_role("button", name="Run now").click()
        await page.get_by_text("hello was started.").wait_for()
        await card.locator("header").get_by_text("worked").wait_for()
        await card.get_by_role("button", name="Mute").click()
        await page.get_by_text("hello is muted until").wait_for()
        await card.get_by_role("button", name="Unmute").click()
        await page.get_by_text("runs at its times again").wait_for()


async def test_what_monitors_know_is_shown_acked_and_silenced_on_all_sides(
    browser: Any, console: ConsoleBridge
) -> None:
    labels = {"alertname": "Elsewhere", "severity": "critical", "instance": "db-9:9100", "team": "db"}
    console.monitors.alerts = [{
        "labels": labels, "annotations": {"summary": "only Alertmanager knows"}, "fingerprint": "f00d",
        "startsAt": "2026-02-01T00:00:00Z", "endsAt": "2036-02-01T00:00:00Z", "updatedAt": "2026-02-01T00:00:00Z",
        "generatorURL": "http://prom.example/graph?g0.expr=disk_used+%3E+40", "receivers": [{"name": "x"}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
    }]  # fmt: skip
    async with opened(browser, console, "/console/alerts") as page:
        card = page.locator(".alert", has=page.get_by_role("heading", name="Elsewhere"))

        async def listed() -> bool:
            # For a moment, those who look share what was answered before.
            await page.goto(f"{console.url}/console/alerts")
            return bool(await card.count())

        await console.until(listed)
        assert "(Alertmanager)" in await card.inner_text()
        disk = page.locator(".alert", has=page.get_by_role("heading", name="DiskFull"))
        assert "its monitor does not list it now" in await disk.inner_text()
        await card.locator("summary", has_text="Chart").click()
        await page.wait_for_function(
            "() => document.querySelector('.alert [open] img')?.naturalWidth > 300", timeout=20000
        )
        await card.locator("summary", has_text="I am on it").click()
        await card.get_by_label("Your name").fill("李四")
        await card.get_by_label("Why").fill("on my way")
        await card.get_by_role("button", name="Look after Elsewhere").click()
        await page.get_by_text("李四 looks after Elsewhere").wait_for()
        await card.get_by_text("李四 looks after it").wait_for()
        await page.get_by_role("link", name="Silence Elsewhere").click()
        matchers = page.get_by_label("Matchers")
        assert await matchers.input_value() == 'alertname="Elsewhere"\ninstance="db-9:9100"'
        await page.get_by_text("30m", exact=True).click()
        await page.get_by_label("Why").fill("the disk is being exchanged")
        await page.get_by_label("Your name").fill("李四")
        await page.get_by_role("button", name="Silence").click()
        await page.get_by_text("Silenced until").wait_for()
        assert "unsilence" not in await page.locator("#flash").inner_text()
        # What other tests silenced there is over, and stays.
        [theirs] = [each for each in console.monitors.silences.values() if each["status"]["state"] == "active"]
        [ours] = await console.bridge.alerts.list_own_silences()
        assert (theirs["comment"], theirs["createdBy"]) == ("the disk is being exchanged", "李四")
        assert (ours.comment, len(ours.matchers)) == ("the disk is being exchanged", 2)
        [shown] = await page.locator("#silences > li").all()
        assert "this bridge, Alertmanager" in await shown.inner_text()
        await shown.get_by_role("button").click()
        await page.get_by_text("Ended:").wait_for()
        assert theirs["status"]["state"] == "expired"
        assert not await console.bridge.alerts.list_own_silences()
        console.monitors.down = True
        await page.goto(f"{console.url}/console/alerts?silence=")
        await page.goto(f"{console.url}/console/alerts")
        await page.get_by_text("Alertmanager did not answer").wait_for()
        assert await page.get_by_role("heading", name="DiskFull").count() == 1
    console.monitors.down, console.monitors.alerts = False, []


async def test_machines_are_shown_with_levels_and_charts_as_long_as_they_are_asked_for(
    browser: Any, console: ConsoleBridge
) -> None:
    await console.push("kafka-3")
    async with opened(browser, console, "/console/host", viewport=PHONE, color_scheme="dark") as page:
        text = await page.locator(".machine", has=page.get_by_role("heading", name="kafka-3")).inner_text()
        assert "91 %" in text
        assert "8 cores" in text
        assert await page.locator(".levels .bad-text").inner_text() == "91 %"
        await page.get_by_role("link", name="6 h").click()
        image = page.get_by_role("img", name="Chart of kafka-3, the last 6 hours")
        await image.scroll_into_view_if_needed()
        await page.wait_for_function("() => document.querySelector('.machine img').naturalWidth > 300", timeout=20000)
        assert "theme=dark" in await image.evaluate("image => image.currentSrc")
        await console.push("shop-1", minutes=0)
        await page.goto(f"{console.url}/console/host?hours=24")
        assert await page.get_by_role("heading").all_inner_texts() == ["Machines", "kafka-3", "shop-1"]


async def test_rooms_are_found_and_copied_as_a_line_for_the_configuration(browser: Any, console: ConsoleBridge) -> None:
    async with opened(browser, console, "/console/rooms") as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.get_by_role("searchbox").fill("值班")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Copy line for targets:: 运维值班").click()
        await page.get_by_text("Copied").wait_for()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == "运维值班: {channel: wechat, room: 运维值班}"


async def test_the_configuration_shows_what_is_wrong_with_its_line_and_no_secret(
    browser: Any, console: ConsoleBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(watcher, "QUIET_SECONDS", 0.1)
    right = console.file.read_text(encoding="utf-8")
    async with opened(browser, console, "/console/configuration") as page:
        text = await page.locator("main").inner_text()
        assert str(console.file) in text
        assert "**********" in text
        assert not [secret for secret in (TOKEN, READ_TOKEN, console.simulator.token, "11111111") if secret in text]
        console.file.write_text(right + "nonsense: 1\n", encoding="utf-8")
        await page.get_by_text(f"jobs.yaml:{len(right.splitlines()) + 1}").wait_for(timeout=15000)
        console.file.write_text("", encoding="utf-8")
        await page.get_by_text("jobs.yaml:1: is empty").wait_for(timeout=15000)
        console.file.write_text(right, encoding="utf-8")
        await console.until(lambda: not console.bridge.state.problems)


async def test_doctor_runs_when_asked(browser: Any, console: ConsoleBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    from wxbridge import doctor

    monkeypatch.setattr(doctor, "CHECKS", {"state_dir": doctor.check_state_dir})
    async with opened(browser, console, "/console/doctor") as page:
        await page.get_by_role("button", name="Run the checks").click()
        await page.get_by_text("1 checks, 0 bad.").wait_for()
        assert await page.locator(".finding", has_text="state_dir").count() == 1


async def test_keys_alone_lead_from_the_first_page_to_a_job_that_runs(browser: Any, console: ConsoleBridge) -> None:
    async with opened(browser, console, viewport=PHONE, token="") as page:
        await page.get_by_label("Token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await page.locator("nav.pages").wait_for()
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


async def test_the_login_shows_a_live_code_that_is_exchanged_without_reloading(
    browser: Any, console: ConsoleBridge
) -> None:
    async with opened(browser, console, "/console/login", viewport=PHONE) as page:
        assert "小桥" in await page.locator("main").inner_text()
        await page.evaluate("window.stays = true")
        console.simulator.gateway.auto_scan = False
        leave, sure = (
            page.locator("summary", has_text="Log out"),
            page.get_by_role("button", name="Yes, log wechat out"),
        )
        assert not await sure.is_visible()
        console.simulator.gateway.faults.fail_next(method="Logout")
        await leave.click()
        await sure.click()
        await page.get_by_text("the WeChat gateway answered UNAVAILABLE").wait_for()
        assert console.bridge.channels.statuses()["wechat"].state is ChannelState.ONLINE
        await page.locator(".sure:not([open])").wait_for()
        await leave.click()
        await sure.click()
        code = page.locator(".qr img")
        await code.wait_for(timeout=20000)
        first = await code.get_attribute("src")
        console.simulator.world.refresh_qrcode()
        await page.wait_for_function("was => document.querySelector('.qr img')?.src !== was", arg=first, timeout=15000)
        assert await page.evaluate("window.stays") is True
        async with opened(browser, console, token=READ_TOKEN) as reader:
            await reader.goto(f"{console.url}/console/login")
            assert await reader.locator(".qr, .sure").count() == 0
        console.simulator.world.scan()
        await page.locator(".channel .pill.good").first.wait_for(timeout=15000)
        await console.until(lambda: console.bridge.channels.statuses()["wechat"].state is ChannelState.ONLINE)


async def test_the_first_page_tells_what_is_going_on_and_its_figures_lead_to_what_they_count(
    browser: Any, console: ConsoleBridge
) -> None:
    await console.push("kafka-3")
    async with opened(browser, console) as page:
        overview = page.locator("#overview")
        words = " ".join((await overview.inner_text()).split())
        for part in ("Firing now", "critical", "Messages today", "sent", "failed", "wechat online since", "Next jobs",
                     "hello", "Machines", "kafka-3"):  # fmt: skip
            assert part in words, part
        failed = overview.get_by_role("link", name="failed")
        count = int((await failed.inner_text()).split()[0])
        await failed.click()
        await page.wait_for_url("**state=dead**")
        assert not await overview.count(), "a filter shows what was asked for alone"
        assert bool(await page.locator("article").count()) is bool(count)
        firing = await page.locator("#badge-alerts").first.inner_text()
        assert firing.split()[0].isdigit()
        assert "fire" in firing


async def test_language_and_colours_are_chosen_in_the_browser_and_stay(browser: Any, console: ConsoleBridge) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    async with opened(browser, console, "/console/jobs", color_scheme="light") as page:
        light = await page.evaluate(ground)
        await page.get_by_role("button", name="Dark").click()
        await page.wait_for_function(f"() => document.readyState === 'complete' && {ground} !== '{light}'")
        await page.get_by_role("button", name="中文").click()
        await page.get_by_role("heading", name="任务").wait_for()
        await page.goto(f"{console.url}/console/targets")
        assert await page.locator("html").get_attribute("data-theme") == "dark"
        assert await page.evaluate(ground) != light
        await page.get_by_role("button", name="English").click()
        await page.get_by_role("heading", name="Targets").wait_for()
        await page.get_by_role("button", name="as the system has them").click()
        await page.wait_for_function(f"() => document.readyState === 'complete' && {ground} === '{light}'")


async def test_a_template_is_rendered_while_somebody_writes_it(browser: Any, console: ConsoleBridge) -> None:
    async with opened(browser, console, "/console/templates") as page:
        own = page.get_by_role("textbox", name="One that is written here")
        await own.fill("{{ firing }} of {{ source }}")
        await page.locator("#result pre", has_text="1 of alertmanager").wait_for()
        await own.fill("{{ nothing_like_it }}")
        await page.locator("#result .bad", has_text="nothing_like_it").wait_for()
        assert (
            await page.get_by_role("textbox", name="One that is written here").input_value() == "{{ nothing_like_it }}"
        )


async def test_many_are_chosen_and_silenced_with_the_keyboard_alone(browser: Any, console: ConsoleBridge) -> None:
    async with opened(browser, console, "/console/alerts?text=HighLoad") as page:
        await page.locator("[data-all]").focus()
        await page.keyboard.press("Space")
        assert await page.locator("#alerts input:checked").count() == 2
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_text("2 alerts, each by its own matchers").wait_for()
        await page.get_by_label("Why").focus()
        await page.keyboard.type("a test")
        await page.keyboard.press("Enter")
        await page.get_by_text("Silenced until").wait_for()
        assert await page.locator("#silences > li", has_text="a test").count() == 2
        for _ in range(2):
            await page.locator("#silences > li", has_text="a test").first.get_by_role("button").click()
            await page.get_by_text("Ended:").wait_for()
            await page.goto(f"{console.url}/console/alerts")
