"""The plug-in `wechat`."""

from __future__ import annotations

from wxbridge.channels import ChannelPlugin
from wxbridge.channels.wechat import checks
from wxbridge.channels.wechat.channel import WechatChannel
from wxbridge.channels.wechat.settings import CAPABILITIES, WechatSettings, WechatTarget

PLUGIN = ChannelPlugin(
    target=WechatTarget,
    create=WechatChannel,
    capabilities=CAPABILITIES,
    jitter=1.5,
    section="wechat",
    settings=WechatSettings,
    checks={"gateway": checks.check_gateway, "login": checks.check_login, "addresses": checks.check_addresses},
)
