"""WeCom: the messages of an application (`gettoken`, `message/send`, `media/upload`) and of a group robot.

After WeCom's developer documents "发送应用消息" (path 90236), "群机器人配置说明" (91770) and "上传临时素材" (90253).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from aiohttp import web

from wxbridge.alerts.sources.robots import CompatMessage, find_font_colour
from wxbridge.core.errors import BadBody, PictureError
from wxbridge.core.imaging import sniff
from wxbridge.core.text.markup import card_to_text, find_markdown_images, markdown_to_text
from wxbridge.web.compat.keys import COMPAT_KEYS, TOKEN_SECONDS, CompatKeys, KeyHolder
from wxbridge.web.compat.service import (
    PREFIX,
    CompatService,
    answer_json,
    items,
    join_lines,
    link_line,
    part,
    texts,
    words,
)
from wxbridge.web.services import SERVICES

_OK = {"errcode": 0, "errmsg": "ok"}
_EVERYBODY = "@all"
_UPLOAD = re.compile(r"data:[^,]*;base64,(.*)", re.DOTALL)
_NO_PICTURE = "no-picture"
"""The `media_id` of a file that is none, of which only the name is told later."""


class WecomService(CompatService):
    """What an application's and a robot's requests have in common: the kinds of messages."""

    attempts_error, message_error = 45009, 40058

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:  # noqa: ARG002
        """Say `errcode` 0."""
        return answer_json(_OK)

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say WeCom's number."""
        return answer_json({"errcode": code, "errmsg": sentence})

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:
        """Read a message of any `msgtype`. Raises `BadBody` for one that is not known."""
        kind = words(fields, "msgtype")
        message = self._read_body(request, kind, part(fields, kind) or {})
        named = self._read_people(fields, part(fields, kind))
        labels = [(name, words(fields, name)) for name in ("agentid", "toparty", "totag")]
        return replace(message, recipients=named, labels=tuple((name, text) for name, text in labels if text))

    async def fetch_parts(self, request: web.Request, fields: Mapping[str, Any]) -> None:
        """Fetch a picture that was uploaded before, maybe to another machine. Raises `StorageError`."""
        if media := words(fields, "image", "media_id"):
            await request.app[SERVICES].picture_store.look_up(media)

    def _read_people(self, fields: Mapping[str, Any], body: Any) -> tuple[str, ...]:
        named = words(fields, "touser").split("|")
        for key in ("mentioned_list", "mentioned_mobile_list"):
            named += texts(body, key)
        return tuple(dict.fromkeys(name.strip() for name in named if name.strip() not in ("", _EVERYBODY)))

    def _read_body(self, request: web.Request, kind: str, body: Any) -> CompatMessage:  # noqa: PLR0911 - one a kind
        source = self.name
        match kind:
            case "text":
                return CompatMessage(source, words(body, "content"))
            case "markdown" | "markdown_v2":
                text = words(body, "content")
                return CompatMessage(
                    source, markdown_to_text(text),
                    pictures=tuple(find_markdown_images(text)), colour=find_font_colour(text),
                )  # fmt: skip
            case "image":
                return CompatMessage(source, "", pictures=(self._read_picture(request, body),))
            case "news" | "mpnews":
                return _read_news(source, items(body, "articles"))
            case "textcard":
                text = join_lines(card_to_text(words(body, "description")), words(body, "url"))
                return CompatMessage(source, text, words(body, "title"))
            case "template_card" | "interactive_taskcard":
                return _read_card(source, body)
            case "file" | "voice" | "video":
                return CompatMessage(source, words(body, "title") or f"[{kind}]")
            case _:
                raise BadBody(f"`msgtype` {kind[:40]!r} is not known.")

    def _read_picture(self, request: web.Request, body: Any) -> str:
        if media := words(body, "media_id"):
            path = request.app[SERVICES].picture_store.find(media)
            if path is None:
                raise BadBody("`media_id` names no picture that was uploaded here within a day.")
            return _as_address(path.read_bytes())
        try:
            return _as_address(base64.b64decode(words(body, "base64")))
        except (binascii.Error, ValueError):
            raise BadBody("`image.base64` is no base64.") from None

    async def upload(self, request: web.Request) -> web.Response:
        """Keep a file that a later message names by its `media_id`."""
        try:
            fields = await self.read_fields(request)
            if self.find_holder(request.app[COMPAT_KEYS], request, fields) is None:
                return self.refuse_key(request)
            media = await _store_upload(request, fields)
        except BadBody as error:
            return self.refuse_message(request, str(error))
        return answer_json(_OK | {"type": words(fields, "type") or "file", "media_id": media, "created_at": "0"})


