"""The channel `apprise`: every other service, through the library of that name (mail, Telegram, Slack, Teams, ntfy, …).

It is an optional part: `pip install "wxbridge-monitoring[apprise]"`. Four of its services are refused: they report
success where the service itself says no, and wxbridge has channels of its own for them. appriseit.com
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import model_validator

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.answers import MAX_WORDS_CHARS, hide_pieces
from wxbridge.channels.service_states import ServiceStates
from wxbridge.config.types import Secret, TargetSettings
from wxbridge.core.errors import Offline, Permanent, SendError, Throttled, Transient, Unauthorised, Unknown
from wxbridge.core.model import (
    Capabilities,
    Channel,
    ChannelState,
    ChannelStatus,
    OnInbound,
    OnStatus,
    Outgoing,
    PictureFile,
    Receipt,
    Text,
)

CHANNEL = "apprise"
DEADLINE_SECONDS = 60.0
"""How long a service may take, with the pauses that apprise makes by itself."""
THROTTLE_SECONDS = 60.0
"""Until a service that wants us slower is asked again."""
INSTALL_ADVICE = 'the package apprise is missing; install it with `pip install "wxbridge-monitoring[apprise]"`'
USUAL_CAPABILITIES = Capabilities(
    text_limit=1000, mentions=False, formats={"markdown": 1000}, hard_breaks=True, pictures="none"
)
"""What any service can; each target knows its own service's."""
SECONDS_BETWEEN_ROUNDS = 1.0
"""Between two looks whether what is away may be tried again."""
MAX_TITLE_CHARS = 200
"""Of the first line, which may become a title such as a mail's subject."""

_OURS = "use `channel: {}` instead"
_REFUSED: Mapping[str, str] = {
    "wecombot": _OURS.format("wecom_robot"),
    "dingtalk": _OURS.format("dingtalk"),
    "feishu": _OURS.format("feishu"),
    "lark": _OURS.format("feishu") + " with `base_url: https://open.larksuite.com`",
}
_HOSTS: Mapping[str, str] = {
    "qyapi.weixin.qq.com": "wecombot",
    "oapi.dingtalk.com": "dingtalk",
    "open.feishu.cn": "feishu",
    "open.larksuite.com": "lark",
}
_STATUS = re.compile(r"\berror=(\d{3})\b")
_ADDRESS = re.compile(r"\S*://\S+")
MIN_SECRET_CHARS = 5
"""From how many on a piece of the address may be a secret."""
_SLOWER = 429
_MENDED_BY_WAITING = (408, 423, 425)
_REFUSED_STATUSES = (401, 403, 404, 410)
"""What a service answers that does not let us in, or where the address is gone: a matter of the configuration."""
_HEADING_MARKS = re.compile(r"^[*#\s]+|[*\s]+$")


class AppriseTarget(TargetSettings):
    """A chat, mailbox or topic of another service."""

    channel: Literal["apprise"] = "apprise"
    url: Secret
    """The service's address as apprise writes it: `mailtos://user:password@example.com?to=ops@example.com`. One: of
    several in one target, those that had taken a message would get it again when another did not."""
    format: Literal["text", "markdown"] = "text"
    """How alerts are written; apprise makes of markdown what the service wants, HTML for a mail."""

    @model_validator(mode="after")
    def _fit(self) -> AppriseTarget:
        find_service(self.url.get_secret_value())
        return self

    def capabilities(self, usual: Any) -> Any:  # noqa: ARG002 - the service's own
        """What its service can carry."""
        return capabilities_of(find_service(self.url.get_secret_value()))

    def lane(self) -> str:
        """Targets of one service share a lane: they have the same limits, and a fault is mostly all of theirs."""
        return f"{CHANNEL}:{scheme_of(find_service(self.url.get_secret_value()))}"

    def chat_key(self) -> str:
        """The address, without giving it away."""
        return f"{CHANNEL}:{hashlib.sha256(self.url.get_secret_value().encode()).hexdigest()[:16]}"


