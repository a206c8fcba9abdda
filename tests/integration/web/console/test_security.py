"""Who gets into the console, what they may do, and what no answer of it gives away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.integration.web.console.console_harness import EVIL, READ_TOKEN, TOKEN, ConsoleBridge
from tests.integration.web.web_harness import alone, fake_services, server_settings
from tests.support import REPOSITORY
from wxbridge.config.hooks import HooksSettings
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.token_hash import TokenCheck
from wxbridge.web.console.page import local_path
from wxbridge.web.console.session import SESSION_SECONDS, ConsoleRole, ConsoleTokens, SessionStore
from wxbridge.web.listener import HttpListener
from wxbridge.web.server import make_app

pytestmark = pytest.mark.asyncio(loop_scope="package")

HTML = {"Accept": "text/html,application/xhtml+xml"}
PAGES = (
    "/", "/console/login", "/console/alerts", "/console/alerts?silence=new", "/console/targets", "/console/jobs",
    "/console/host", "/console/rooms", "/console/configuration", "/console/doctor", "/console/message?id=1",
    "/console/audit",
)  # fmt: skip


class Visitor:
    """A browser without a screen: it keeps its cookies and follows nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.jar: aiohttp.CookieJar | None = None

    async def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Any:
        self.jar = self.jar or aiohttp.CookieJar(unsafe=True)
        async with (
            aiohttp.ClientSession(cookie_jar=self.jar) as session,
            session.request(
                method, self.url + path, headers=HTML | (headers or {}), allow_redirects=False, **options
            ) as answer,
        ):
            answer.body = await answer.text()  # type: ignore[attr-defined]
            return answer

    async def sign_in(self, token: str, **headers: str) -> Any:
        return await self.ask("POST", "/console/sign-in", data={"token": token}, headers=headers)

    async def csrf(self, path: str = "/console/jobs") -> str:
        page = (await self.ask("GET", path)).body
        return str(re.search(r'name="csrf" value="(\w+)"', page)[1])  # type: ignore[index]


@pytest.fixture
def visitor(console: ConsoleBridge) -> Visitor:
    return Visitor(console.url)


async def test_a_browser_without_a_session_is_sent_to_a_page_that_says_where_the_token_is(visitor: Visitor) -> None:
    for path in PAGES:
        answer = await visitor.ask("GET", path)
        assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/console/sign-in"), path
    page = await visitor.ask("GET", answer.headers["Location"])
    assert page.status == 200
    assert "server.token" in page.body
    assert "WXBRIDGE_TOKEN" in page.body
    assert (await visitor.ask("GET", "/login")).headers["Location"] == "/console/login"


async def test_a_program_is_told_with_a_401_and_a_bearer_opens_what_it_opened_before(visitor: Visitor) -> None:
    program = {"Accept": "*/*"}
    for path in ("/", "/console/jobs", "/console/events", "/metrics", "/api/alerts", "/login"):
        assert (await visitor.ask("GET", path, headers=program)).status == 401, path
    bearer = program | {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/console/jobs", "/metrics", "/api/alerts", "/login"):
        assert (await visitor.ask("GET", path, headers=bearer)).status == 200, path


async def test_the_token_opens_a_session_whose_cookie_no_script_and_no_other_site_gets(visitor: Visitor) -> None:
    answer = await visitor.sign_in(TOKEN)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_SECONDS:.0f}"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    for path in PAGES:
        page = await visitor.ask("GET", path)
        assert page.status == 200, path
        assert TOKEN not in page.body
        assert "11111111-2222" not in page.body, "the robot's key is a secret"


async def test_every_answer_forbids_scripts_frames_caches_and_referrers(visitor: Visitor) -> None:
    await visitor.sign_in(TOKEN)
    for path in (*PAGES, "/console/sign-in", "/console/nowhere/at-all"):
        answer = await visitor.ask("GET", path)
        if path == "/console/nowhere/at-all":
            assert answer.status == 404
            assert "There is no such page." in answer.body
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", answer.body)


