"""Publishing pictures: to a store that checks signatures by AWS's rules, and to a real one where there is one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from wxbridge.config.schema import Config
from wxbridge.config.types import PictureSettings, PublishSettings, S3Settings
from wxbridge.core.errors import ConfigError, PictureError
from wxbridge.pictures.publish import S3Address, S3Key, S3Publisher, make_publisher, sign_url

PNG = b"\x89PNG\r\n\x1a\nnot really"


@dataclass
class FakeS3:
    """Keeps objects for requests that are signed in their query, as Amazon's documentation has it."""

    keys: dict[str, str] = field(default_factory=lambda: {"id": "hush"})
    region: str = "eu-1"
    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    now: float = 1_800_000_000.0
    puts: int = 0
    fail: list[tuple[int, str]] = field(default_factory=list)
    held: asyncio.Event | None = None
    url: str = ""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**25)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.Response:
        if request.method == "PUT":
            self.puts += 1
            data = await request.read()
            if self.held:
                await self.held.wait()
            if self.fail:
                status, code = self.fail.pop(0)
                return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")
        if code := self.refused(request):
            return web.Response(status=403, text=f"<Error><Code>{code}</Code></Error>")
        host_and_path = request.headers["Host"].split(":")[0] + request.path
        if request.method == "PUT":
            self.objects[host_and_path] = data, request.headers["Content-Type"]
            return web.Response()
        data, kind = self.objects[host_and_path]
        return web.Response(body=data, content_type=kind)

    def refused(self, request: web.Request) -> str:
        """The code of what is wrong with a signature. Written from the documentation, not from what signs."""
        query = dict(request.query)
        given = query.pop("X-Amz-Signature", "")
        who, day, region, service, last = query["X-Amz-Credential"].split("/")
        start = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.fromtimestamp(self.now, UTC)
        if who not in self.keys:
            return "InvalidAccessKeyId"
        if not start - timedelta(minutes=15) <= now <= start + timedelta(seconds=int(query["X-Amz-Expires"])):
            return "AccessDenied"
        raw_path, _, raw_query = request.raw_path.partition("?")
        pairs = sorted(part for part in raw_query.split("&") if not part.startswith("X-Amz-Signature="))
        canonical = (
            f"{request.method}\n{raw_path}\n{'&'.join(pairs)}\n"
            f"host:{request.headers['Host']}\n\n{query['X-Amz-SignedHeaders']}\nUNSIGNED-PAYLOAD"
        )
        key = b"AWS4" + self.keys[who].encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{day}/{region}/{service}/{last}\n{hashed}"
        right = hmac.new(key, text.encode(), "sha256").hexdigest()
        return "" if hmac.compare_digest(right, given) else "SignatureDoesNotMatch"


@pytest_asyncio.fixture
async def s3() -> AsyncIterator[FakeS3]:
    fake = FakeS3()
    runner = web.AppRunner(fake.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    if fake.held:
        fake.held.set()
    await runner.cleanup()


def settings(url: str, **more: Any) -> S3Settings:
    given = {"endpoint": url, "bucket": "pics", "region": "eu-1", "access_key": "id", "secret_key": "hush", **more}
    return S3Settings.model_validate(given)


def store(s3: FakeS3, deadline: float = 20.0, **more: Any) -> S3Publisher:
    return S3Publisher(settings(s3.url, **more), wall=lambda: s3.now, deadline=deadline)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "a-b_C9.png"
    path.write_bytes(PNG)
    return path


async def fetch(url: str, method: str = "GET") -> tuple[int, bytes, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(url, encoded=True)) as answer,
    ):
        return answer.status, await answer.read(), answer.content_type


def test_the_signature_is_the_one_of_amazons_own_example() -> None:
    url = sign_url(
        "GET",
        S3Address("https://examplebucket.s3.amazonaws.com", "/test.txt"),
        S3Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1"),
        now=datetime(2013, 5, 24, tzinfo=UTC),
        expires=86400,
    )
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


async def test_a_picture_is_fetched_from_its_address_until_that_expires_and_is_never_writable_by_it(s3, png) -> None:
    url = await store(s3, expires="1h").address(png, "image/png")
    assert await fetch(url) == (200, PNG, "image/png")
    assert (await fetch(url, "PUT"))[0] == 403
    assert (await fetch(url.replace("a-b_C9", "other")))[0] == 403
    s3.now += 3601
    assert (await fetch(url))[0] == 403
    assert "hush" not in url


