"""The channel `feishu`: sends through group robots, with pictures that an application has uploaded."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import aiohttp

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.access_tokens import AccessToken, TokenCache, read_token
from wxbridge.channels.answers import AnswerVerdict
from wxbridge.channels.feishu.answers import ANSWER_NAMES, CODES
from wxbridge.channels.feishu.message import build_picture, build_picture_link, build_text
from wxbridge.channels.feishu.settings import (
    CAPABILITIES,
    MAX_BODY_BYTES,
    MAX_PICTURE_BYTES,
    FeishuApplication,
    FeishuSettings,
    FeishuTarget,
)
from wxbridge.channels.http import HttpService, HttpTiming, encode_json
from wxbridge.channels.robots import OneRobotChannel, SignedRequest, WebhookRobot
from wxbridge.channels.uploads import MediaUpload, UploadCache, add_file, read_upload
from wxbridge.core.errors import Permanent, Throttled, Transient, Unauthorised
from wxbridge.core.model import Outgoing, Text

IMAGE_LIFE_SECONDS = 7 * 86400.0
"""How long an uploaded picture is used again; Feishu names no end."""
SIGNATURE_BYTES = 200
"""What a signature adds to a request at most."""
_LIMITED = "11232"


def sign(secret: str, seconds: int) -> str:
    """Make the signature of a moment: the HMAC of nothing, with the moment and the secret as its key."""
    return base64.b64encode(hmac.new(f"{seconds}\n{secret}".encode(), b"", hashlib.sha256).digest()).decode()


class FeishuChannel(OneRobotChannel):
    """Sends through robots of Feishu; implements `model.Channel`."""

    name = "feishu"
    vendor = "Feishu"
    capabilities = CAPABILITIES
    codes = CODES
    answer_names = ANSWER_NAMES
    max_body = MAX_BODY_BYTES
    unknown_message: ClassVar[Mapping[str, Any]] = {"msg_type": "wxbridge"}
    unknown_codes = ("9499", "19002")

    def __init__(
        self,
        context: ChannelContext,
        *,
        timing: HttpTiming | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(context.targets, timing=timing, wall=wall, monotonic=monotonic)
        self._tokens = TokenCache("feishu", context.database, self._fetch_token, wall=wall, monotonic=monotonic)
        self._images = UploadCache("feishu", self._upload, life=IMAGE_LIFE_SECONDS, wall=wall)

    async def close(self) -> None:
        """End what is under way and close the connections. Safe to call twice."""
        await self._images.close()
        await self._tokens.close()
        await super().close()

    def list_accounts(self, address: Any) -> Sequence[HttpService]:
        """Give the robot of a target, and the application that uploads its pictures."""
        application = address.application() if isinstance(address, FeishuTarget) else None
        return [*self.list_services(address), *([application.service] if application else [])]

    def explain_rest(self, seconds: float) -> Throttled:
        """Make the error of a robot that has sent too much."""
        text = f"Feishu wants the robot slower; wait {seconds:.0f} s"
        return Throttled(text, retry_after=max(1.0, seconds), code=_LIMITED)

    async def build(self, address: FeishuTarget, body: Outgoing, mentions: tuple[str, ...]) -> Mapping[str, Any]:
        """Make the request of a message; a picture is uploaded first. Raises `SendError` where it cannot be."""
        if isinstance(body, Text):
            return build_text(body, mentions, MAX_BODY_BYTES - SIGNATURE_BYTES)
        application = address.application()
        if application is None:
            if not body.url:
                raise Permanent("a robot of Feishu shows no pictures by itself; configure `app_id` and `app_secret`")
            return build_picture_link(body)
        upload = await read_upload(body, MAX_PICTURE_BYTES, _refuse_file)
        try:
            return build_picture(await self._images.get_or_upload(application, upload))
        except Unauthorised as error:
            # The robot itself is well: what else it has to tell must not wait for the application.
            raise Permanent(str(error), code=error.code) from None

    async def probe(self, address: Any) -> str:
        """Tell whether Feishu knows robot and application; nobody sees anything: there is no message of this type.

        Raises:
            SendError: it does not, or is not reached.
        """
        found = await super().probe(address)
        application = address.application()
        if application is None or address.is_from_request:
            return found
        await self._tokens.get(application)
        self.note_let_in(application.service)
        return f"the robot and application {application.app_id} are known at {application.base_url}"

    # Calls

    def sign(self, robot: WebhookRobot, payload: Mapping[str, Any]) -> SignedRequest:
        """Make the request of a robot; the signature stands in its body."""
        if robot.secret:
            moment = int(self._wall())
            payload = {"timestamp": str(moment), "sign": sign(robot.secret, moment), **payload}
        return SignedRequest(f"/open-apis/bot/v2/hook/{robot.key}", payload)

    async def _fetch_token(self, application: FeishuApplication) -> AccessToken:
        data = encode_json({"app_id": application.app_id, "app_secret": application.secret})
        path = "/open-apis/auth/v3/tenant_access_token/internal"
        verdict = await self.ask(application.service, path, sends=False, data=data)
        names = {"token": "tenant_access_token", "life": "expire"}
        return read_token(verdict, application.service, **names, now=self._wall())

    async def _upload(self, application: FeishuApplication, upload: MediaUpload) -> str:
        verdict = await self._tokens.call(application, lambda token: self._post_image(application, upload, token))
        verdict.require_sent(application.service.shown)
        self.note_let_in(application.service)
        data = verdict.data.get("data")
        image_key = str(data.get("image_key") or "") if isinstance(data, dict) else ""
        if not image_key:
            raise Transient(f"{application.service.shown} takes the picture and gives no image_key")
        return image_key

    async def _post_image(self, application: FeishuApplication, upload: MediaUpload, token: str) -> AnswerVerdict:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("image_type", "message")
        add_file(form, "image", upload.name, upload.data)
        return await self.ask(
            application.service,
            "/open-apis/im/v1/images",
            sends=False,
            data=form,
            size=len(upload.data),
            headers={"Authorization": f"Bearer {token}"},
        )


def _refuse_file(name: str, _data: bytes) -> MediaUpload:
    raise Permanent(f"{name} is no picture, and a robot of Feishu is sent nothing else")


PLUGIN = ChannelPlugin(
    target=FeishuTarget, create=FeishuChannel, capabilities=CAPABILITIES, settings=FeishuSettings, has_probe=True
)