def find_service(url: str) -> Any:
    """Give the library's service for an address.

    Raises:
        ValueError: the library is missing, or does not know the address, or we know better. The text holds no secret.
    """
    scheme, _, rest = url.strip().partition("://")
    scheme = scheme.lower()
    _refuse(_HOSTS.get(re.split(r"[/:?#]", rest, maxsplit=1)[0].lower(), scheme) if "http" in scheme else scheme)
    if importlib.util.find_spec("apprise") is None:
        raise ValueError(INSTALL_ADVICE)
    import apprise

    # Its lines hold addresses, and what matters of them is in our errors.
    logging.getLogger("apprise").propagate = False
    # What it stores between runs would hold secrets.
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY)
    service = apprise.Apprise.instantiate(url.strip(), asset=asset)
    if service is None:
        known = f"`{scheme}://…`" if re.fullmatch(r"[a-z0-9+.\-]{1,20}", scheme) and rest else "this"
        raise ValueError(
            f"apprise does not understand {known}; see https://appriseit.com/services for how its addresses are written"
        )
    _refuse(scheme_of(service))
    return service


def _refuse(scheme: str) -> None:
    if advice := _REFUSED.get(scheme):
        raise ValueError(f"apprise's `{scheme}` reports success where the service refuses a message; {advice}")


def scheme_of(service: Any) -> str:
    """Give the service's name in addresses."""
    for name in (service.secure_protocol, service.protocol):
        found = name if isinstance(name, str) else next(iter(name or ()), "")
        if found:
            return str(found)
    return "service"


def capabilities_of(service: Any) -> Capabilities:
    """Tell what a service can carry, by the library's own figures."""
    # Those with a title count it within the body.
    limit = max(200, int(service.body_maxlen) - (MAX_TITLE_CHARS if service.title_maxlen else 0))
    return replace(
        USUAL_CAPABILITIES,
        text_limit=limit,
        formats={"markdown": limit},
        pictures="file" if service.attachment_support else "url",
    )


