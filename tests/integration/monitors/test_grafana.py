"""Getting in to Grafana, and its addresses."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys

import pytest
import pytest_asyncio

from tests.fakes.any_service import AnyService
from tests.fakes.grafana import PASSWORD, TOKEN, USER, FakeGrafana
from wxbridge.config.types import GrafanaSettings, PictureSettings
from wxbridge.core import imaging
from wxbridge.core.browser_tls import fetch_verified_key
from wxbridge.core.errors import PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.monitors.grafana import Grafana, OrgAddress, take_org
from wxbridge.pictures.fetch import fetch
from wxbridge.pictures.pages.browser import Browser
from wxbridge.pictures.pages.entry import shoot_as_account
from wxbridge.pictures.pages.shot import Shot
from wxbridge.pictures.renderer import PictureRenderer

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def below():
    """A Grafana that lives under a path of its host."""
    fake = FakeGrafana("/grafana")
    await fake.start()
    yield fake
    await fake.stop()


def by_token(fake, token=TOKEN) -> Grafana:
    return Grafana(GrafanaSettings(url=fake.url, token=token))


def by_password(fake, password=PASSWORD) -> Grafana:
    return Grafana(GrafanaSettings(url=fake.url, user=USER, password=password))


# ---------------------------------------------------------------- addresses


def bare(url: str = "http://grafana:3000") -> Grafana:
    return Grafana(GrafanaSettings(url=url))


HIDDEN = "kiosk&_dash.hideTimePicker=true&_dash.hideVariables=true&_dash.hideLinks=true"


@pytest.mark.parametrize(
    ("address", "options", "url"),
    [
        ("/d/k/o", {}, f"http://grafana:3000/d/k/o?{HIDDEN}"),
        ("d/k/o", {"kiosk": False}, "http://grafana:3000/d/k/o"),
        ("/d/k/o?refresh=5s&from=now-1h", {"kiosk": False}, "http://grafana:3000/d/k/o?from=now-1h"),
        ("/d/k/o?var-a=1&var-a=%2F+x", {"kiosk": False}, "http://grafana:3000/d/k/o?var-a=1&var-a=%2F+x"),
        ("/d/k/o?kiosk=tv", {"hide_controls": False}, "http://grafana:3000/d/k/o?kiosk=tv"),
        ("/d/k/o?theme=dark", {"theme": "light", "kiosk": False}, "http://grafana:3000/d/k/o?theme=dark"),
        (
            "/d/k/o",
            {"theme": "light", "timezone": "Asia/Shanghai", "kiosk": False},
            "http://grafana:3000/d/k/o?theme=light&timezone=Asia%2FShanghai",
        ),
        ("/d-solo/k/o?panelId=2", {}, "http://grafana:3000/d-solo/k/o?panelId=2&hideLogo=true"),
        ("HTTP://Grafana:3000/d/k/o#x", {"kiosk": False}, "http://grafana:3000/d/k/o"),
        ("https://grafana:3000/d/k/o?refresh=5s", {}, "https://grafana:3000/d/k/o?refresh=5s"),
        ("http://example.com/x?refresh=5s", {}, "http://example.com/x?refresh=5s"),
        ("//example.com/x", {}, "http://example.com/x"),
    ],
)
async def test_addresses(address, options, url):
    assert bare().page_url(address, **options) == url


async def test_addresses_below_a_sub_path():
    grafana = bare("http://host/grafana/")
    assert grafana.page_url("/d/k/o", kiosk=False) == "http://host/grafana/d/k/o"
    assert grafana.page_url("/grafana/d/k/o", kiosk=False) == "http://host/grafana/d/k/o"
    assert not grafana.owns("http://host/other")
    assert not grafana.owns("http://host/grafana-two/d")
    assert grafana.owns("http://host:80/grafana/d/x")


async def test_an_address_as_people_have_it_is_asked_for_where_the_bridge_reaches_it():
    settings = GrafanaSettings(url="http://grafana:3000/sub", public_url="https://g.example.com/")
    grafana = Grafana(settings)
    assert grafana.page_url("https://G.example.com/d/k/o?a=1", kiosk=False) == "http://grafana:3000/sub/d/k/o?a=1"
    assert grafana.page_url("https://g.example.com.evil/d/k", kiosk=False) == "https://g.example.com.evil/d/k"


@pytest.mark.parametrize(
    "url",
    [
        "http://grafana:3001/",
        "https://grafana:3000/",
        "http://grafana:3000@evil/",
        "http://grafana:3000.evil/",
        "http://x/",
    ],
)
async def test_no_credentials_for_other_addresses(url):
    grafana = Grafana(GrafanaSettings(url="http://grafana:3000", token=TOKEN))
    try:
        assert await grafana.get_credentials(url) is None
    except PictureError as error:
        assert "port" in str(error)  # noqa: PT017 - either is right: no credentials


# ---------------------------------------------------------------- getting in


async def test_by_token(browser, fake):
    grafana = by_token(fake)
    await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    assert len(fake.queries) == 2
    assert set(fake.credentials("/d/")) == {f"Bearer {TOKEN}"}
    assert fake.logins == 0


async def test_by_user_and_password_one_login_for_many_shots(browser, fake):
    grafana = by_password(fake)
    for _ in range(2):
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    assert fake.logins == 1


@pytest.mark.parametrize("how", [by_token, by_password])
async def test_below_a_sub_path_the_neighbours_get_no_credentials(browser, below, how):
    grafana = how(below)
    below_picture = await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    assert imaging.open_picture(below_picture, "it").height == 284
    await shoot_as_account(Shot(below.root + "/other"), grafana, browser)
    assert below.credentials("/other") == [None]


async def test_an_expired_session_is_renewed(browser, fake):
    grafana = by_password(fake)
    await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    fake.sessions.clear()
    assert await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    fake.sessions.clear()
    assert await fetch(f"{fake.url}/render/d-solo/k?width=300&height=200", grafana=grafana)
    assert fake.logins == 3


async def test_a_session_that_is_never_taken_is_a_clear_error(browser, fake):
    fake.refuse_sessions = True
    grafana = by_password(fake)
    with pytest.raises(PictureError, match=f"asked user {USER} to log in again") as caught:
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    assert fake.logins == 2
    assert not caught.value.retry


async def test_a_refused_login_is_a_clear_error_without_the_password(browser, fake):
    grafana = by_password(fake, "wrong-password")
    with pytest.raises(PictureError) as caught:
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    assert str(caught.value) == f"Grafana refused user {USER}: check grafana.user and grafana.password"
    assert not caught.value.retry


async def test_a_token_that_is_not_taken_is_a_clear_error(browser, fake):
    grafana = by_token(fake, "expired")
    with pytest.raises(PictureError, match=r"did not take grafana\.token") as caught:
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    assert "expired-" not in str(caught.value)
    assert not caught.value.retry


async def test_no_credentials_at_all_says_what_to_set(browser, fake):
    grafana = Grafana(GrafanaSettings(url=fake.url))
    with pytest.raises(PictureError, match=r"set grafana\.token, or"):
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)


async def test_a_dashboard_that_is_gone_is_an_error_not_a_picture_of_one(browser, fake):
    grafana = by_token(fake)
    with pytest.raises(PictureError, match="HTTP 404") as caught:
        await shoot_as_account(Shot(grafana.page_url("/d/gone/inner")), grafana, browser)
    assert not caught.value.retry


async def test_grafana_out_of_reach_is_worth_a_retry():
    grafana = Grafana(GrafanaSettings(url="http://127.0.0.1:64999", user=USER, password=PASSWORD))
    with pytest.raises(PictureError, match="cannot be reached") as caught:
        await grafana.get_credentials("http://127.0.0.1:64999/d/x")
    assert caught.value.retry


async def test_secrets_are_in_no_repr(fake):
    auth = await by_token(fake).get_credentials(fake.url)
    assert TOKEN not in repr(auth)
    assert TOKEN not in repr(Shot(fake.url, auth=auth))


# ---------------------------------------------------------------- whose account it is


@pytest_asyncio.fixture(loop_scope="session")
async def open_to_all():
    """A Grafana that lets anybody in as the anonymous viewer."""
    async with FakeGrafana(anonymous=True) as fake:
        yield fake


async def test_a_session_that_ended_is_renewed_where_anybody_is_let_in(browser, open_to_all):
    fake = open_to_all
    async with by_password(fake) as grafana:
        page, panel = Shot(grafana.page_url("/d/kafka/inner?panels=2")), "/render/d-solo/k?width=300&height=200"
        await shoot_as_account(page, grafana, browser)
        fake.sessions.clear()
        fake.seen.clear()
        await shoot_as_account(page, grafana, browser)
        assert fake.credentials("/d/") == [f"grafana_session={next(iter(fake.sessions))}"]
        fake.sessions.clear()
        await fetch(fake.url + panel, grafana=grafana)
        assert fake.credentials("/render/") == [f"grafana_session={next(iter(fake.sessions))}"]
    assert fake.logins == 3


async def test_the_api_too_notices_that_it_answers_as_to_anybody(open_to_all, monkeypatch):
    monkeypatch.setattr("wxbridge.monitors.grafana._ACCOUNT_TTL_SECONDS", 0.0)
    async with by_password(open_to_all) as grafana:
        await grafana.ask("/api/search", deadline=60)
        open_to_all.sessions.clear()
        assert (await grafana.ask("/api/search", deadline=60)).status == 200
        assert open_to_all.credentials("/api/search")[-1] == f"grafana_session={next(iter(open_to_all.sessions))}"


async def test_a_wrong_token_draws_nothing_where_anybody_is_let_in(browser, open_to_all):
    async with by_token(open_to_all, "expired") as grafana:
        with pytest.raises(PictureError, match=r"did not take grafana\.token"):
            await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
        with pytest.raises(PictureError, match=r"did not take grafana\.token"):
            await grafana.ask("/api/search", deadline=60)
    assert {each.path for each in open_to_all.seen} == {"/api/user"}


# ---------------------------------------------------------------- something else in its place


HOTEL = "<!doctype html><title>hotel</title><h1>Welcome to hotel wifi</h1>"


@pytest_asyncio.fixture(loop_scope="session")
async def hotel():
    """What answers every address with a page of its own, and a cookie along, as captive portals do."""
    async with AnyService() as hotel:
        hotel.says, hotel.more = HOTEL, {"Content-Type": "text/html", "Set-Cookie": "portal=guest; Path=/"}
        yield hotel


@pytest.mark.parametrize("way", [{"token": TOKEN}, {"user": USER, "password": PASSWORD}])
async def test_a_page_in_grafana_s_place_is_no_answer_of_its_api_and_shown_to_nobody(browser, hotel, way):
    async with Grafana(GrafanaSettings(url=hotel.url, **way)) as grafana:
        for asking in (
            shoot_as_account(Shot(grafana.page_url("/d/kafka/overview")), grafana, browser),
            grafana.ask("/api/search", deadline=60),
        ):
            with pytest.raises(PictureError, match=r"is no JSON: check grafana\.url") as refused:
                await asking
            assert not refused.value.retry
    assert {each.path for each in hotel.requests} <= {"/api/user", "/login"}


@pytest.mark.parametrize("path", ["/d/kafka/overview", "/d-solo/kafka/overview?panelId=2", "/goto/abc"])
async def test_a_page_without_any_sign_of_grafana_is_no_dashboard(browser, hotel, path):
    async with Grafana(GrafanaSettings(url=hotel.url)) as grafana:
        with pytest.raises(PictureError, match=r"no page of Grafana's: check grafana\.url") as refused:
            await shoot_as_account(Shot(grafana.page_url(path)), grafana, browser)
        assert not refused.value.retry
        # What lives beside Grafana at the same address, or anywhere else, is a page like any other.
        assert await shoot_as_account(Shot(f"{hotel.url}/beside/it"), grafana, browser)
        assert await shoot_as_account(Shot(hotel.url.replace("127.0.0.1", "localhost") + path), grafana, browser)


async def test_an_old_api_key_which_is_no_user_draws_as_before():
    async with AnyService() as service, Grafana(GrafanaSettings(url=service.url, token=TOKEN)) as grafana:
        service.says, service.status = {"message": "user not found"}, 404
        assert await grafana.get_credentials(service.url + "/d/kafka/overview") is not None


async def test_a_page_of_another_organisation_does_not_switch_the_account(browser, fake):
    async with by_password(fake) as grafana:
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2&orgId=2")), grafana, browser)
        assert fake.account_org == "1"
        assert fake.orgs == {"2"}
        fake.seen.clear()
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2&orgId=2"), org="3"), grafana, browser)
        assert fake.orgs == {"3"}
        fake.seen.clear()
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
        assert fake.orgs == {""}


async def test_a_token_draws_nothing_in_another_organisation_than_its_own(fake):
    async with by_token(fake) as grafana:
        await grafana.get_credentials(fake.url, "1")
        with pytest.raises(PictureError, match="token is of organisation 1, and does not open 2") as refused:
            await grafana.get_credentials(fake.url, "2")
        assert not refused.value.retry
    assert len(fake.asked("/api/org")) == 2


async def test_an_organisation_that_the_account_is_not_in_is_told_and_one_that_it_is_in_not_asked_again(fake):
    async with by_password(fake) as grafana:
        for org in ("2", "2", "3"):
            await grafana.get_credentials(fake.url, org)
        with pytest.raises(PictureError, match="no organisation 9 that its account is in"):
            await grafana.get_credentials(fake.url, "9")
    assert len(fake.asked("/api/org")) == 3


@pytest.mark.parametrize(
    ("url", "plain", "org"),
    [
        ("/d/k?orgId=2&from=now-1h", "/d/k?from=now-1h", "2"),
        ("/d/k?org%49d=2&var-a=%2F+x", "/d/k?var-a=%2F+x", "2"),
        ("/d/k?orgId=x", "/d/k", ""),
        ("/d/k?orgId=0&orgId=7", "/d/k", "7"),
        ("/d/k?var-a=%2B", "/d/k?var-a=%2B", ""),
    ],
)
async def test_the_organisation_is_taken_out_of_addresses(url, plain, org):
    assert take_org("http://g:3000" + url) == OrgAddress("http://g:3000" + plain, org)


# ---------------------------------------------------------------- a certificate of one's own


@pytest_asyncio.fixture(loop_scope="session")
async def private(tmp_path):
    """A Grafana with a certificate that an authority of one's own has signed; `ca` is that authority's."""

    async def openssl(*arguments):
        process = await asyncio.create_subprocess_exec("openssl", *arguments, cwd=tmp_path, stderr=subprocess.DEVNULL)
        assert await process.wait() == 0

    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    await openssl(*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=our own authority")
    named = ("-subj", "/CN=grafana", "-addext", "subjectAltName=IP:127.0.0.1", "-CA", "ca.pem", "-CAkey", "ca.key")
    await openssl(*new, "-keyout", "site.key", "-out", "site.pem", *named)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "site.pem", tmp_path / "site.key")
    fake = FakeGrafana(tls=context)
    await fake.start()
    fake.ca = tmp_path / "ca.pem"
    yield fake
    await fake.stop()


async def test_a_certificate_of_ones_own_authority_is_trusted_with_ca(private):
    settings = GrafanaSettings(url=private.url, user=USER, password=PASSWORD, ca=private.ca)
    async with Browser() as browser:
        grafana = Grafana(settings)
        assert await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner?panels=2")), grafana, browser)
    assert await fetch(f"{private.url}/render/d-solo/k?width=300&height=200", grafana=grafana)


async def test_without_ca_it_is_refused_and_nothing_is_sent(private, browser):
    grafana = by_token(private)
    with pytest.raises(PictureError, match="does not trust its certificate") as caught:
        await shoot_as_account(Shot(grafana.page_url("/d/kafka/inner")), grafana, browser)
    assert not caught.value.retry
    with pytest.raises(PictureError, match="certificate that is not trusted"):
        await fetch(f"{private.url}/render/d-solo/k?width=300&height=200", grafana=grafana)
    assert private.seen == []


async def test_another_authority_s_certificate_is_refused(private):
    with pytest.raises(PictureError, match="not signed by `ca`"):
        await fetch_verified_key("127.0.0.1", private.port, ssl.create_default_context())


# ---------------------------------------------------------------- rendered panels


async def test_a_rendered_panel(fake):
    picture = await fetch(f"{fake.url}/render/d-solo/k?width=300&height=200", grafana=by_token(fake))
    assert imaging.open_picture(picture.data, "it").size == (300, 200)


async def test_the_placeholder_of_a_grafana_without_renderer_is_refused(fake):
    fake.how = "placeholder"
    with pytest.raises(PictureError, match="has no image renderer") as caught:
        await fetch(f"{fake.url}/render/d-solo/k?width=300&height=200", grafana=by_token(fake))
    assert not caught.value.retry


# ---------------------------------------------------------------- Pictures


async def test_a_page_picture_is_drawn_from_its_params(fake):
    settings = GrafanaSettings(url=fake.url, token=TOKEN)
    async with PictureRenderer(PictureSettings(), settings, timezone="Asia/Shanghai") as pictures:
        params = {"url": "/d/kafka/inner?panels=2&refresh=1s", "width": 1000, "theme": "dark"}
        png = await pictures.draw(PictureSpec("page", params))
        image = imaging.open_picture(png, "it").convert("RGB")
        assert image.width == 1000
        assert image.getpixel((3, 100)) == (0x11, 0x11, 0x11)


async def test_what_fails_twice_and_then_works_is_drawn(renderer, fake, monkeypatch):
    monkeypatch.setattr("wxbridge.pictures.renderer.FIRST_PAUSE_SECONDS", 0.01)
    async with renderer() as pictures:
        assert await pictures.draw(PictureSpec("page", {"url": fake.url + "/flaky"}))
    assert fake.failures == 3


async def test_what_cannot_be_mended_is_asked_once(renderer, fake):
    async with renderer() as pictures:
        with pytest.raises(PictureError, match="HTTP 404"):
            await pictures.draw(PictureSpec("page", {"url": fake.url + "/status/404"}))
    assert len(fake.credentials("/status/404")) == 1


async def test_the_deadline_holds_over_all_tries(renderer, fake):
    async with renderer(PictureSettings(deadline="2s")) as pictures:
        with pytest.raises(PictureError, match="HTTP 503") as caught:
            await pictures.draw(PictureSpec("page", {"url": fake.url + "/status/503"}))
    assert caught.value.retry
    assert 1 <= len(fake.credentials("/status/503")) <= 3


async def test_a_painter_of_ones_own_and_its_deadline():
    async def paint(params):
        if params.get("hang"):
            await asyncio.Event().wait()
        return b"drawn " + params["what"].encode()

    async with PictureRenderer(PictureSettings(deadline="300ms"), painters={"chart": paint}) as pictures:
        assert await pictures.draw(PictureSpec("chart", {"what": "cpu"})) == b"drawn cpu"
        with pytest.raises(PictureError, match=r"\(chart\) was not drawn within 0.3 s"):
            await pictures.draw(PictureSpec("chart", {"what": "cpu", "hang": True}))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (PictureSpec("hologram", {}), "no kind of picture"),
        (PictureSpec("page", {}), "needs `url`"),
        (PictureSpec("page", {"url": "http://x/", "colour": 1}), "does not know colour"),
        (PictureSpec("page", {"url": "/d/x"}), r"no `grafana: url:`"),
        (PictureSpec("page", {"url": "http://10.0.0.1/", "only_grafana": True}), "not below"),
        (PictureSpec("fetch", {"url": "http://127.0.0.1/x.png"}), "may not be fetched"),
    ],
)
async def test_a_wrong_spec_is_a_sentence(spec, words):
    async with PictureRenderer() as pictures:
        with pytest.raises(PictureError, match=words) as caught:
            await pictures.draw(spec)
    assert not caught.value.retry


async def test_the_driver_costs_nothing_before_the_first_shot():
    code = "import sys, wxbridge.pictures.fetch; print({'playwright', 'PIL'} & set(sys.modules))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "set()"
