from __future__ import annotations

import asyncio
import errno
import gzip
import json
import logging
import socket
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.integration.web.web_harness import TOKEN, FakedWeb, Time, alone
from wxbridge.config.hooks import HookSettings
from wxbridge.config.types import Rate, parse_rate
from wxbridge.web import hooks
from wxbridge.web.limits import HttpLimits
from wxbridge.web.listener import HttpListener
from wxbridge.web.responses import read_body

QUICK = HttpLimits(head_seconds=0.3, body_seconds=0.3, linger_seconds=0.1)
POST = b"POST /hooks/grafana?token=a-t0ken-of-ours HTTP/1.1\r\nHost: x\r\n"


async def trickle(server: FakedWeb, start: bytes, drop: bytes, every: float = 0.05) -> tuple[bytes, int]:
    """Send a start and then a drop again and again until the server closes; its answer, and the drops that it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    answer = bytearray()

    async def read() -> None:
        # A drop that arrives after the end is answered with a reset.
        with suppress(ConnectionError):
            while piece := await reader.read(1000):
                answer.extend(piece)

    writer.write(start)
    reading = asyncio.create_task(read())
    drops = 0
    async with asyncio.timeout(60):
        while not (await asyncio.wait([reading], timeout=every))[0]:
            writer.write(drop)
            drops += 1
    writer.close()
    return bytes(answer), drops


# ---------------------------------------------------------------- slow clients


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"GET /", b"a"),
        (b"POST /hooks/gra", b"f"),
        (b"POST /hooks/grafana HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"),
        (b"", b"\r\n"),
    ],
)
async def test_a_client_that_trickles_its_headers_is_cut_off_in_time(tmp_path: Path, start: bytes, drop: bytes) -> None:
    async with alone(tmp_path, limits=QUICK) as server:
        answer, drops = await trickle(server, start, drop)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "No whole request came within 0.3 seconds."
        assert 0 < drops < 100
        assert server.refused("slow") == 1


async def test_a_client_that_says_nothing_at_all_is_cut_off_in_time(tmp_path: Path) -> None:
    async with alone(tmp_path, limits=QUICK) as server:
        assert (await server.raw()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("path", ["/hooks/grafana", "/api/send"])
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
async def test_a_client_that_trickles_its_body_is_cut_off_in_time(tmp_path: Path, path: str, content_type: str) -> None:
    async with alone(tmp_path, limits=QUICK) as server:
        head = f"POST {path}?token={TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n"
        head += f"Content-Type: {content_type}\r\n\r\n"
        answer, _ = await trickle(server, head.encode(), b" ")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "The body did not arrive within 0.3 seconds."}
        assert TOKEN.encode() not in answer
        assert (server.taken, server.pushed) == ([], [])


async def test_a_body_that_trickles_to_be_signed_is_not_waited_for_either(tmp_path: Path) -> None:
    hooks = {"grafana": HookSettings(hmac_secret=SecretStr("s"))}
    async with alone(tmp_path, limits=QUICK, hooks=hooks) as server:
        head = b"POST /hooks/grafana HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\nX-Grafana-Alerting-Signature: "
        answer, _ = await trickle(server, head + b"0" * 64 + b"\r\n\r\n", b" ")
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_monitor_that_posts_now_and_then_keeps_its_connection(tmp_path: Path) -> None:
    async with alone(tmp_path, limits=HttpLimits(head_seconds=0.6)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for wait in (0.8, 0.0):
            writer.write(POST + b"Content-Length: 2\r\n\r\n{}")
            async with asyncio.timeout(60):
                assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")
                await reader.readuntil(b"}")
            # Longer than a head may take: it is idle, and not slow.
            closed = asyncio.create_task(reader.read(1))
            done, _ = await asyncio.wait([closed], timeout=wait)
            assert not done
            closed.cancel()
            await asyncio.wait([closed])
        assert len(server.taken) == 2
        writer.write(POST)
        async with asyncio.timeout(60):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_each_head_on_a_connection_has_the_whole_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, later = asyncio.get_running_loop(), 0.0
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + later)
    async with alone(tmp_path, limits=HttpLimits(head_seconds=30.0)) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(POST + b"Content-Length: 2\r\n\r\n{}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")
        await reader.readuntil(b"}")
        later = 20.0
        writer.write(POST)
        for _ in range(5):
            await asyncio.sleep(0)  # what was written is read
        # More than 30 s after the first head began, and less than that after this one.
        later = 40.0
        writer.write(b"Content-Length: 2\r\n\r\n{}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")
        writer.close()


async def test_who_shows_no_token_keeps_no_connection(tmp_path: Path) -> None:
    async with alone(tmp_path) as server:
        for path in (b"/metrics", b"/healthz", b"/readyz", b"/pictures/x.png", b"/nowhere"):
            # `raw` reads until the server closes.
            assert b"Connection: close" in await server.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_beyond_so_many_connections_one_is_told_to_come_back(tmp_path: Path) -> None:
    async with alone(tmp_path, limits=HttpLimits(max_connections=3)) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        for reader, writer in held:
            writer.write(b"GET /nowhere?token=" + TOKEN.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readline()
        answer = await server.raw()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "Too many connections are open. Try again."}
        assert server.refused("connections") == 1
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(60):
            answers = [await server.raw(POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}") for _ in range(20)]
        assert answers[-1].startswith(b"HTTP/1.1 202 "), "there is room again"


@pytest.mark.parametrize("limits", [HttpLimits(max_connections=5), HttpLimits(max_connections_per_address=5)])
async def test_silent_connections_shut_nobody_out_and_the_oldest_goes_first(tmp_path: Path, limits: HttpLimits) -> None:
    async with alone(tmp_path, limits=limits) as server, asyncio.timeout(60):
        busy = await asyncio.open_connection("127.0.0.1", server.port)
        busy[1].write(POST + b"Content-Length: 2\r\n\r\n{}")
        assert (await busy[0].readline()).startswith(b"HTTP/1.1 202 ")
        await busy[0].readuntil(b"}")
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
        sent = await server.raw(POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
        assert sent.startswith(b"HTTP/1.1 202 ")
        for reader, _ in silent[:4]:
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        busy[1].write(POST + b"Content-Length: 2\r\n\r\n{}")
        assert (await busy[0].readline()).startswith(b"HTTP/1.1 202 "), "a sender's connection stays"
        assert server.refused("connections") >= 4
        for _, writer in (busy, *silent):
            writer.close()


async def test_a_part_of_a_form_with_very_many_headers_is_a_bad_request(tmp_path: Path) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    headers = "".join(f"X-{number}: y\r\n" for number in range(200_000))
    long = "X-Long: " + "y" * 100_000 + "\r\n"
    async with alone(tmp_path) as server:
        for some in (headers, long):
            body = f'--x\r\nContent-Disposition: form-data; name="text"\r\n{some}\r\nhello\r\n--x--\r\n'
            status, answer = await server.post("/api/send", body.encode(), **head, Authorization=f"Bearer {TOKEN}")
            assert status == 400, answer
            assert "form cannot be read" in answer["error"]


# ---------------------------------------------------------------- large and deep


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    piece = b" " * 1_000_000
    return b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()


@pytest.mark.parametrize("path", ["/hooks/grafana", "/api/send"])
async def test_a_packed_body_is_unpacked_no_further_than_the_limit(tmp_path: Path, path: str) -> None:
    packed = bomb(60_000_000)
    assert len(packed) < 100_000, "it is small on the wire"
    async with alone(tmp_path) as server:
        status, answer = await server.post(f"{path}?token={TOKEN}", packed, Content_Encoding="gzip")
        assert status == 413
        assert "too large" in answer["error"]
        members = gzip.compress(b" " * 60_000) * 2
        assert (await server.post(f"{path}?token={TOKEN}", members, Content_Encoding="gzip"))[0] == 413


async def test_a_packed_part_of_a_form_stays_packed(tmp_path: Path) -> None:
    packed = bomb(60_000_000)
    to = b'--x\r\nContent-Disposition: form-data; name="to"\r\n\r\nops\r\n'
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\nContent-Encoding: gzip\r\n\r\n'
    async with alone(tmp_path) as server:
        form = to + part + packed + b"\r\n--x--\r\n"
        await server.post(f"/api/send?token={TOKEN}", form, Content_Type="multipart/form-data; boundary=x")
        (asked,) = server.pushed
        assert asked.image == packed


async def test_the_parts_of_a_form_count_together(tmp_path: Path) -> None:
    form = aiohttp.FormData({f"field{n}": "x" * 30_000 for n in range(4)}, default_to_multipart=True)
    async with alone(tmp_path) as server:
        assert (await server.post(f"/api/send?token={TOKEN}", form))[0] == 413


async def test_a_packed_body_of_somebody_unknown_is_not_unpacked_at_all(tmp_path: Path) -> None:
    packed = bomb(60_000_000)
    head = f"POST /hooks/grafana HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {2 * len(packed)}"
    # It lingers for what is not packed; of this, 60 MB would have been read.
    async with alone(tmp_path, limits=HttpLimits(linger_seconds=60.0)) as server:
        answer = await server.raw(f"{head}\r\n\r\n".encode() + packed[:100])
        assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "rot13"])
async def test_a_packing_that_we_do_not_know_is_no_mistake_of_ours(tmp_path: Path, encoding: str) -> None:
    async with alone(tmp_path) as server:
        status, answer = await server.post(f"/hooks/grafana?token={TOKEN}", b"\x1f\x8b??", Content_Encoding=encoding)
        assert status == 400
        assert answer["error"]


@pytest.mark.parametrize("encoding", ["br", "zstd"])
async def test_a_packing_that_is_not_read_is_named(tmp_path: Path, encoding: str) -> None:
    async with alone(tmp_path) as server:
        _, answer = await server.post(f"/hooks/grafana?token={TOKEN}", b"\x1f\x8b??", Content_Encoding=encoding)
        assert f"`{encoding}`" in answer["error"]
        assert "only gzip and deflate" in answer["error"]


@pytest.mark.parametrize("path", ["/hooks/grafana", "/api/send"])
async def test_a_sender_that_hangs_up_in_its_body_is_no_error_of_ours(tmp_path: Path, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n{{"
    wrong = f"POST {path}?token=wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{"
    async with alone(tmp_path) as server:
        with capture_logs() as logs:
            for at in range(60):
                # Some have gone before anything of them is looked at.
                with socket.create_connection(("127.0.0.1", server.port)) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", at % 2, 0))
                    client.sendall((head if at % 3 else wrong).encode())
                    await asyncio.sleep(0)
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write((head if at % 3 else wrong).encode())
                writer.transport.abort()
            async with server.session.get(f"{server.url}/healthz") as response:
                assert response.status == 200
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    assert {entry["address"] for entry in logs if "address" in entry} <= {"127.0.0.1"}


async def test_a_sender_that_has_gone_before_its_body_is_asked_for_is_no_error_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()

    async def read_late(request: web.Request) -> bytes:
        request.protocol.connection_lost(None)
        # As where the connection was lost before the request was begun.
        request.content._exception = None
        gone.set()
        return await read_body(request)

    monkeypatch.setattr(hooks, "read_body", read_late)
    async with alone(tmp_path) as server:
        with capture_logs() as logs:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(POST + b"Content-Length: 100\r\n\r\n{")
            async with asyncio.timeout(10):
                await gone.wait()
                async with server.session.get(f"{server.url}/healthz") as response:
                    assert response.status == 200
            writer.close()
    assert [entry["event"] for entry in logs] == ["a client hung up"]


async def test_json_a_hundred_thousand_levels_deep_is_refused(tmp_path: Path) -> None:
    async with alone(tmp_path, max_body=1_000_000) as server:
        for body in (b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
            for path in ("/hooks/grafana", "/api/send", "/api/silences"):
                status, answer = await server.post(f"{path}?token={TOKEN}", body)
                assert status == 400
                assert "nested too deeply" in answer["error"]


async def test_an_address_full_of_targets_is_read_once_each(tmp_path: Path) -> None:
    async with alone(tmp_path) as server:
        names = ",".join(f"n{number}" for number in range(1000))
        assert (await server.post(f"/hooks/grafana?token={TOKEN}&to={names}"))[0] == 202
        assert (await server.post(f"/hooks/grafana?token={TOKEN}&to={'a,' * 3000}&to=b&to=,%20,"))[0] == 202
        (_, _, thousand), (_, _, two) = server.taken
        assert len(thousand) == 1000
        assert two == ["a", "b"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /metrics?token=a-t0ken-of-ours&x=" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer a-t0ken-of-ours" + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X-A: a-t0ken-of-ours\r\n" * 1000 + b"\r\n",
        b"GET /metrics?token=a-t0ken-of-ours HTTP/9.9\r\n\r\n",
        b"GET /metrics?token=a-t0ken-of-ours HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /metrics?token=a-t0ken-of-ours HTTP/1.1\r\nbad header a-t0ken-of-ours\r\n\r\n",
        b"POST / HTTP/1.1\r\nX-Token: a-t0ken-of-ours\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01 a-t0ken-of-ours \r\n\r\n",
    ],
)  # fmt: skip
async def test_absurd_requests_are_answered_with_a_sentence_and_their_secrets_stay_out_of_the_log(
    tmp_path: Path, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with alone(tmp_path) as server:
        with capture_logs() as logs:
            answer = await server.raw(request_bytes)
        assert answer[8:13] == b" 400 "
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert b"t0ken" not in answer
        assert "t0ken" not in caplog.text + repr(logs)
        assert server.refused("bad_request") == 1


async def test_a_fault_of_ours_is_to_be_sent_again_and_tells_no_more_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tests.integration.web.web_harness.read_json", lambda body: 1 / 0)
    caplog.set_level(logging.DEBUG)
    async with alone(tmp_path) as server:
        with capture_logs() as logs:
            status, answer = await server.post(f"/hooks/grafana?token={TOKEN}")
        assert (status, answer) == (500, {"error": "Something went wrong here, and the log says what. Try again."})
        assert [entry["path"] for entry in logs] == ["/hooks/grafana"]
        assert "t0ken" not in caplog.text + repr(logs)
        assert server.refused("error") == 1


# ---------------------------------------------------------------- how often


async def test_beyond_the_rate_a_sender_is_told_when_to_come_back(tmp_path: Path) -> None:
    time = Time()
    async with alone(tmp_path, rate=parse_rate("2/30s"), clock=time.clock()) as server:
        auth = {"Authorization": f"Bearer {TOKEN}"}
        assert (await server.post("/hooks/grafana", **auth))[0] == 202
        time.now += 10
        assert (await server.post("/hooks/alertmanager", **auth))[0] == 202
        async with server.session.post(f"{server.url}/hooks/grafana", data=b"{}", headers=auth) as response:
            assert response.status == 503, "senders repeat a 503, and never a 429"
            assert response.headers["Retry-After"] == "20"
            assert (await response.json())["error"] == "More than 2/30s came in this way. Try again in 20 s."
        assert server.refused("rate") == 1
        for path in ("/metrics", "/login", "/api/alerts", "/api/silences", "/healthz", "/readyz"):
            assert (await server.ask("GET", path, headers=auth))[0] == 200
        time.now += 20
        assert (await server.post("/hooks/grafana", **auth))[0] == 202
        assert (await server.post("/hooks/grafana", **auth))[0] == 503, "the window slides, it is not emptied"
        time.now += 10
        assert (await server.post("/hooks/grafana", **auth))[0] == 202


async def test_each_token_has_a_rate_of_its_own_and_who_is_not_let_in_spends_none(tmp_path: Path) -> None:
    hooks = {"grafana": HookSettings(token=SecretStr("own"), hmac_secret=SecretStr("test-hmac-secret"))}
    signature = "c15dccf5f5f9fe856bad1db009b905491433d426d7280ed9db83dd50b5d280be"
    async with alone(tmp_path, rate=Rate(1, 60), hooks=hooks, clock=Time().clock()) as server:
        for expected in (202, 503):
            for token in (TOKEN, "own"):
                assert (await server.post("/hooks/grafana?token=wrong"))[0] == 401
                assert (await server.post(f"/hooks/grafana?token={token}"))[0] == expected
            body, header = b'{"status":"firing"}', {"X-Grafana-Alerting-Signature": signature}
            assert (await server.post("/hooks/grafana", body, **header))[0] == expected
        assert (await server.post(f"/api/send?token={TOKEN}", b'{"to": "ops", "text": "x"}'))[0] == 503


async def test_files_that_have_run_out_are_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    listener = HttpListener()
    listener.bind("127.0.0.1", 0)
    await listener.serve(web.Application())
    loop = asyncio.get_running_loop()
    with capture_logs() as logs:
        for _ in range(1000):
            error = OSError(errno.EMFILE, "Too many open files")
            loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": error})
        loop.call_exception_handler({"message": "something else"})
    await listener.close()
    assert [entry["event"] for entry in logs] == ["no connection can be accepted: raise the limit of open files"]
    assert [record.message for record in caplog.records] == ["something else"]
