"""The channel `wecom_app`: messages of WeCom applications (企业微信应用消息) to members, parties and tags.

developer.work.weixin.qq.com/document/path/90236, media: path/90253, tokens: path/91039
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.access_tokens import AccessToken, TokenCache, read_token
from wxbridge.channels.answers import AnswerVerdict, Meaning
from wxbridge.channels.http import HttpService, HttpTiming, encode_json, hash_secret
from wxbridge.channels.uploads import MediaUpload, UploadCache, read_upload
from wxbridge.channels.wecom.answers import (
    DEFAULT_URL,
    INVALID_MEDIA,
    NOT_REACHED,
    WecomChannel,
    describe_missed,
    make_receipt,
)
from wxbridge.channels.wecom.media import (
    MAX_FILE_BYTES,
    MAX_PICTURE_BYTES,
    MEDIA_LIFE_SECONDS,
    make_file_upload,
    make_form,
)
from wxbridge.channels.wecom.quotas import HOUR, MINUTE, MemberQuotas, RepeatGuard
from wxbridge.config.types import (
    ALERT_LABELS,
    ONE_OR_MANY,
    BaseUrl,
    FileBeside,
    Names,
    Pace,
    Secret,
    Section,
    TargetSettings,
)
from wxbridge.core.errors import BadAddress, Permanent, SendError, Throttled, Transient, Unknown
from wxbridge.core.model import Capabilities, Outgoing, Receipt, Text

MAX_TEXT_BYTES = 2048
"""Of UTF-8 in a text, and in a markdown."""
DUPLICATE_CHECK_SECONDS = 600
"""How long WeCom swallows a message that is the same to the last byte (at most four hours)."""
FROM_ALERT = "from-alert"
EVERYBODY = "@all"
MAX_RECIPIENTS = {"to": 1000, "party": 100, "tag": 100}
"""In one message."""

CAPABILITIES = Capabilities(
    text_limit=MAX_TEXT_BYTES,
    text_unit="bytes",
    picture_limit=max(MAX_PICTURE_BYTES, MAX_FILE_BYTES),
    mentions=False,
    formats={"markdown": MAX_TEXT_BYTES},
    colours=True,
    repeats_absorbed=DUPLICATE_CHECK_SECONDS,
)


# ---------------------------------------------------------------- jobs.yaml


class WecomSettings(Section):
    """The `wecom` section: what the applications have in common. Every key may stand at a target instead."""

    corp_id: str | None = None
    """The company's id (企业ID)."""
    secret: Secret | None = None
    """An application's secret."""
    agent_id: int | None = None
    """An application's AgentId."""
    base_url: BaseUrl | None = None
    """Where WeCom is; https://qyapi.weixin.qq.com when not given."""
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's."""


def _ids(value: Any) -> Any:
    """`u1|u2`, `u1,u2` (as Open-Falcon writes) or a list."""
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, bool) or not isinstance(item, str | int) for item in items):
        return value
    return tuple(dict.fromkeys(part for item in items for part in re.split(r"[|,\s]+", str(item)) if part))


Ids = Annotated[tuple[str, ...], BeforeValidator(_ids), Field(json_schema_extra=ONE_OR_MANY)]


