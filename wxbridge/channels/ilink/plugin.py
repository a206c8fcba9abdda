"""The plug-in `ilink`."""

from __future__ import annotations

from wxbridge.channels import ChannelPlugin
from wxbridge.channels.ilink.channel import IlinkChannel
from wxbridge.channels.ilink.settings import CAPABILITIES, IlinkSettings, IlinkTarget, lanes

PLUGIN = ChannelPlugin(
    target=IlinkTarget,
    create=IlinkChannel,
    capabilities=CAPABILITIES,
    section="ilink",
    settings=IlinkSettings,
    lanes=lanes,
)
