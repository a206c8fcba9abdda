"""Pictures of Grafana's panels: addressed, and drawn."""

from __future__ import annotations

import io
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from PIL import Image

from tests.fakes.grafana import PASSWORD, TOKEN, USER, png
from wxbridge.config.types import GrafanaSettings
from wxbridge.core import imaging
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.core.pictures import PageRequest, PanelAddress, PanelRequest
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.panels import (
    PanelPainter,
    page_of,
    render_path,
    says_no_data,
)
from wxbridge.pictures.renderer import PictureRenderer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOT = png(540, 320)


async def test_the_addresses_tell_size_times_variables_and_zone() -> None:
    panel = PanelAddress("4", "kafka", org="1", variables=(("var-host", "a&b"), ("var-host", "c")))
    view = PanelRequest(panel, 1000, 2000, width=500, height=300, theme="dark", timezone="Asia/Shanghai")
    parts = urlsplit(render_path(view, timeout=12.7))
    assert parts.path == "/render/d-solo/kafka/_"
    assert parse_qs(parts.query) == {
        "panelId": ["4"],
        "from": ["1000"],
        "to": ["2000"],
        "var-host": ["a&b", "c"],
        "theme": ["dark"],
        "timezone": ["Asia/Shanghai"],
        "tz": ["Asia/Shanghai"],
        "width": ["500"],
        "height": ["300"],
        "scale": ["2"],
        "timeout": ["12"],
    }
    page = page_of(view)
    assert page.only_grafana is True
    assert page.full_page is False
    assert page.org == "1"
    assert page.url.startswith("/d-solo/kafka/_?")


# ---------------------------------------------------------------- drawing