async def test_an_alert_named_like_a_script_is_shown_as_such(visitor: Visitor) -> None:
    await visitor.sign_in(TOKEN)
    for path in ("/", "/console/alerts", f"/?text={EVIL}&target={EVIL}", f"/console/rooms?text={EVIL}"):
        page = (await visitor.ask("GET", path)).body
        assert "<script>alert" not in page, path
        assert "&lt;script&gt;alert" in page, path


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({}, {}, 403),
        ({}, {"csrf": "0" * 64}, 403),
        ({"Origin": "http://evil.example"}, {"csrf": "right"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, {"csrf": "right"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {"csrf": "right"}, 403),
        ({"Origin": "null"}, {"csrf": "wrong"}, 403),
        ({}, {"csrf": "right"}, 303),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, {"csrf": "right"}, 303),
    ],
)
async def test_a_change_needs_the_secret_of_its_form_and_a_page_of_ours(
    visitor: Visitor, headers: dict[str, str], fields: dict[str, str], status: int
) -> None:
    await visitor.sign_in(TOKEN)
    if fields.get("csrf") == "right":
        fields = {"csrf": await visitor.csrf()}
    data = fields | {"job": "hello", "back": "/console/jobs"}
    assert (await visitor.ask("POST", "/console/jobs/unmute", data=data, headers=headers)).status == status


