"""The channel `http`: makes the request that a target describes, and takes its answer as the target says."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from wxbridge.channels import ChannelPlugin
from wxbridge.channels.answers import AnswerVerdict, read_object
from wxbridge.channels.http import HttpChannel, HttpService, encode_json
from wxbridge.channels.http_service.settings import CAPABILITIES, HttpTarget, PictureRequest
from wxbridge.channels.http_service.templates import (
    BrokenTemplate,
    fill_address,
    fill_header,
    fill_text,
)
from wxbridge.channels.http_service.verdicts import judge
from wxbridge.channels.titles import make_title
from wxbridge.channels.uploads import add_file, read_picture
from wxbridge.config.types import Secret, reveal
from wxbridge.core.errors import Permanent
from wxbridge.core.model import ChannelStatus, Outgoing, PictureFile, Receipt, Text


@dataclass(frozen=True)
class TargetRequest:
    """A request, ready to be made. All of it may hold secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    data: bytes | aiohttp.FormData | None = field(repr=False)
    size: int = 0


class HttpServiceChannel(HttpChannel):
    """Sends to any service over HTTP; implements `model.Channel`.

    Nobody can be asked whether an address and its headers are right: a look at one that was refused is the next message
    that waits.
    """

    name = "http"
    capabilities = CAPABILITIES

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._due: set[str] = set()

    def list_services(self, address: Any) -> Sequence[HttpService]:
        """Give the service of a target."""
        return [address.service()] if isinstance(address, HttpTarget) else ()

    def list_accounts(self, address: Any) -> Sequence[HttpService]:
        """Give the service of a target, and that of its pictures."""
        if not isinstance(address, HttpTarget):
            return ()
        return list(dict.fromkeys([address.service(), address.service(address.picture_url())]))

    def status_of(self, address: Any) -> ChannelStatus:
        """Tell the state of a target; one that was refused counts as online whenever a message may try it."""
        return self._states.status_of(()) if self._is_refusal_due(address) else super().status_of(address)

    async def look_after(self) -> None:
        """Ask the services that are not reached; have messages try those that refused."""
        await super().look_after()
        due = {name for name, target in self._targets.items() if self._is_refusal_due(target)}
        if due - self._due:
            self._states.listener(self.status)
        self._due = due

    def _is_refusal_due(self, target: Any) -> bool:
        services = () if self._states.is_well else self.list_services(target)
        return any(self._states.is_look_due([service.names[1]]) for service in services)

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send one message; `address` is an `HttpTarget`.

        Raises:
            Throttled: the target says that such an answer means later.
            Offline: the service is not reached. Unknown: no clear answer came. Transient: it did not take it.
            Unauthorised: it does not let us in, or there is nothing at the address.
            Permanent: it refuses the message, or a template cannot be filled.
        """
        if not isinstance(address, HttpTarget):
            raise Permanent(f"this is no target of the channel http: {type(address).__name__}")
        request = await self._build(address, body, mentions)
        verdict = await self._post(address, request)
        verdict.require_sent(address.service().shown)
        return Receipt(verdict.data.get("receipt") or None)

    async def probe(self, address: Any) -> str:
        """Tell whether the service is reached. Whether address and headers are right shows with the first message.

        Raises:
            SendError: it is not.
        """
        services = self.list_accounts(address)
        for service in services:
            await self._look(service)
            self._states.note_success(service.names[0])
        reached = ", ".join(service.shown for service in services)
        return f"{reached} is reached; `wxbridge send` tells whether it takes messages"

    async def _post(self, target: HttpTarget, request: TargetRequest) -> AnswerVerdict:
        address = urlsplit(request.url)
        path = request.url.partition(address.netloc)[2] or "/"
        return await self.ask(
            target.service(request.url),
            path.partition("#")[0],
            sends=True,
            method=request.method,
            data=request.data,
            size=request.size,
            headers=request.headers,
            judge=lambda answer: judge(answer, target),
        )

    async def _build(self, target: HttpTarget, body: Outgoing, mentions: tuple[str, ...]) -> TargetRequest:
        name = next((name for name, each in self._targets.items() if each is target), "")
        named = mentions or (body.mentions if isinstance(body, Text) else ())
        known = {"target": name, "mentions": list(named), "timestamp": int(self._wall())}
        try:
            if isinstance(body, Text):
                return _build_text(target, body, known)
            return await _build_picture(target, body, known)
        except BrokenTemplate as error:
            raise Permanent(f"the request cannot be made: {error}") from None


def _build_text(target: HttpTarget, body: Text, known: Mapping[str, Any]) -> TargetRequest:
    about = {"text": body.text, "title": make_title(body.text)}
    variables = {**_NO_PICTURE, **known, **about}
    data = None
    if target.method != "GET":
        data = fill_text(reveal(target.body), variables).encode() if target.body else encode_json(_usual(about))
    url = target.url.get_secret_value()
    return _make_request(target.method, url, target.headers, data, variables)


async def _build_picture(target: HttpTarget, body: PictureFile, known: Mapping[str, Any]) -> TargetRequest:
    picture = target.picture
    if picture is None:
        raise Permanent("this target takes no pictures; configure its `picture`")
    content = await read_picture(body) if picture.way != "url" else b""
    about = {
        "title": body.name,
        "text": body.url or "",
        "picture_name": body.name,
        "picture_type": body.content_type,
        "picture_url": body.url or "",
    }
    if picture.way == "base64":
        # Not as a part of what a template writes, which is limited: a picture is longer.
        about["picture"] = _PICTURE_MARK
    variables = {**_NO_PICTURE, **known, **about}
    source = picture.body or target.body
    headers = picture.headers if picture.headers is not None else target.headers
    if picture.way == "multipart":
        form = _make_form(picture, body, content, variables)
        kept = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        request = _make_request(picture.method, target.picture_url(), kept, None, variables)
        return replace(request, data=form, size=len(content))
    text = fill_text(reveal(source), variables) if source else encode_json(_usual(about)).decode()
    data = text.replace(_PICTURE_MARK, base64.b64encode(content).decode()).encode()
    return _make_request(picture.method, target.picture_url(), headers, data, variables)


_PICTURE_MARK = "wxbridge-picture-in-base64"
_NO_PICTURE: Mapping[str, Any] = {"picture": "", "picture_name": "", "picture_type": "", "picture_url": ""}


def _usual(about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the body of a target that has none of its own."""
    return {name: value for name, value in about.items() if value or name in ("title", "text")}


