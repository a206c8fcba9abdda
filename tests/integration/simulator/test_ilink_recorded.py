"""The iLink that ships with wxbridge, with what other clients sent it: Tencent's own plug-in, and a library in Rust.

The requests in tests/payloads/ilink were recorded with the pretend iLink; what a run makes up stands in braces.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.channels.ilink.ilink_harness import IlinkHarness
from tests.support import REPOSITORY
from wxbridge.channels.ilink.encryption import encrypt
from wxbridge.simulator.ilink.server import IlinkServer

RECORDED = REPOSITORY / "tests" / "payloads" / "ilink"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
FILES = [PNG, bytes(range(256)) * 4 + b"video", b"%PDF-1.4 " + bytes(range(200))]
"""What the clients sent, so that it can be encrypted with the recorded keys."""
PERSON = "张三"
DIGITS = "4711"


def read(name: str) -> list[dict[str, Any]]:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


class Replay:
    """Sends recorded requests, with this run's own values in their braces, and plays the phone in between."""

    def __init__(self, server: IlinkServer) -> None:
        self.server, self.state = server, server.state
        self.values: dict[str, str] = {}
        self.announced: dict[str, Any] = {}
        """The last upload that was announced."""
        self.polls = 0

    async def send(self, session: aiohttp.ClientSession, record: dict[str, Any]) -> dict[str, Any]:
        self.play_phone(record["path"], record["query"])
        filled = json.dumps(record, ensure_ascii=False)
        for name, value in self.values.items():
            filled = filled.replace(f"{{{name}}}", value)
        asked = json.loads(filled)
        body = asked["body"]
        if isinstance(body, dict) and "rawsize" in body:
            self.announced = body
        data = None if body is None else json.dumps(body).encode()
        if isinstance(body, dict) and list(body) == ["bytes"]:
            content = next(each for each in FILES if len(each) == self.announced["rawsize"])
            data = encrypt(content, bytes.fromhex(self.announced["aeskey"]))
            assert len(data) == body["bytes"]
        url = self.server.url + asked["path"]
        async with session.request(
            asked["method"], url, params=asked["query"], headers=asked["headers"], data=data
        ) as got:
            assert got.status == record["status"], (asked["path"], await got.text())
            answer = await got.json() if got.content_type == "application/json" else {}
            self.values |= {"reference": got.headers["x-encrypted-param"]} if "x-encrypted-param" in got.headers else {}
        self.learn(answer)
        return answer

    def play_phone(self, path: str, query: dict[str, str]) -> None:
        """What the person did before this request, as when it was recorded."""
        call = path.rpartition("/")[2]
        code = next(iter(self.state.codes.values()), None)
        if call == "get_qrcode_status" and code is not None:
            if code.phone is None:
                self.state.scan(PERSON, digits=DIGITS)
            elif code.status == "scaned" and not query.get("verify_code"):
                self.state.confirm()
        if call == "getupdates":
            self.polls += 1
            deeds = {1: lambda: self.state.say(PERSON, "你好"), 2: lambda: self.state.send_picture(PERSON, PNG)}
            deeds.get(self.polls, lambda: self.state.end_login(PERSON))()

    def learn(self, answer: dict[str, Any]) -> None:
        """Take over what the answer gives for later requests."""
        named = {"qrcode": "code", "bot_token": "token", "ilink_user_id": "user", "ilink_bot_id": "bot",
                 "typing_ticket": "ticket", "upload_param": "upload", "get_updates_buf": "cursor"}  # fmt: skip
        self.values |= {known: answer[name] for name, known in named.items() if answer.get(name)}
        for message in answer.get("msgs", ()):
            self.values["context"] = message["context_token"]
            for item in message["item_list"]:
                if "image_item" in item:
                    self.values["reference"] = item["image_item"]["media"]["encrypt_query_param"]


@pytest.mark.parametrize("client", ["openclaw-weixin-2.4.9", "ilink-sdk-2.4.11"])
async def test_what_another_client_sent_is_answered_as_it_was_and_shown_on_the_phone(client: str) -> None:
    async with IlinkServer(poll_seconds=0.2) as server, aiohttp.ClientSession() as session:
        replay = Replay(server)
        for record in read(client):
            answer = await replay.send(session, record)
            known = {name: answer[name] for name in ("ret", "errcode", "status", "errmsg") if name in answer}
            assert known == record["answer"], record["path"]
        shown = server.state.find_phone(PERSON).chat
        assert [one.content for one in shown if one.from_bot and one.content] == FILES
        assert server.state.notes == []
        assert "n 0" in [one.text for one in shown if one.from_bot]


async def test_our_own_requests_have_the_headers_and_fields_of_tencents_plug_in(tmp_path: Path) -> None:
    theirs: dict[str, dict[str, Any]] = {}
    for record in read("openclaw-weixin-2.4.9"):
        theirs.setdefault(record["path"].rpartition("/")[2], record)
    async with IlinkServer(poll_seconds=0.05) as server:
        harness = IlinkHarness(server, tmp_path)
        try:
            channel = await harness.open()
            await harness.until(lambda: harness.heard)
            await harness.send("x")
            await harness.send_picture(PNG)
            await channel.show_typing(harness.heard[0], is_on=True)
        finally:
            await harness.close()
    bodies = dict(reversed(server.requests))
    for call in ("get_bot_qrcode", "get_qrcode_status", "notifystart", "getupdates", "sendmessage", "getconfig",
                 "sendtyping", "getuploadurl", "upload", "notifystop"):  # fmt: skip
        ours = {name.lower(): value for name, value in server.last_headers[call].items()}
        named = {name.lower(): value for name, value in theirs[call]["headers"].items()}
        assert set(named) <= set(ours), call
        for name in ("ilink-app-id", "ilink-app-clientversion", "content-type", "authorizationtype"):
            assert ours.get(name) == named.get(name), (call, name)
        if call in bodies:
            assert set(bodies[call]) == set(theirs[call]["body"]), call
    assert set(bodies["sendmessage"]["msg"]) == set(theirs["sendmessage"]["body"]["msg"])
    assert set(bodies["getupdates"]["base_info"]) == set(theirs["getupdates"]["body"]["base_info"])