class AppTarget(TargetSettings):
    """Members, parties or tags that an application of WeCom writes to."""

    any_of = (("to", "party", "tag"),)
    address_keys: ClassVar[tuple[str, ...]] = ("party", "tag")

    channel: Literal["wecom_app"] = "wecom_app"
    corp_id: str | None = None
    """The company's id (企业ID); that of the `wecom` section when not given."""
    secret: Secret | None = None
    """The application's secret; likewise."""
    agent_id: int | None = None
    """The application's AgentId; likewise."""
    base_url: BaseUrl | None = None
    """Where WeCom is; likewise."""
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's; likewise."""
    to: Ids = ()
    """Members by id, `u1|u2` or a list; `@all` for everybody who sees the application; or `from-alert` for those
    that the alert itself names (Open-Falcon's `tos`, or `from_label`)."""
    from_label: Names = ALERT_LABELS
    """With `to: from-alert`: labels or annotations of which the first that an alert has names the people, where its
    sender names none."""
    party: Ids = ()
    """Departments, by id."""
    tag: Ids = ()
    """Tags, by id."""
    format: Literal["text", "markdown"] = "text"
    """How alerts are written. WeChat's own work platform shows no markdown."""
    _named: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _whole(self) -> AppTarget:
        if not (self.to or self.party or self.tag):
            raise ValueError(
                "a wecom_app target needs `to:` (members, `@all` or `from-alert`), `party:` or `tag:` (ids)"
            )
        for special in (FROM_ALERT, EVERYBODY):
            if special in self.to and len(self.to) > 1:
                raise ValueError(f"`to`: `{special}` stands alone")
        for key, most in MAX_RECIPIENTS.items():
            if len(getattr(self, key)) > most:
                raise ValueError(f"`{key}`: WeCom takes at most {most} in one message")
        if self.pace is None:
            # What is more is dropped without a word. The model is frozen for everybody else.
            object.__setattr__(self, "pace", Pace(chat=MINUTE, total=HOUR))
        return self

    @property
    def from_alert(self) -> bool:
        """Whether the alert says who is meant."""
        return self.to == (FROM_ALERT,)

    @property
    def named_by_alert(self) -> bool:
        """Whether the recipients come from an alert, so that the next alert may have others."""
        return self._named

    def address(self, recipient: str | None = None) -> AppTarget:
        """This target, or the members that one alert is for, joined by `|`."""
        if not (self.from_alert and recipient):
            return self
        address = self.model_copy(update={"to": _ids(recipient)})
        address._named = True  # noqa: SLF001 - its own
        return address

    def recipients(self, names: Sequence[str], people: Mapping[str, Mapping[str, str]]) -> list[str] | None:
        """One message to all of them; several where they are more than WeCom takes."""
        if not self.from_alert:
            return None
        ids = list(_ids([people.get(name, {}).get("wecom", name) for name in names]))
        most = MAX_RECIPIENTS["to"]
        return ["|".join(ids[start : start + most]) for start in range(0, len(ids), most)]

    def chat_key(self) -> str:
        """The application and whom it writes to."""
        who = "/".join("|".join(ids) for ids in (self.to, self.party, self.tag))
        return f"app:{self.corp_id or ''}:{self.agent_id or ''}:{who}"

    def lacks(self, section: Any) -> list[str]:
        """The keys that neither this target nor the `wecom` section has."""
        return [key for key in ("corp_id", "secret", "agent_id") if _pick(key, self, section) in (None, "")]


@dataclass(frozen=True)
class WecomApplication:
    """A WeCom application, as it is spoken to."""

    base_url: str
    corp_id: str
    secret: str = field(repr=False)
    agent_id: int
    ca: Path | None = None

    @property
    def identity(self) -> str:
        """What tells its tokens from others'. It gives nothing away: it is a hash."""
        return hash_secret(self.base_url, self.corp_id, self.secret)[:32]

    @property
    def service(self) -> HttpService:
        """Where its requests go."""
        shown = f"WeCom (application {self.agent_id} at {self.base_url})"
        return HttpService(shown, self.base_url, self.ca, f"{self.identity} {self.agent_id}")


def _pick(key: str, target: AppTarget, shared: WecomSettings | None) -> Any:
    for section in (target, shared):
        value = getattr(section, key, None)
        if value is not None and (not hasattr(value, "get_secret_value") or value.get_secret_value()):
            return value
    return None


def find_application(target: AppTarget, shared: WecomSettings | None) -> WecomApplication:
    """Give the application of a target, with what the `wecom` section adds.

    Raises:
        Permanent: something is missing in both.
    """
    missing = target.lacks(shared)
    if missing:
        raise Permanent(f"this wecom_app target has no `{missing[0]}`, and the section `wecom:` has none either")
    return WecomApplication(
        base_url=_pick("base_url", target, shared) or DEFAULT_URL,
        corp_id=_pick("corp_id", target, shared).strip(),
        secret=_pick("secret", target, shared).get_secret_value().strip(),
        agent_id=_pick("agent_id", target, shared),
        ca=_pick("ca", target, shared),
    )


