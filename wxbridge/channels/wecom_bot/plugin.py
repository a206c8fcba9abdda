"""The plug-in `wecom_bot`."""

from __future__ import annotations

from wxbridge.channels import ChannelPlugin
from wxbridge.channels.wecom_bot import checks
from wxbridge.channels.wecom_bot.channel import WecomBotChannel
from wxbridge.channels.wecom_bot.settings import CAPABILITIES, BotsSettings, WecomBotTarget, bot_of, lanes

PLUGIN = ChannelPlugin(
    target=WecomBotTarget,
    create=WecomBotChannel,
    capabilities=CAPABILITIES,
    section="bots",
    people="wecom",
    settings=BotsSettings,
    lanes=lanes,
    of_lane=bot_of,
    checks={"bots": checks.check_bots},
)