async def test_one_upload_serves_several_targets_and_an_old_address_is_renewed(s3, png) -> None:
    published = store(s3, expires="1h")
    urls = await asyncio.gather(*(published.address(png, "image/png") for _ in range(5)))
    assert s3.puts == 1
    assert len(set(urls)) == 1
    s3.now += 1801
    assert await published.address(png, "image/png") not in urls


async def test_a_bucket_may_stand_before_the_host_as_aliyun_wants_it(png) -> None:
    url = S3Publisher(settings("https://oss.example.com", addressing="host", prefix="a+b/"))._signed(
        "GET", png.name, 60
    )
    assert url.startswith("https://pics.oss.example.com/a%2Bb/a-b_C9.png?X-Amz-Algorithm")


@given(prefix=st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20), names=st.integers(0, 3))
def test_any_prefix_is_quoted_so_that_nothing_of_it_is_lost(prefix: str, names: int) -> None:
    path = f"/{'x/' * names}{prefix}"
    url = sign_url(
        "GET", S3Address("http://h", path), S3Key("k", "s", "r"), now=datetime(2026, 1, 1, tzinfo=UTC), expires=60
    )
    shown = url.removeprefix("http://h").partition("?")[0]
    assert unquote(shown) == path
    assert shown.isascii()


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [(403, "SignatureDoesNotMatch", False), (404, "NoSuchBucket", False), (503, "SlowDown", True), (429, "Busy", True)],
)
async def test_a_refusal_is_told_without_a_secret_and_with_whether_to_try_again(s3, png, status, code, retry) -> None:
    s3.fail.append((status, code))
    published = store(s3)
    with pytest.raises(PictureError, match=f"answers {status} {code}") as caught:
        await published.address(png, "image/png")
    assert caught.value.retry is retry
    assert "hush" not in str(caught.value)
    assert "X-Amz" not in str(caught.value)
    assert (await fetch(await published.address(png, "image/png")))[0] == 200


async def test_a_wrong_secret_is_refused_by_the_store(s3, png) -> None:
    with pytest.raises(PictureError, match=r"403 SignatureDoesNotMatch; look at `pictures\.publish`"):
        await store(s3, secret_key="other").address(png, "image/png")


async def test_a_store_that_stalls_is_given_up_on_in_time(s3, png) -> None:
    s3.held = asyncio.Event()
    with pytest.raises(PictureError, match=r"did not answer within 0\.1 s") as caught:
        await store(s3, deadline=0.1).address(png, "image/png")
    assert caught.value.retry


async def test_a_store_that_is_not_there_is_tried_again(png) -> None:
    with pytest.raises(PictureError, match="is not reached") as caught:
        await S3Publisher(settings("http://127.0.0.1:9")).address(png, "image/png")
    assert caught.value.retry


async def test_our_own_address_is_the_servers_with_the_pictures_name(png) -> None:
    own = make_publisher(PublishSettings(url="https://bridge.example.com/wx/"))
    assert own is not None
    assert await own.address(png, "image/png") == "https://bridge.example.com/wx/pictures/a-b_C9.png"
    assert make_publisher(PictureSettings().publish) is None


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{}", "give one of `url:`"),
        ('{url: "https://a", s3: {endpoint: "https://s", bucket: bbb, access_key: a, secret_key: s}}', "give one of"),
        ('{s3: {endpoint: "https://s", bucket: bbb, access_key: a, secret_key: s, expires: 8d}}', "604800"),
        ('{s3: {endpoint: "https://s", bucket: bbb, access_key: a}}', "secret_key"),
        ('{url: "bridge.example.com"}', "url"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(read: Callable[..., Config], written: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(f"pictures: {{publish: {written}}}\n")


@pytest.mark.skipif("WXBRIDGE_S3" not in os.environ, reason="no S3 server: WXBRIDGE_S3=ENDPOINT,BUCKET,KEY,SECRET")
async def test_a_real_store_takes_and_shows_it(png) -> None:
    endpoint, bucket, access, secret = os.environ["WXBRIDGE_S3"].split(",")
    real = S3Publisher(S3Settings(endpoint=endpoint, bucket=bucket, access_key=access, secret_key=secret))
    assert await fetch(await real.address(png, "image/png")) == (200, PNG, "image/png")