# ---------------------------------------------------------------- the channel


class AppChannel(WecomChannel):
    """Sends as applications; implements `model.Channel`."""

    name = "wecom_app"
    capabilities = CAPABILITIES

    def __init__(
        self,
        context: ChannelContext,
        *,
        timing: HttpTiming | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = context.settings if isinstance(context.settings, WecomSettings) else None
        super().__init__(context.targets, timing=timing, wall=wall, monotonic=monotonic)
        self._tokens = TokenCache("wecom", context.database, self._fetch_token, wall=wall, monotonic=monotonic)
        self._media = UploadCache("wecom", self._upload, life=MEDIA_LIFE_SECONDS, wall=wall)
        self._quotas = MemberQuotas(monotonic)
        self._repeat_guard = RepeatGuard(DUPLICATE_CHECK_SECONDS, monotonic)

    async def close(self) -> None:
        """End what is under way and close the connections. Safe to call twice."""
        await self._media.close()
        await self._tokens.close()
        await super().close()

    def list_services(self, address: Any) -> Sequence[HttpService]:
        """Give the application of a target; none where its configuration lacks something."""
        if not isinstance(address, AppTarget) or address.lacks(self._shared):
            return ()
        return [find_application(address, self._shared).service]

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:  # noqa: ARG002
        """Send one message; `address` is an `AppTarget`. Whom it did not reach stands in the receipt's note.

        Raises:
            Throttled: WeCom wants us slower, or would drop it silently for a member who has had too many.
            BadAddress: it reaches nobody. Where an alert named them, it is `Permanent`: the next names others.
            Offline: WeCom is not reached. Unknown: no answer came. Transient: it is busy.
            Unauthorised: the application is refused. Permanent: it is not configured, or the message is refused.
        """
        if not isinstance(address, AppTarget):
            raise Permanent(f"this is no target of a WeCom application: {type(address).__name__}")
        if address.from_alert:
            raise Permanent("the alert names nobody that this could be sent to")
        app = find_application(address, self._shared)
        try:
            return await self._send(app, address, body)
        except BadAddress as error:
            if address.named_by_alert:
                raise Permanent(str(error), code=error.code) from None
            raise

    async def _send(self, app: WecomApplication, address: AppTarget, body: Outgoing) -> Receipt:
        members = _quota_names(app, address)
        if isinstance(body, Text):
            upload, what = None, _text_part(body)
        else:
            upload = await read_upload(body, MAX_PICTURE_BYTES, make_file_upload)
            what = await self._media_part(app, upload)
        wait = self._quotas.wait(members) if address.pace != Pace() else 0.0
        if wait:
            raise Throttled(f"a member has had as many messages as WeCom delivers; wait {wait:.0f} s", retry_after=wait)
        counted = self._quotas.note(members)
        try:
            verdict = await self._post(app, address, what)
            if verdict.code == INVALID_MEDIA and upload is not None:
                self._media.forget(app, upload)
                verdict = await self._post(app, address, await self._media_part(app, upload))
            return self._make_receipt(app, address, verdict)
        except Unknown:
            raise
        except SendError:
            self._quotas.forget(members, counted)
            raise

    async def _post(self, app: WecomApplication, address: AppTarget, what: Mapping[str, Any]) -> AnswerVerdict:
        message = {
            "touser": "|".join(address.to),
            "toparty": "|".join(address.party),
            "totag": "|".join(address.tag),
            "agentid": app.agent_id,
            **what,
            "safe": 0,
        }
        # A message that WeCom has confirmed is said again on purpose; one that it has not may only be a repeat.
        said = self._repeat_guard.was_confirmed(app.identity, message)
        check = {} if said else {"enable_duplicate_check": 1, "duplicate_check_interval": DUPLICATE_CHECK_SECONDS}
        data = encode_json(message | check)
        verdict = await self._call(app, "POST", "/cgi-bin/message/send", data=data, sends=True)
        if verdict.is_sent:
            self._repeat_guard.confirm(app.identity, message)
        return verdict

    @staticmethod
    def _make_receipt(app: WecomApplication, address: AppTarget, verdict: AnswerVerdict) -> Receipt:
        if verdict.meaning is Meaning.PARTLY_SENT and _is_nobody_left(address, verdict):
            # It says 0 and reached nobody.
            verdict = replace(verdict, meaning=Meaning.BAD_ADDRESS, words=f"ok, but not for {describe_missed(verdict)}")
        if verdict.is_sent:
            return make_receipt(verdict)
        raise verdict.failure(app.service.shown)

    async def probe(self, address: Any) -> str:
        """Tell whether corp id, secret, agent id and this host's address are good; nobody sees anything.

        Raises:
            SendError: something is not, or WeCom is not reached.
        """
        app = find_application(address, self._shared)
        verdict = await self._call(app, "GET", "/cgi-bin/agent/get", params={"agentid": str(app.agent_id)})
        verdict.require_sent(app.service.shown)
        self.note_let_in(app.service)
        name = str(verdict.data.get("name") or "")
        return f"application {app.agent_id}{f' ({name})' if name else ''} is let in at {app.base_url}"

    # Calls

    async def _call(
        self,
        app: WecomApplication,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        upload: MediaUpload | None = None,
        sends: bool = False,
    ) -> AnswerVerdict:
        """Make a call with the application's token, which is renewed once where it is refused."""
        return await self._tokens.call(
            app,
            lambda token: self.ask(
                app.service,
                path,
                method=method,
                sends=sends,
                params={"access_token": token, **(params or {})},
                data=make_form(upload) if upload else data,
                size=len(upload.data) if upload else 0,
            ),
        )

    async def _fetch_token(self, app: WecomApplication) -> AccessToken:
        params = {"corpid": app.corp_id, "corpsecret": app.secret}
        verdict = await self.ask(app.service, "/cgi-bin/gettoken", method="GET", sends=False, params=params)
        names = {"token": "access_token", "life": "expires_in"}
        return read_token(verdict, app.service, **names, now=self._wall())

    async def _media_part(self, app: WecomApplication, upload: MediaUpload) -> Mapping[str, Any]:
        return {"msgtype": upload.kind, upload.kind: {"media_id": await self._media.get_or_upload(app, upload)}}

    async def _upload(self, app: WecomApplication, upload: MediaUpload) -> str:
        verdict = await self._call(app, "POST", "/cgi-bin/media/upload", params={"type": upload.kind}, upload=upload)
        media_id = str(verdict.data.get("media_id") or "")
        verdict.require_sent(app.service.shown)
        if not media_id:
            raise Transient(f"{app.service.shown} takes the picture and gives no media_id")
        return media_id


def _text_part(body: Text) -> Mapping[str, Any]:
    kind = "markdown" if body.format == "markdown" else "text"
    return {"msgtype": kind, kind: {"content": body.text}}


def _quota_names(app: WecomApplication, address: AppTarget) -> list[str]:
    """Name whose quotas a message counts towards; of a party or a tag, and of everybody, there is one together."""
    groups = (("user", address.to), ("party", address.party), ("tag", address.tag))
    return [f"{app.identity}:{app.agent_id}:{kind}:{name.lower()}" for kind, names in groups for name in names]


def _is_nobody_left(address: AppTarget, verdict: AnswerVerdict) -> bool:
    if address.to == (EVERYBODY,):
        return False
    missed: set[str] = set()
    for key in NOT_REACHED:
        missed.update(str(verdict.data.get(key) or "").lower().split("|"))
    return all(name.lower() in missed for name in (*address.to, *address.party, *address.tag))


PLUGIN = ChannelPlugin(
    target=AppTarget,
    create=AppChannel,
    capabilities=CAPABILITIES,
    section="wecom",
    settings=WecomSettings,
    has_probe=True,
    people="wecom",
)
