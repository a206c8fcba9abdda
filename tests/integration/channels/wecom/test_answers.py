"""What each answer of WeCom and of a broken line means: the body decides, never the HTTP status."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.http_service import FakeService
from tests.integration.channels.wecom.wecom_harness import FAST, PATIENT
from wxbridge.channels.answers import HttpAnswer, Meaning
from wxbridge.channels.http import HttpClient, HttpTiming
from wxbridge.channels.wecom.answers import CODES, classify
from wxbridge.core.errors import BadAddress, Offline, Permanent, SendError, Throttled, Transient, Unauthorised, Unknown

SERVICE = "WeCom"
PAGE = b"<!DOCTYPE html><html><title>Log in to the proxy</title></html>"


def said(errcode: object, status: int = 200, **more: object) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"errcode": errcode, "errmsg": "the words", **more}).encode())


DOCUMENTED = {
    -1: Transient,
    40001: Unauthorised,
    40003: BadAddress,
    40004: Permanent,
    40005: Permanent,
    40006: Permanent,
    40007: Permanent,
    40008: Permanent,
    40009: Permanent,
    40011: Permanent,
    40013: Unauthorised,
    40014: Transient,
    40031: BadAddress,
    40032: Permanent,
    40033: Permanent,
    40035: Permanent,
    40056: Unauthorised,
    40058: Permanent,
    40063: Permanent,
    40066: BadAddress,
    40068: BadAddress,
    40070: BadAddress,
    40091: Unauthorised,
    41001: Transient,
    41002: Unauthorised,
    41004: Unauthorised,
    41006: Permanent,
    41011: Unauthorised,
    42001: Transient,
    44001: Permanent,
    44004: Permanent,
    45001: Permanent,
    45002: Permanent,
    45008: Permanent,
    45009: Throttled,
    45033: Throttled,
    46004: BadAddress,
    48002: Unauthorised,
    50002: BadAddress,
    50003: Unauthorised,
    60003: BadAddress,
    60011: BadAddress,
    60020: Unauthorised,
    60111: BadAddress,
    60123: BadAddress,
    81013: BadAddress,
    82001: BadAddress,
    82002: Permanent,
    82003: Permanent,
    93000: Unauthorised,
    93004: Unauthorised,
    93008: Unauthorised,
    301002: Unauthorised,
    301019: Permanent,
}


def test_the_table_covers_every_code_that_the_channel_knows() -> None:
    assert set(DOCUMENTED) == set(CODES)


@pytest.mark.parametrize(("errcode", "kind"), DOCUMENTED.items())
@pytest.mark.parametrize("status", [200, 500])
def test_a_documented_code_says_whether_a_retry_can_help_whatever_the_status(errcode, kind, status) -> None:
    error = classify(said(errcode, status)).failure(SERVICE)
    assert (type(error), error.code) == (kind, str(errcode))
    assert "WeCom" in str(error)
    assert "the words" in str(error)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (said(0), Meaning.SENT),
        (said("0"), Meaning.SENT),
        (said(0, 500), Meaning.SENT),
        (said(0, invaliduser="u1|u2"), Meaning.PARTLY_SENT),
        (said(0, invalidparty="1"), Meaning.PARTLY_SENT),
        (said(0, invalidtag="1"), Meaning.PARTLY_SENT),
        (said(0, unlicenseduser="u1"), Meaning.PARTLY_SENT),
        (said(0, invaliduser=""), Meaning.SENT),
        (said(42001), Meaning.RENEW_TOKEN),
        (said(40058), Meaning.REFUSED),
        (said(45009), Meaning.THROTTLED),
        (said(93000), Meaning.WRONG_CONFIGURATION),
        (said(45002), Meaning.TOO_BIG),
        (said(987654), Meaning.PASSING),  # nobody documents it: certainly not sent
        (said(True), Meaning.UNKNOWN),
        (said(None), Meaning.UNKNOWN),
        (HttpAnswer(200, b""), Meaning.UNKNOWN),
        (HttpAnswer(200, b"ok"), Meaning.UNKNOWN),
        (HttpAnswer(200, b"[0]"), Meaning.UNKNOWN),
        (HttpAnswer(200, b'{"ok": true}'), Meaning.UNKNOWN),
        (HttpAnswer(200, b'{"errcode": 0'), Meaning.UNKNOWN),  # cut off
        (HttpAnswer(200, PAGE), Meaning.PASSING),
        (HttpAnswer(302, b""), Meaning.PASSING),
        (HttpAnswer(403, PAGE), Meaning.PASSING),
        (HttpAnswer(404, PAGE), Meaning.WRONG_CONFIGURATION),
        (HttpAnswer(413, PAGE), Meaning.TOO_BIG),
        (HttpAnswer(429, b""), Meaning.THROTTLED),
        (HttpAnswer(500, b""), Meaning.UNKNOWN),
        (HttpAnswer(500, PAGE), Meaning.UNKNOWN),
        (HttpAnswer(502, PAGE), Meaning.UNKNOWN),  # it may have been passed on
        (HttpAnswer(503, PAGE), Meaning.PASSING),
        (HttpAnswer(504, PAGE), Meaning.UNKNOWN),
    ],
)
def test_an_answer_means(answer, meaning) -> None:
    assert classify(answer).meaning is meaning


@given(status=st.integers(100, 599), body=st.binary(max_size=60) | st.from_regex(rb'\{"errcode": ?-?\d{1,6}\}'))
def test_no_answer_passes_for_sent_but_a_zero(status, body) -> None:
    verdict = classify(HttpAnswer(status, body))
    if verdict.meaning in (Meaning.SENT, Meaning.PARTLY_SENT):
        assert json.loads(body)["errcode"] in (0, "0")
    else:
        assert isinstance(verdict.failure(SERVICE), SendError)


def test_throttling_waits_a_minute_or_as_long_as_a_proxy_says() -> None:
    assert classify(said(45009)).failure(SERVICE).retry_after == 60
    assert classify(HttpAnswer(429, b"", 7.0)).failure(SERVICE).retry_after == 7


# ---------------------------------------------------------------- the line


class Echo(FakeService):
    """A service that only ever fails as planned."""

    def routes(self):
        return []


@pytest.fixture
async def service():
    async with Echo() as running:
        yield running


@pytest.fixture
async def http():
    http = HttpClient(FAST)
    yield http
    await http.close()


async def ask(http: HttpClient, url: str, *, sends: bool = True) -> HttpAnswer:
    return await http.ask("POST", url, service=SERVICE, sends=sends, params={"key": "TOP-SECRET"}, data=b"{}")


@pytest.mark.parametrize(("sends", "kind"), [(True, Unknown), (False, Transient)])
async def test_a_stall_may_have_sent_a_message_but_not_an_upload(service, http, sends, kind) -> None:
    service.stall()
    with pytest.raises(kind, match=r"did not answer within 1\.5 s") as caught:
        await ask(http, service.url, sends=sends)
    assert "TOP-SECRET" not in str(caught.value)


@pytest.mark.parametrize(("sends", "kind"), [(True, Unknown), (False, Transient)])
async def test_a_cut_connection_may_have_sent_a_message_but_not_an_upload(service, http, sends, kind) -> None:
    service.cut()
    with pytest.raises(kind, match="cut the connection") as caught:
        await ask(http, service.url, sends=sends)
    assert "TOP-SECRET" not in str(caught.value)


async def test_a_service_that_is_not_reached_has_sent_nothing(http) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        with pytest.raises(Offline, match="WeCom is not reached: Connection refused") as caught:
            await ask(http, f"http://127.0.0.1:{taken.getsockname()[1]}/x")
    assert "TOP-SECRET" not in str(caught.value)


async def test_a_connection_that_does_not_come_about_has_sent_nothing() -> None:
    # TLS is spoken to somebody who listens and says nothing: still no connection, so nothing was sent.
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    hurried = HttpClient(HttpTiming(deadline=60, connect=0.2))
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Offline, match="no connection in time"):
            await ask(hurried, f"https://127.0.0.1:{port}/x")
    await hurried.close()


async def test_an_answer_that_is_cut_off_may_have_been_a_yes(http) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"errcode": 0')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unknown):
            await ask(http, f"http://127.0.0.1:{port}/x")


async def test_a_name_that_is_none_is_not_reached_and_a_bad_address_is_for_good(http) -> None:
    with pytest.raises(Offline):
        await ask(http, "http://no-such-host.invalid/x")
    for address in ("http://[oops/x", "http://x:99999/", f"http://{'a' * 80}.com/"):
        with pytest.raises(Permanent, match="base_url"):
            await ask(http, address)


@pytest.fixture
def certificate(tmp_path) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key in the same file."""
    path = tmp_path / "own.pem"
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=own"
    extra = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(tmp_path / "crt"))
    subprocess.run(["openssl", *words.split(), *extra], check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "crt").read_text())
    return path


async def test_a_private_authority_is_trusted_where_it_is_named_and_only_there(http, certificate) -> None:
    async def yes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"errcode":0}')
        await writer.drain()
        writer.close()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    server = await asyncio.start_server(yes, "127.0.0.1", 0, ssl=tls)
    patient = HttpClient(PATIENT)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        answer = await patient.ask("POST", url, service=SERVICE, ca=certificate, data=b"{}")
        assert classify(answer).meaning is Meaning.SENT
        with pytest.raises(Offline, match="not trusted; name its authority with `ca`"):
            await patient.ask("POST", url, service=SERVICE, data=b"{}")
    await patient.close()


async def test_an_authority_that_cannot_be_read_is_said(http, tmp_path) -> None:
    with pytest.raises(Permanent, match="`ca`"):
        await http.ask("GET", "https://127.0.0.1:9/", service=SERVICE, ca=tmp_path / "none.pem")