@pytest.fixture
def shots():
    """What our own browser was asked to shoot."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def panels(fake, shots):
    async def page(params):
        shots.append(params)
        return SHOT

    async with Grafana(GrafanaSettings(url=fake.url, token=TOKEN)) as grafana:
        yield PanelPainter(grafana, page)


async def no_browser(_page: PageRequest) -> bytes:
    """Where a machine has none."""
    raise PictureError("there is no browser")


PARAMS = {"panel": "4", "uid": "kafka", "from": 1000, "to": 901000, "timezone": "Asia/Shanghai"}


async def test_the_renderer_draws_with_the_token(fake, panels, shots) -> None:
    picture = await panels.paint(PARAMS)
    assert picture == png(1080, 640)
    assert not shots
    (query,) = fake.asked("/render/d-solo/kafka/")
    assert (query["panelId"], query["from"], query["to"], query["tz"]) == ("4", "1000", "901000", "Asia/Shanghai")
    assert fake.seen[0].credentials == f"Bearer {TOKEN}"


async def test_the_organisation_of_a_panel_travels_as_a_header_alone(fake) -> None:
    async with Grafana(GrafanaSettings(url=fake.url, user=USER, password=PASSWORD)) as grafana:
        await PanelPainter(grafana, no_browser).paint(
            {"panel": "4", "number": 12, "org": "2", "from": 1000, "to": 901000}
        )
    assert {each.path for each in fake.seen} >= {"/api/search", "/render/d-solo/kafka/_"}
    assert fake.orgs == {"2"}
    assert fake.account_org == "1"


async def test_a_grafana_without_renderer_is_shot_by_our_browser_and_not_asked_again(fake, panels, shots) -> None:
    fake.how = "placeholder"
    assert await panels.paint(PARAMS) == SHOT
    assert await panels.paint(PARAMS) == SHOT
    assert len(fake.asked("/render/")) == 1
    assert shots[0].url.startswith("/d-solo/kafka/_?panelId=4&from=1000&to=901000")
    assert shots[0].only_grafana is True


async def test_without_renderer_and_browser_the_browsers_reason_is_told(fake, panels) -> None:
    fake.how = "placeholder"
    for _ in range(2):
        with pytest.raises(PictureError, match="there is no browser") as refused:
            await PanelPainter(panels.grafana, no_browser).paint(PARAMS)
        assert not refused.value.retry


@pytest.mark.parametrize("how", ["500", "503", "429", "408", "blank"])
async def test_a_renderer_in_trouble_leaves_the_panel_to_our_browser_this_once(fake, panels, shots, how) -> None:
    fake.how = how
    assert await panels.paint(PARAMS) == SHOT
    fake.how = "draws"
    assert await panels.paint(PARAMS) == png(1080, 640)


async def test_a_slow_renderer_leaves_time_for_our_browser(fake, panels) -> None:
    fake.how = "slow"
    pictures = PictureRenderer(painters={"panel": panels.paint})
    assert await pictures.draw(PictureSpec("panel", PARAMS | {"deadline": 1.0})) == SHOT


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("login page", "Grafana wants a login: it did not take grafana.token"),
        ("form", "is a web page, no picture"),
        ("404", "HTTP 404"),
        ("403", "HTTP 403"),
    ],
)
async def test_a_login_page_or_a_refusal_is_no_picture(fake, panels, shots, how, said) -> None:
    fake.how = how
    with pytest.raises(PictureError, match=said) as refused:
        await panels.paint(PARAMS)
    assert not refused.value.retry
    assert not shots


async def test_a_wrong_token_is_told(fake, shots) -> None:
    async with Grafana(GrafanaSettings(url=fake.url, token="wrong")) as wrong:
        with pytest.raises(PictureError, match=r"did not take grafana\.token"):
            await PanelPainter(wrong, no_browser).paint(PARAMS)


async def test_when_both_fail_both_reasons_are_told(fake, panels) -> None:
    fake.how = "500"
    with pytest.raises(PictureError, match=r"HTTP 500; and by our own browser: there is no browser") as failed:
        await replace(panels, shoot=no_browser).paint(PARAMS)
    assert failed.value.retry
    fake.how = "placeholder"
    with pytest.raises(PictureError, match=r"^there is no browser$"):
        await replace(panels, shoot=no_browser).paint(PARAMS)


async def test_a_legacy_dashboard_number_is_looked_up_once(fake, panels) -> None:
    params = {"panel": "4", "number": 12, "from": 1000, "to": 901000}
    assert await panels.paint(params) == png(1080, 640)
    assert await panels.paint(params) == png(1080, 640)
    assert fake.asked("/api/search") == [{"type": "dash-db", "dashboardIds": "12"}]
    assert len(fake.asked("/render/d-solo/kafka/")) == 2


@pytest.mark.parametrize(
    ("found", "said", "retry"),
    [
        ([], "no dashboard of the number 12", False),
        ([{"uid": "a"}, {"uid": "b"}], "does not tell which dashboard", False),
        ([{"uid": "../x"}], "does not tell which dashboard", False),
        ({"message": "?"}, "does not tell which dashboard", False),
        (503, "HTTP 503", True),
        (404, "HTTP 404", False),
    ],
)
async def test_a_number_that_grafana_does_not_know_gives_no_other_dashboards_panel(
    fake, panels, found, said, retry
) -> None:
    fake.search_answer = found
    with pytest.raises(PictureError, match=said) as refused:
        await panels.paint({"panel": "4", "number": 12, "from": 1000, "to": 901000})
    assert refused.value.retry is retry
    assert not fake.asked("/render/")


async def test_a_dashboard_that_is_not_there_is_nothing_to_draw(fake, panels) -> None:
    async def no_such_page(params):
        raise PictureError("HTTP 404: there is no such page")

    fake.how = "placeholder"
    with pytest.raises(NothingToDraw, match="no dashboard gone") as gone:
        await replace(panels, shoot=no_such_page).paint(PARAMS | {"uid": "gone"})
    assert gone.value.reason == "no_dashboard"
    with pytest.raises(PictureError, match="HTTP 404") as missing:
        await replace(panels, shoot=no_such_page).paint(PARAMS)
    assert not isinstance(missing.value, NothingToDraw)
    fake.search_answer = []
    with pytest.raises(NothingToDraw):
        await panels.paint({"panel": "4", "number": 12, "from": 1000, "to": 901000})


async def test_an_expired_session_is_renewed_for_the_look_up(fake) -> None:
    params = {"panel": "4", "number": 12, "from": 1000, "to": 901000}
    async with Grafana(GrafanaSettings(url=fake.url, user=USER, password=PASSWORD)) as grafana:
        by_password = PanelPainter(grafana, no_browser)
        await by_password.paint(params)
        fake.sessions.clear()
        assert await by_password.paint(params | {"number": 13}) == png(1080, 640)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"panel": "4/../../admin?x=1"}, "impossible name"),
        ({"uid": "a/b"}, "impossible name"),
        ({"uid": None}, "names no dashboard"),
        ({"url": "http://evil.example.com"}, "does not know url"),
    ],
)
async def test_params_cannot_lead_elsewhere(fake, panels, change, said) -> None:
    with pytest.raises(PictureError, match=said):
        await panels.paint(PARAMS | change)
    with pytest.raises(PictureError, match="needs from"):
        await panels.paint({"panel": "4", "uid": "kafka", "to": 3})
    assert not fake.seen


async def test_our_own_browser_shoots_the_panel_alone(fake, browser) -> None:
    fake.how = "placeholder"
    pictures = PictureRenderer(grafana=GrafanaSettings(url=fake.url, token=TOKEN))
    pictures.pages.browser = browser
    picture = await pictures.painters["panel"](PARAMS)
    with imaging.open_picture(picture, "the panel") as image:
        assert image.size == (1080, 640)
        assert image.convert("RGB").getpixel((1070, 630)) == (0x20, 0x40, 0x80)
    (query,) = fake.asked("/d-solo/kafka/")
    assert (query["panelId"], query["from"], query["to"]) == ("4", "1000", "901000")


def panel_picture(draw_on) -> bytes:
    from PIL import ImageDraw

    image = Image.new("RGB", (1080, 640), "#ffffff")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 1079, 639), outline="#d8d8d8")
    pen.text((24, 20), "Kafka lag", fill="#202020", font_size=28)
    draw_on(pen)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("draw_on", "none"),
    [
        (lambda pen: pen.text((490, 330), "No data", fill="#555555", font_size=28), True),
        (lambda pen: pen.text((430, 250), "97 %", fill="#d02020", font_size=120), False),
        (lambda pen: pen.line([(60, 500), (1020, 300)], fill="#2060d0", width=3), False),
        (lambda pen: pen.rectangle((60, 600, 1040, 602), fill="#d0d0d0"), False),
        (lambda pen: pen.text((60, 330), "No data", fill="#555555", font_size=28), False),
    ],
)
async def test_a_panel_that_says_that_it_has_no_data_is_no_picture(draw_on, none) -> None:
    assert says_no_data(panel_picture(draw_on)) is none


async def test_where_the_panel_has_no_data_there_is_nothing_to_draw(fake, shots) -> None:
    fake.how = "placeholder"

    async def page(_params):
        return panel_picture(lambda pen: pen.text((490, 330), "No data", fill="#555555", font_size=28))

    async with Grafana(GrafanaSettings(url=fake.url, token=TOKEN)) as grafana:
        with pytest.raises(NothingToDraw, match="no data"):
            await PanelPainter(grafana, page).paint(PARAMS)