class AppriseChannel:
    """Sends through the library; implements `model.Channel`. It connects for each message.

    The library cannot ask a service whether it is well: a look at one that is away is the next message that waits.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        *,
        targets: Mapping[str, TargetSettings] | None = None,
        deadline: float = DEADLINE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capabilities = capabilities
        self._targets = targets or {}
        self._deadline = deadline
        self._services: dict[str, Any] = {}
        self._states = ServiceStates(CHANNEL, monotonic)

    @property
    def status(self) -> ChannelStatus:
        """Online, unless an address is not reached or refused."""
        return self._states.status

    def status_of(self, address: Any) -> ChannelStatus:
        """Tell the state of a target; one that is away counts as online whenever a message may try it."""
        name = address.chat_key()
        return self._states.status_of(() if self._states.is_look_due([name]) else [name])

    def list_troubles(self) -> list[dict[str, Any]]:
        """Give what counts as trouble, in JSON's types."""
        return self._states.list_troubles()

    def recall_troubles(self, troubles: Sequence[Mapping[str, Any]]) -> None:
        """Take over what another gave, of the addresses of its targets."""
        self._states.recall(troubles, {target.chat_key() for target in self._targets.values()})

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:  # noqa: ARG002 - nobody writes back
        """Tell the state whenever it changes, and when something that is away may be tried, until cancelled."""
        self._states.listener = on_status
        on_status(self.status)
        due: set[str] = set()
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_ROUNDS)
            before, due = due, {name for name, at in self._targets.items() if self._states.is_look_due([at.chat_key()])}
            if due - before:
                on_status(self.status)

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send one message; `address` is an `AppriseTarget`. The library works, and pauses, in threads of its own.

        It tells sent or not sent, and why in words for a log: a status among them decides. Without one it is taken
        for not sent, so that no alert is lost where a service is away; one whose answer was lost may come twice.

        Raises:
            Throttled: the service wants us slower.
            Unknown: it did not answer in time.
            Transient: it did not take it. Offline: it has not taken the last ones either.
            Unauthorised: it refuses us, or knows the address no more.
            Permanent: it refuses the message.
        """
        if not isinstance(address, AppriseTarget):
            raise Permanent(f"this is no target of apprise: {type(address).__name__}")
        name = address.chat_key()
        try:
            receipt = await self._send(address, body, mentions)
        except Unauthorised as error:
            self._states.note_refusal(name, str(error))
            error.retry_after = self._states.seconds_until_look([name])
            raise
        except (Unknown, Transient) as error:
            self._states.note_failure(name, str(error))
            if isinstance(error, Transient) and self._states.status_of([name]).state is not ChannelState.ONLINE:
                # The state is the service's: the message spends no tries on it.
                raise Offline(str(error), retry_after=self._states.seconds_until_look([name])) from None
            raise
        except SendError:
            self._states.note_success(name)
            raise
        self._states.note_success(name)
        return receipt

    async def _send(self, address: AppriseTarget, body: Outgoing, mentions: tuple[str, ...]) -> Receipt:
        service = await self._find_service(address)
        import apprise

        everybody = apprise.Apprise(asset=service.asset)
        everybody.add(service)
        result = await everybody.async_notify(
            **_build_arguments(body, mentions or (body.mentions if isinstance(body, Text) else ()), service),
            interpret_escapes=False,
            timeout=self._deadline,
        )
        attempts = [attempt for each in result for attempt in each]
        # Not the result's own word: an address may say that a failure is as good as a success (`?optional=yes`).
        if attempts and attempts[-1]:
            return Receipt()
        name = f"apprise ({scheme_of(service)})"
        if attempts and attempts[-1].status is apprise.AppriseResultStatus.TIMEOUT:
            raise Unknown(f"{name} did not answer within {self._deadline:g} s; it may have been sent")
        words = [str(entry.message) for attempt in attempts[-1:] for entry in attempt]
        words += [str(entry.message) for entry in result.call_logs()] if not words else []
        raise _explain_failure(name, words, address.url.get_secret_value())

    async def probe(self, address: AppriseTarget) -> str:
        """Tell what the address is understood as; whether it is right shows with the first message."""
        service = await self._find_service(address)
        return f"{service.service_name}: the address is understood; `wxbridge send` tells whether it is right"

    async def _find_service(self, address: AppriseTarget) -> Any:
        url = address.url.get_secret_value()
        if url not in self._services:
            try:
                self._services[url] = await asyncio.to_thread(find_service, url)
            except ValueError as error:
                raise Permanent(str(error)) from None
        return self._services[url]


def _build_arguments(body: Outgoing, mentions: Iterable[str], service: Any) -> dict[str, Any]:
    """Make what the library is handed: a text with its first line as the title where there is one, or a file."""
    if isinstance(body, PictureFile):
        if body.url:
            return {"body": f"{body.name}\n{body.url}", "body_format": "text"}
        from apprise.attachment.file import AttachFile

        picture = AttachFile(body.path, name=body.name, mimetype=body.content_type)  # type: ignore[no-untyped-call]
        return {"body": body.name, "body_format": "text", "attach": picture}
    named = " ".join(f"@{name.removeprefix('@')}" for name in mentions)
    text = f"{body.text}\n{named}" if named else body.text
    first, _, rest = text.partition("\n")
    title = _HEADING_MARKS.sub("", first)
    call = {"body": text, "body_format": body.format}
    if service.title_maxlen and rest.strip() and len(title) <= min(MAX_TITLE_CHARS, service.title_maxlen):
        call |= {"body": rest.lstrip("\n"), "title": title}
    return call


def _explain_failure(name: str, words: list[str], url: str) -> SendError:
    said = _remove_secrets(" ".join(" ".join(words).split()), url) or "it does not say why"
    text = f"{name} did not send it: {said}"[:MAX_WORDS_CHARS]
    found = _STATUS.findall(" ".join(words))
    status = int(found[-1]) if found else 0
    if status == _SLOWER:
        return Throttled(text, retry_after=THROTTLE_SECONDS, code=str(status))
    if status in _REFUSED_STATUSES:
        return Unauthorised(text, code=str(status))
    if 400 <= status < 500 and status not in _MENDED_BY_WAITING:  # noqa: PLR2004 - HTTP
        return Permanent(text, code=str(status))
    return Transient(text, code=str(status) if status else None)


def _remove_secrets(text: str, url: str) -> str:
    """Give the library's words without addresses, or pieces of the target's own."""
    pieces = re.split(r"[/:@?&=#%+,]+", url.partition("://")[2])
    return hide_pieces(_ADDRESS.sub("…", text), (piece for piece in pieces if len(piece) >= MIN_SECRET_CHARS))


def _create(context: ChannelContext) -> Channel:
    target = next(iter(context.targets.values()), None)
    capabilities = target.capabilities(USUAL_CAPABILITIES) if target else USUAL_CAPABILITIES
    return AppriseChannel(capabilities, targets=context.targets)


PLUGIN = ChannelPlugin(target=AppriseTarget, create=_create, capabilities=USUAL_CAPABILITIES, has_probe=True)