class CompatWecomApplication(WecomService):
    """An application: `corpsecret` is the key, and what `gettoken` gives for it opens the rest."""

    name = "wecom_app"
    key_error = 42001  # with 40014 Alertmanager would drop the notification, with this it asks for a token again

    def routes(self) -> list[web.RouteDef]:
        """Give `gettoken`, `message/send` and `media/upload`."""
        path = f"{PREFIX}/wecom/cgi-bin"
        return [
            *(web.route(method, f"{path}/gettoken", self.give_token) for method in ("GET", "POST")),
            web.post(f"{path}/message/send", self.take),
            web.post(f"{path}/media/upload", self.upload),
        ]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Read the secret, of any `corpid`."""
        return words(fields, "corpsecret")

    def find_holder(self, keys: CompatKeys, request: web.Request, fields: Mapping[str, Any]) -> KeyHolder | None:  # noqa: ARG002
        """Find whose access token a request shows."""
        return keys.find_by_token(request.query.get("access_token", ""))

    async def give_token(self, request: web.Request) -> web.Response:
        """Give an access token for a secret."""
        try:
            fields = await self.read_fields(request)
        except BadBody:
            fields = dict(request.query)
        keys = request.app[COMPAT_KEYS]
        holder = keys.find(self.read_key(request, fields))
        if holder is None:
            refused = self.refuse_key(request)
            is_wrong = refused.status == HTTPStatus.OK
            return answer_json({"errcode": 40001, "errmsg": "invalid credential"}) if is_wrong else refused
        # `expire_in` is what some old clients read.
        return answer_json(
            _OK | {"access_token": keys.make_token(holder), "expires_in": TOKEN_SECONDS, "expire_in": TOKEN_SECONDS}
        )


class CompatWecomRobot(WecomService):
    """A group robot: `?key=`."""

    name = "wecom_robot"
    key_error = 93000

    def routes(self) -> list[web.RouteDef]:
        """Give `webhook/send` and `webhook/upload_media`."""
        path = f"{PREFIX}/wecom/cgi-bin/webhook"
        return [web.post(f"{path}/send", self.take), web.post(f"{path}/upload_media", self.upload)]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Read `?key=`."""
        return request.query.get("key", "")


async def _store_upload(request: web.Request, fields: Mapping[str, Any]) -> str:
    """Keep the first file of a form and give its `media_id`; a file that is no picture is not kept.

    It is there for a day, as all pictures that no message names.

    Raises:
        BadBody: there is no file, or it begins like a picture and is none.
        StorageError: the disk refuses it.
    """
    found = next((match for value in fields.values() if (match := _UPLOAD.fullmatch(str(value)))), None)
    if found is None:
        raise BadBody("There is no file in the form.")
    try:
        content = base64.b64decode(found[1])
    except (binascii.Error, ValueError):
        raise BadBody("The file cannot be read.") from None
    if sniff(content) is None:
        return _NO_PICTURE
    try:
        picture = await request.app[SERVICES].picture_store.save_checked(content)
    except PictureError as error:
        raise BadBody(f"{error}.") from None
    return picture.file or _NO_PICTURE


def _as_address(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def _read_news(source: str, articles: list[dict[str, Any]]) -> CompatMessage:
    parts = [
        join_lines(words(one, "title"), card_to_text(words(one, "description") or words(one, "digest")),
                   words(one, "url") or words(one, "content_source_url"))
        for one in articles
    ]  # fmt: skip
    pictures = tuple(address for one in articles if (address := words(one, "picurl")))
    return CompatMessage(source, "\n\n".join(parts), pictures=pictures)


def _read_card(source: str, card: Any) -> CompatMessage:
    lines = [
        words(card, "main_title", "desc"),
        " ".join(filter(None, (words(card, "emphasis_content", "title"), words(card, "emphasis_content", "desc")))),
        words(card, "sub_title_text"),
        join_lines(words(card, "quote_area", "title"), words(card, "quote_area", "quote_text")),
        *(join_lines(words(one, "title"), words(one, "desc")) for one in items(card, "vertical_content_list")),
        *(
            f"{words(one, 'keyname')}: {' '.join(filter(None, (words(one, 'value'), words(one, 'url'))))}"
            for one in items(card, "horizontal_content_list")
        ),
        *(link_line(words(one, "title"), words(one, "url")) for one in items(card, "jump_list")),
        words(card, "card_action", "url") or words(card, "url"),
    ]
    title = words(card, "main_title", "title") or words(card, "source", "desc") or words(card, "title")
    picture = words(card, "card_image", "url") or words(card, "image_text_area", "image_url")
    return CompatMessage(source, join_lines(*lines), title, (picture,) if picture else ())