def _make_form(
    picture: PictureRequest, body: PictureFile, content: bytes, variables: Mapping[str, Any]
) -> aiohttp.FormData:
    fields = read_object(fill_text(reveal(picture.body), variables)) if picture.body else {}
    if fields is None:
        raise BrokenTemplate("`picture.body` makes no JSON object; write {{ text | tojson }}")
    form = aiohttp.FormData(quote_fields=False)
    for name, value in fields.items():
        form.add_field(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    add_file(form, picture.field, body.name, content)
    return form


def _make_request(
    method: str, url: str, headers: Mapping[str, Secret], data: bytes | None, variables: Mapping[str, Any]
) -> TargetRequest:
    filled = {name: fill_header(value.get_secret_value(), variables) for name, value in headers.items()}
    named = {name.lower(): value for name, value in filled.items()}
    address = urlsplit(url)
    if address.username is not None and "authorization" not in named:
        user, password = unquote(address.username), unquote(address.password or "")
        filled["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    if data is not None:
        is_json = read_object(data.decode(errors="replace")) is not None or data[:1] == b"["
        said = named.get("content-type", "")
        if "json" in said and not is_json:
            raise BrokenTemplate("`body` makes no JSON; write {{ text | tojson }} where a text belongs")
        if not said:
            filled["Content-Type"] = f"{'application/json' if is_json else 'text/plain'}; charset=utf-8"
    whole = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{url.partition(address.netloc)[2]}"
    return TargetRequest(method, fill_address(whole, variables), filled, data, len(data or b""))


PLUGIN = ChannelPlugin(
    target=HttpTarget,
    create=lambda context: HttpServiceChannel(context.targets),
    capabilities=CAPABILITIES,
    has_probe=True,
)
