"""What a robot of Feishu looks like in jobs.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import model_validator

from wxbridge.channels.http import HttpService, hash_secret
from wxbridge.channels.robots import KEY, OneRobotTarget, WebhookRobot
from wxbridge.config.types import BaseUrl, FileBeside, Pace, PaceField, Rate, Secret, Section, reveal
from wxbridge.core.model import Capabilities

DEFAULT_URL = "https://open.feishu.cn"
MAX_BODY_BYTES = 20 * 1024
"""Of a whole request."""
MAX_TEXT_BYTES = 15_000
"""Of UTF-8 in a text: line ends and quotes take two in the request, and there is more in it than the text."""
MAX_PICTURE_BYTES = 10 * 1024 * 1024
RATE = Rate(5, 3.0)
"""Both of a robot's quotas at once: 100 messages a minute, and five a second."""

CAPABILITIES = Capabilities(
    text_limit=MAX_TEXT_BYTES,
    text_unit="bytes",
    formats={"markdown": MAX_TEXT_BYTES, "post": MAX_TEXT_BYTES},
    escapes="entity",
    # Larger ones are made smaller here, so that they need not be for a channel that takes them.
    picture_limit=20 * 1024 * 1024,
)

_HOOK = re.compile(r"/open-apis/bot/(?:v2/)?hook/([\w-]+)/?", re.ASCII)


@dataclass(frozen=True)
class FeishuApplication:
    """The application that uploads pictures."""

    base_url: str
    app_id: str
    secret: str = field(repr=False)
    ca: Path | None = None

    @property
    def identity(self) -> str:
        """What tells its tokens from others'. It gives nothing away: it is a hash."""
        return hash_secret(self.base_url, self.app_id, self.secret)[:32]

    @property
    def service(self) -> HttpService:
        """Where its requests go."""
        shown = f"Feishu (application {self.app_id} at {self.base_url})"
        return HttpService(shown, self.base_url, self.ca, self.identity)


class FeishuTarget(OneRobotTarget):
    """A group with a robot of Feishu (飞书) or Lark."""

    one_of = (("key", "url"),)
    channel: Literal["feishu"] = "feishu"
    key: Secret | None = None
    """The robot's key, the last part of its webhook address; or the whole address; or `from-request` for the one that
    the sender of an alert names in its own address: `?to=TARGET&key=KEY&mention=all`, with `&secret=…` to sign."""
    url: Secret | None = None
    """Instead of the key: the robot's whole webhook address."""
    secret: Secret | None = None
    """What requests are signed with (签名校验), where the robot wants that."""
    app_id: str | None = None
    """An application of the same company, which uploads pictures: a robot alone can show none."""
    app_secret: Secret | None = None
    """The application's secret."""
    base_url: BaseUrl | None = None
    """Where Feishu is; https://open.feishu.cn where neither this nor the address says otherwise (Lark:
    https://open.larksuite.com)."""
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's."""
    format: Literal["markdown", "post", "text"] = "markdown"
    """How alerts are written: `markdown` is a card whose header has the colour of what is told, `post` a title with
    plain lines."""

    @model_validator(mode="after")
    def _whole(self) -> FeishuTarget:
        if bool(self.key) == bool(self.url):
            raise ValueError("a feishu target needs one of `key:` and `url:` (the whole webhook address)")
        if bool(self.app_id) != bool(self.app_secret):
            raise ValueError("`app_id` and `app_secret` go together; pictures are uploaded with both")
        self.robot()
        return self

    def robot(self) -> WebhookRobot:
        """The robot.

        Raises:
            ValueError: it is no webhook address, or no key. The text does not show it.
        """
        base = self.base_url or DEFAULT_URL
        if self.is_asked:
            return WebhookRobot("Feishu", base, *self._asked, ca=self.ca, is_asked=True)
        given = self.key or self.url
        key = reveal(given).strip()
        if "://" in key or self.url:
            address = urlsplit(key)
            found = _HOOK.fullmatch(address.path)
            if address.scheme not in ("http", "https") or not address.netloc or not found:
                raise ValueError("the webhook address has no `/open-apis/bot/v2/hook/KEY` in it; copy all of it")
            base, key = self.base_url or f"{address.scheme}://{address.netloc}", found[1]
        if not KEY.fullmatch(key):
            problem = "`key` cannot be one" if key else "`key` is empty"
            raise ValueError(f"{problem}; copy what follows `/hook/`")
        secret = reveal(self.secret).strip()
        return WebhookRobot("Feishu", base, key, secret, ca=self.ca)

    def application(self) -> FeishuApplication | None:
        """The application that uploads pictures; None where the robot has to do without."""
        if not self.app_id or not self.app_secret:
            return None
        secret = self.app_secret.get_secret_value().strip()
        return FeishuApplication(self.robot().base_url, self.app_id.strip(), secret, self.ca)

    def capabilities(self, usual: Any) -> Any:
        """What can be carried here: without an application, a picture's address instead of the picture."""
        return usual if self.app_id else replace(usual, pictures="url")

    def key_as_written(self) -> Secret | None:
        """The robot's key as jobs.yaml has it."""
        return self.key


class FeishuSettings(Section):
    """What holds for targets that say nothing else."""

    pace: PaceField = Pace(chat=RATE)
