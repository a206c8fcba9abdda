"""Fetching pictures from real sockets: where from, how much, and what comes."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import ipaddress
import os
import struct
import zlib

import pytest
import pytest_asyncio
from aiohttp import web
from PIL import Image
from yarl import URL

from tests.fakes.grafana import PASSWORD, TOKEN, USER, png
from wxbridge.config.types import GrafanaSettings
from wxbridge.core.errors import PictureError
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.allowed_hosts import AllowList
from wxbridge.pictures.fetch import fetch, read_file
from wxbridge.pictures.placeholders import PLACEHOLDER_DIGESTS

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = ("127.0.0.1",)


def image(kind: str, size=(40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, kind)
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that says it is 30,000 × 30,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


class Site:
    def __init__(self) -> None:
        self.bodies: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        self.raw: list[str] = []
        self.anything: bytes | None = None
        """What every path answers that has no redirect."""
        self.credentials: list[str | None] = []
        self.sent = 0

    async def answer(self, request):
        self.asked.append(request.path)
        self.raw.append(request.raw_path)
        self.credentials.append(request.headers.get("Authorization"))
        if request.path in self.redirects:
            # Not HTTPFound, which encodes the address anew.
            return web.Response(status=302, headers={"Location": self.redirects[request.path]})
        if self.anything is not None:
            return web.Response(body=self.anything)
        if request.path == "/endless":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"\x89PNG\r\n\x1a\n" * 8192)
                self.sent += 65536
        if request.path == "/never":
            await asyncio.Event().wait()
        if request.path not in self.bodies:
            raise web.HTTPNotFound
        body, headers = self.bodies[request.path]
        return web.Response(body=body, headers=headers)


@pytest_asyncio.fixture(loop_scope="session")
async def site():
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    site.url = f"http://127.0.0.1:{site.port}"
    yield site
    await runner.cleanup()


async def refused(words: str, url: str, **options) -> PictureError:
    with pytest.raises(PictureError, match=words) as caught:
        await fetch(url, **options)
    return caught.value


# ---------------------------------------------------------------- what comes


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/png")],
)
async def test_the_type_is_told_by_the_bytes_and_webp_becomes_png(site, kind, content_type):
    site.bodies["/x"] = (image(kind), {"Content-Type": "text/plain"})
    picture = await fetch(site.url + "/x", allow=HERE)
    assert picture.content_type == content_type
    assert Image.open(io.BytesIO(picture.data)).size == (40, 30)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n <!DOCTYPE html><p>no</p>", "web page"),
        (b"", "is empty"),
        (b"MZ\x90\x00", "no PNG"),
        (image("PNG")[:60], "damaged"),
        (bomb(), "has more than 50,000,000 pixels"),
    ],
)
async def test_what_is_no_picture_is_refused(site, body, words):
    site.bodies["/x"] = (body, {"Content-Type": "image/png"})
    error = await refused(words, site.url + "/x?token=secret", allow=HERE)
    assert not error.retry
    assert "secret" not in str(error)


async def test_a_missing_picture_and_a_failing_server(site):
    assert not (await refused("HTTP 404", site.url + "/none", allow=HERE)).retry
    assert (await refused("cannot be reached", "http://127.0.0.1:64999/x", allow=HERE)).retry


async def test_a_server_that_never_answers(site):
    assert (await refused("within 0.3 s", site.url + "/never", allow=HERE, deadline=0.3)).retry


# ---------------------------------------------------------------- how much


async def test_too_large_by_its_own_word_is_not_even_read(site):
    site.bodies["/x"] = (b"\x89PNG\r\n\x1a\n" + bytes(200_000), {})
    await refused("larger than 100,000 bytes", site.url + "/x", allow=HERE, max_bytes=100_000)


async def test_a_body_without_end_is_cut_off(site):
    await refused("larger than", site.url + "/endless", allow=HERE, max_bytes=1_000_000)
    assert site.sent < 20_000_000


async def test_a_packed_bomb_is_not_unpacked(site):
    packed = gzip.compress(bytes(50_000_000))
    assert len(packed) < 100_000
    site.bodies["/x"] = (packed, {"Content-Encoding": "gzip"})
    await refused("larger than", site.url + "/x", allow=HERE, max_bytes=100_000)


async def test_a_packed_picture_is_unpacked(site):
    site.bodies["/x"] = (gzip.compress(image("PNG")), {"Content-Encoding": "gzip"})
    assert (await fetch(site.url + "/x", allow=HERE)).data == image("PNG")


# ---------------------------------------------------------------- where from


async def test_nothing_is_allowed_unless_listed(site):
    site.bodies["/x"] = (image("PNG"), {})
    await refused("may not be fetched", site.url + "/x")
    await refused("may not be fetched", site.url + "/x", allow=["img.example.com", "10.0.0.0/8", "0.0.0.0/0"])
    assert site.asked == []


async def test_a_port_can_be_part_of_it(site):
    site.bodies["/x"] = (image("PNG"), {})
    assert await fetch(site.url + "/x", allow=[f"127.0.0.1:{site.port}"])
    await refused("may not", site.url + "/x", allow=["127.0.0.1:1"])


async def test_a_redirect_is_checked_like_the_first_address(site):
    site.bodies["/x"] = (image("PNG"), {})
    site.redirects = {"/a": "/b", "/b": "/x", "/out": f"http://127.0.0.2:{site.port}/x", "/file": "file:///etc/passwd"}
    assert await fetch(site.url + "/a", allow=HERE)
    await refused("may not be fetched from 127.0.0.2", site.url + "/out", allow=HERE)
    await refused("no http or https", site.url + "/file", allow=HERE)


SIGNED = (
    "/signed/a%27b.png",
    "/signed/x.png?sig=qZ0%2BPP2g%3D&t=application%2Fgzip",
    "/signed/%E5%91%8A%E8%AD%A6%28%31%29.png?Expires=1&Signature=ab%2Fcd%3D",
    "/signed//a%2Fb%2fc;v=1/%41.png?a=%3A&b=1+2&c=%20&d='x'&e=~!*()",
    "/signed/y.png?empty=&lone&=x",
)


@pytest.mark.parametrize("written", SIGNED)
async def test_a_signed_address_is_asked_for_byte_for_byte_as_it_is_written(site, written):
    site.anything = image("PNG")
    site.raw.clear()
    await fetch(f"{site.url}{written}#fragment", allow=HERE)
    assert site.raw == [written]
    site.redirects = {"/r/absolute": f"{site.url}{written}", "/r/path": written, "/r/relative": f"..{written}"}
    for name in ("absolute", "path", "relative"):
        site.raw.clear()
        await fetch(f"{site.url}/r/{name}", allow=HERE)
        assert site.raw == [f"/r/{name}", written]
    site.anything = None


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/告警 1.png?q=图", "/%E5%91%8A%E8%AD%A6%201.png?q=%E5%9B%BE"),
        ('/a"<b>.png', "/a%22%3Cb%3E.png"),
        ("/a/../b/./c.png", "/b/c.png"),
        ("/a/%2e%2E/b.png", "/b.png"),
        ("/../../x.png", "/x.png"),
        ("/a/..", "/"),
        ("", "/"),
        ("?a=1", "/?a=1"),
    ],
)
async def test_what_no_request_may_hold_is_encoded_and_nothing_leads_upwards(site, written, asked):
    site.anything = image("PNG")
    site.raw.clear()
    await fetch(f"{site.url}{written}", allow=HERE)
    assert site.raw == [asked]
    site.anything = None


async def test_an_address_that_the_operator_wrote_is_allowed_but_not_where_it_redirects(site):
    site.bodies["/x"] = (image("PNG"), {})
    site.redirects = {"/out": f"http://127.0.0.2:{site.port}/x"}
    assert await fetch(site.url + "/x", trusted=True)
    await refused("may not be fetched from 127.0.0.2", site.url + "/out", trusted=True)


async def test_redirects_without_end(site):
    site.redirects = {"/loop": "/loop"}
    await refused("more than 5 times", site.url + "/loop", allow=HERE)
    assert len(site.asked) <= 7


@pytest.mark.parametrize(
    "url",
    ["http://127.1:{port}/x", "http://2130706433:{port}/x", "http://0x7f.1:{port}/x", "http://[::ffff:127.0.0.1]:{port}/x",
     "http://0.0.0.0:{port}/x", "http://localhost:{port}/x", "http://user@127.0.0.1:{port}/x"],
)  # fmt: skip
async def test_loopback_in_disguise_is_refused(site, url):
    with pytest.raises(PictureError):
        await fetch(url.format(port=site.port), allow=["img.example.com", "0.0.0.0/0", "::/0"])
    assert site.asked == []


def resolving(**names):
    """A resolver that gives each name its addresses, the next list at every look-up."""
    calls = {name: iter(answers) for name, answers in names.items()}

    async def lookup(host, port):
        return [ipaddress.ip_address(text) for text in next(calls[host.partition(".")[0]])]

    return lookup


async def test_a_name_that_resolves_elsewhere_the_second_time_leads_nowhere_else(site):
    site.bodies["/x"] = (image("PNG"), {})
    lookup = resolving(img=[["127.0.0.1"], ["169.254.169.254"]])
    allow = AllowList(["img.example.com", "127.0.0.0/8"], lookup=lookup)
    # The one look-up is pinned: were the name looked up again, it would not resolve (or lead to the metadata).
    assert await fetch(f"http://img.example.com:{site.port}/x", allow=allow)


@pytest.mark.parametrize(
    ("addresses", "entries", "allowed"),
    [
        (["93.184.216.34"], ["img.example.com"], True),
        (["10.1.2.3"], ["img.example.com"], True),
        (["10.1.2.3"], ["*.example.com"], True),
        (["10.1.2.3"], ["10.0.0.0/8"], True),
        (["10.1.2.3"], ["img.example.com:443"], False),
        (["10.1.2.3"], ["example.com"], False),
        (["10.1.2.3"], ["192.168.0.0/16"], False),
        (["10.1.2.3", "192.168.1.1"], ["10.0.0.0/8"], False),
        (["127.0.0.1"], ["img.example.com"], False),
        (["127.0.0.1"], ["img.example.com", "127.0.0.1"], True),
        (["::1"], ["img.example.com", "::1"], True),
        (["169.254.169.254"], ["img.example.com"], False),
        (["169.254.169.254"], ["img.example.com", "0.0.0.0/0"], False),
        (["169.254.169.254"], ["169.254.169.254"], True),
        (["fe80::1"], ["img.example.com", "::/0"], False),
        (["100.100.100.200"], ["img.example.com"], False),
        (["::ffff:169.254.169.254"], ["img.example.com"], False),
        (["64:ff9b::a9fe:a9fe"], ["img.example.com"], False),
        (["93.184.216.34", "127.0.0.1"], ["img.example.com"], False),
        (["224.0.0.1"], ["img.example.com"], False),
    ],
)
async def test_which_addresses_are_allowed(addresses, entries, allowed):
    hosts = AllowList(entries, lookup=resolving(img=[addresses]))
    url = URL("http://img.example.com/x")
    if allowed:
        assert [str(address) for address in await hosts.addresses(url)] == addresses
    else:
        with pytest.raises(PictureError, match="may not be fetched"):
            await hosts.addresses(url)


async def test_an_unlisted_name_is_not_even_looked_up():
    hosts = AllowList(["img.example.com"], lookup=resolving())
    with pytest.raises(PictureError, match="may not be fetched from secret"):
        await hosts.addresses(URL("http://secret.attacker.example/"))


@pytest.mark.parametrize("entry", ["http://img.example.com", "10.0.0.0/99", "a b", "*", ""])
async def test_a_wrong_entry_is_a_sentence(entry):
    with pytest.raises(PictureError, match="neither a host"):
        AllowList([entry])


async def test_the_token_goes_to_where_grafana_draws_alone(site, fake):
    site.bodies["/x"] = (image("PNG"), {})
    fake.elsewhere = site.url + "/x"
    async with Grafana(GrafanaSettings(url=fake.url, token=TOKEN)) as grafana:
        assert await fetch(fake.url + "/away", allow=HERE, grafana=grafana)
        assert await fetch(fake.url + "/render/d-solo/kafka/x?panelId=4&width=300&height=200", grafana=grafana)
    assert fake.credentials("/away") == [None]
    assert site.credentials == [None]
    assert fake.credentials("/render/") == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/datasources/proxy/1/api/v1/query?query=up",
        "/logout",
        "/api/user",
        "/render/../api/user",
        "/render/d-solo/..%2f..%2fapi/user",
        "/render/d-solo/%2e%2e/%2e%2e/api/user",
        "/render/d-solo/%252e%252e/x",
        "/render/d-solo/..\\..\\api",
        "/render/api/user",
        "/renderer/d-solo/x",
    ],
)
async def test_an_alert_that_names_another_path_of_grafana_gets_no_credentials_there(fake, path):
    async with Grafana(GrafanaSettings(url=fake.url, token=TOKEN)) as grafana:
        with pytest.raises(PictureError) as refused:
            await fetch(fake.url + path, grafana=grafana)
    assert not refused.value.retry
    assert [each for each in fake.seen if each.credentials] == []


async def test_a_picture_at_grafana_s_public_address_is_fetched_where_the_bridge_reaches_it(fake):
    settings = GrafanaSettings(url=fake.url, public_url="https://grafana.example.com", token=TOKEN)
    async with Grafana(settings) as grafana:
        assert await fetch("https://grafana.example.com/render/d-solo/kafka/x?width=300&height=200", grafana=grafana)
    assert fake.credentials("/render/") == [f"Bearer {TOKEN}"]


async def test_an_alert_s_picture_in_another_organisation_does_not_switch_the_account(fake):
    async with Grafana(GrafanaSettings(url=fake.url, user=USER, password=PASSWORD)) as grafana:
        assert await fetch(f"{fake.url}/render/d-solo/kafka/x?orgId=2&width=300&height=200", grafana=grafana)
    assert fake.account_org == "1"
    assert fake.orgs == {"2"}


async def test_a_placeholder_that_grafana_put_into_an_image_store_is_no_picture(site, monkeypatch):
    picture = image("PNG")
    site.bodies["/bucket/1.png"] = (picture, {})
    assert (await fetch(site.url + "/bucket/1.png", allow=HERE)).data == picture
    digest = hashlib.sha256(picture).hexdigest()
    for name, words in (("plugin_not_installed", "has no image renderer"), ("timeout_dark", "took too long")):
        monkeypatch.setitem(PLACEHOLDER_DIGESTS, digest, f"rendering_{name}.png")
        with pytest.raises(PictureError, match=f"Grafana.* {words}") as refused:
            await fetch(site.url + "/bucket/1.png", allow=HERE)
        assert not refused.value.retry, "what was stored stays what it is"


# ---------------------------------------------------------------- data: URLs and files


async def test_a_data_url():
    data = "data:image/png;base64," + base64.b64encode(png()).decode()
    assert (await fetch(data)).data == png()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("data:text/html,<p>x", "holds text/html"),
        ("data:image/png;base64,@@@", "not valid base64"),
        ("data:image/png", "malformed"),
        ("data:image/png;base64," + "A" * 2_000_000, "larger than"),
        ("data:image/svg+xml,<svg/>", "SVG"),
    ],
)
async def test_a_bad_data_url(url, words):
    await refused(words, url, max_bytes=100_000)


async def test_a_file(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png())
    assert (await read_file(path)).content_type == "image/png"


async def test_files_that_are_refused(tmp_path):
    large, text, pipe = tmp_path / "large", tmp_path / "text", tmp_path / "pipe"
    large.write_bytes(png())
    text.write_text("hello")
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path / "none", "cannot read"),
        (text, "is no PNG"),
        (pipe, "no regular"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(PictureError, match=words):
            await read_file(path)
    with pytest.raises(PictureError, match="larger than 10 bytes"):
        await read_file(large, max_bytes=10)