async def test_what_browsers_send_by_themselves_changes_nothing(visitor: Visitor) -> None:
    answer = await visitor.ask(
        "POST", "/console/jobs/unmute", data={"job": "hello"}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status == 403


async def test_the_secret_of_one_session_is_no_good_in_another(console: ConsoleBridge, visitor: Visitor) -> None:
    other = Visitor(console.url)
    await visitor.sign_in(TOKEN)
    await other.sign_in(TOKEN)
    data = {"csrf": await other.csrf(), "job": "hello"}
    assert (await visitor.ask("POST", "/console/jobs/unmute", data=data)).status == 403


async def test_a_read_only_token_looks_and_changes_nothing(console: ConsoleBridge, visitor: Visitor) -> None:
    await visitor.sign_in(READ_TOKEN)
    for path in PAGES:
        page = await visitor.ask("GET", path)
        assert page.status == 200
        assert "may look" in page.body or path == "/console/rooms"
        posts = set(re.findall(r'method="post" action="([^"]*)"', page.body)) - {"/console/sign-out"}
        assert not posts, path
    csrf = str(re.search(r'name="csrf" value="(\w+)"', page.body)[1])  # type: ignore[index]
    for action in (
        "alerts/ack",
        "alerts/expire",
        "login/log-out",
        "login/digits",
        "jobs/run",
        "jobs/mute",
        "timeline/message",
        "targets/test",
        "alerts/silence",
        "doctor/run",
    ):
        answer = await visitor.ask("POST", f"/console/{action}", data={"csrf": csrf, "job": "hello"})
        assert (answer.status, "only look" in answer.body) == (403, True), action
    bearer = {"Authorization": f"Bearer {READ_TOKEN}", "Accept": "*/*"}
    alone = Visitor(console.url)
    for path, status in (("/metrics", 200), ("/api/alerts", 200), ("/login", 401)):
        assert (await alone.ask("GET", path, headers=bearer)).status == status, path
    assert (await alone.ask("POST", "/api/send", json={"to": "ops", "text": "x"}, headers=bearer)).status == 401
    assert (await alone.ask("POST", "/hooks/grafana", data=b"{}", headers=bearer)).status == 401


async def test_after_signing_out_the_cookie_opens_nothing_even_if_somebody_kept_it(visitor: Visitor) -> None:
    answer = await visitor.sign_in(TOKEN)
    kept = answer.headers["Set-Cookie"].partition(";")[0]
    data = {"csrf": await visitor.csrf()}
    assert (await visitor.ask("POST", "/console/sign-out", data=data)).headers["Location"] == "/console/sign-in"
    thief = Visitor(visitor.url)
    assert (await thief.ask("GET", "/", headers={"Cookie": kept})).status == 303


async def test_a_token_in_the_address_opens_a_session_and_leaves_the_address(visitor: Visitor) -> None:
    answer = await visitor.ask("GET", f"/?token={TOKEN}&target=ops")
    assert (answer.status, answer.headers["Location"]) == (303, "/?target=ops")
    assert (await visitor.ask("GET", "/")).status == 200


async def test_wrong_tokens_are_counted_by_address_and_those_of_proxies_by_whom_they_speak_for(
    tmp_path: Path,
) -> None:
    async with console_alone(tmp_path, "right", proxies=PROXIES) as url:
        people = {name: {"X-Forwarded-For": f"1.2.3.4, {name}"} for name in ("192.0.2.1", "192.0.2.2")}
        one, other = people.values()
        for _ in range(10):
            assert (await Visitor(url).sign_in("wrong", **one)).status == 401
        answer = await Visitor(url).sign_in("wrong", **one)
        assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (429, True)
        assert (await Visitor(url).sign_in("wrong", **other)).status == 401
        assert (await Visitor(url).sign_in("right", **one)).status == 303, "the right token always passes"


async def test_only_a_declared_proxy_says_that_the_browser_speaks_tls(tmp_path: Path) -> None:
    said = {"X-Forwarded-Proto": "https"}
    async with console_alone(tmp_path, "right", proxies=PROXIES) as url:
        assert "Secure" in (await Visitor(url).sign_in("right", **said)).headers["Set-Cookie"]
    async with console_alone(tmp_path, "right") as url:
        assert "Secure" not in (await Visitor(url).sign_in("right", **said)).headers["Set-Cookie"]


async def test_without_a_token_the_console_is_open_by_the_name_of_this_machine_only(tmp_path: Path) -> None:
    async with console_alone(tmp_path) as url:
        port = url.rpartition(":")[2]
        visitor = Visitor(url)
        assert (await visitor.ask("GET", "/")).status == 200
        hosts = {"localhost": 200, "127.0.0.1": 200, "evil.example": 403, "localhost.evil.example": 403}
        for host, status in hosts.items():
            answer = await visitor.ask("GET", "/console/jobs", headers={"Host": f"{host}:{port}"})
            assert answer.status == status, host
        answer = await visitor.ask("POST", "/console/jobs/run", data={"job": "x"})
        assert answer.status == 403, "a form needs its secret here too"


async def test_a_session_ends_with_its_time_its_token_or_a_forged_sign_and_survives_a_restart(tmp_path: Path) -> None:
    store, now = Database.open(sqlite_url(tmp_path)), [1000.0]
    clock = SystemClock(wall=lambda: now[0])

    async def sessions(tokens: ConsoleTokens) -> SessionStore:
        made = SessionStore(store, tokens, clock)
        await made.load_key()
        return made

    tokens = ConsoleTokens("token", "reader")
    first = await sessions(tokens)
    mine = first.open(*tokens.find("token"))  # type: ignore[misc]
    cookie = first.write(mine)

    def shows(who: SessionStore, value: str) -> Any:
        request: Any = type("Request", (), {"cookies": {who.cookie: value}})
        return who.read(request)

    assert shows(first, cookie) == mine
    assert shows(await sessions(ConsoleTokens("token", "reader")), cookie) == mine, "after a restart"
    assert shows(await sessions(ConsoleTokens("another")), cookie) is None
    assert shows(await sessions(ConsoleTokens()), cookie) is None
    reader = first.write(first.open(*tokens.find("reader")))  # type: ignore[misc]
    for forged in (reader.replace("read", "all"), cookie[:-1], cookie + "0", "all.x.y.z", "", "é" * 20):
        assert shows(first, forged) is None, forged
    named = ConsoleTokens(named={"老王": (ConsoleRole.OPERATE, TokenCheck(b"his"))})
    second = await sessions(named)
    his = second.write(second.open(*named.find("his")))  # type: ignore[misc]
    assert shows(second, his).owner == "老王"
    other = ConsoleTokens(named={"老王": (ConsoleRole.OPERATE, TokenCheck(b"another")), "小李": named.named["老王"]})
    assert shows(await sessions(other), his) is None, "with his token his session ends, whoever has it now"
    promoted = his.replace("operate.", "all.")
    assert shows(second, promoted) is None
    later = cookie.split(".")
    later[1] = str(int(later[1]) + 1)
    assert shows(first, ".".join(later)) is None
    now[0] += SESSION_SECONDS
    assert shows(first, cookie) is None
    store.close()


@pytest.mark.parametrize(
    "text", ["https://evil.example/", "//evil.example", "/\\evil.example", "/api/send", "javascript:alert(1)", "/a\nb"]
)
async def test_a_form_leads_back_to_a_page_of_ours_only(text: str) -> None:
    assert local_path(text) == "/"
    assert local_path("/console/jobs?x=1#there") == "/console/jobs?x=1"


async def test_a_stream_ends_at_once_where_the_bridge_does(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with console_alone(tmp_path) as url, asyncio.timeout(60):
            answer = await session.get(f"{url}/console/events")
            assert (await answer.content.readline()) == b"retry: 3000\n"
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 0.9
        answer.close()


async def test_a_stream_does_not_hold_up_the_application_that_takes_over(tmp_path: Path) -> None:
    store = Database.open(sqlite_url(tmp_path))
    listener = HttpListener()
    url = f"http://127.0.0.1:{listener.bind('127.0.0.1', 0)}"
    try:
        await listener.serve(application(store, tmp_path))
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            answer = await session.get(f"{url}/console/events")
            assert (await answer.content.readline()) == b"retry: 3000\n"
            await listener.serve(application(store, tmp_path))
            assert b'data: ["alerts"' not in await answer.content.read(), "it ends, and its page asks again"
            again = await session.get(f"{url}/console/events")
            assert again.status == 200
            await listener.close()
            await again.content.read()
    finally:
        await listener.close()
        store.close()


async def test_what_a_browser_cannot_be_shown_is_a_page_and_a_program_still_gets_json(visitor: Visitor) -> None:
    page = await visitor.ask("GET", "/nothing/here")
    assert (page.status, page.content_type) == (404, "text/html") or page.status == 401
    await visitor.sign_in(TOKEN)
    csrf = await visitor.csrf()
    for method, path, status, words in (
        ("GET", "/console/thumbnails/none.png", 404, "no such picture"),
        ("GET", "/console/message?id=99999999", 404, "no such message"),
        ("POST", "/console/jobs/run", 403, "out of date"),
        ("POST", "/console/jobs/nothing", 404, "no such page"),
    ):
        answer = await visitor.ask(method, path, data={"csrf": "0"} if method == "POST" else None)
        assert (answer.status, answer.content_type) == (status, "text/html"), path
        assert words in answer.body
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        program = await visitor.ask(method, path, data={"csrf": "0"}, headers={"Accept": "*/*"})
        assert program.status == status
        assert program.content_type == ("text/html" if "message" in path else "application/json"), path
    quiet = await visitor.ask("POST", "/console/jobs/run", data={"csrf": "0"}, headers={"X-Fragment": "flash"})
    assert (quiet.content_type, "out of date" in quiet.body) == ("application/json", True)
    api = await visitor.ask("GET", "/api/nothing", headers={"Authorization": f"Bearer {TOKEN}"})
    assert api.content_type == "application/json"
    assert csrf


async def test_without_machines_there_is_no_page_of_them(tmp_path: Path) -> None:
    async with console_alone(tmp_path) as url:
        visitor = Visitor(url)
        assert "/console/host" not in (await visitor.ask("GET", "/")).body
        assert (await visitor.ask("GET", "/console/host")).status == 404


async def test_all_that_the_console_is_made_of_is_small() -> None:
    folder = REPOSITORY / "wxbridge" / "web" / "console"
    files = [path for name in ("static", "templates") for path in (folder / name).iterdir()]
    assert sum(path.stat().st_size for path in files) < 150_000
    for path in files:
        addresses = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", path.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}, path.name


# ---------------------------------------------------------------- a console without a bridge


PROXIES = (ip_network("127.0.0.0/8"),)


@asynccontextmanager
async def console_alone(tmp_path: Path, token: str | None = None, **settings: Any) -> AsyncIterator[str]:
    async with alone(tmp_path, token=token, max_body=10_000, **settings) as server:
        yield server.url


def application(store: Database, tmp_path: Path) -> web.Application:
    return make_app(fake_services(tmp_path, store), server_settings(None), HooksSettings())
