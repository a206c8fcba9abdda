"""The three dicts: monitors, channels, job kinds. A new one is its file and a line here."""

from __future__ import annotations

from wxbridge.channels import ChannelPlugin, console, wechat
from wxbridge.config import PluginSettings
from wxbridge.jobs import JobKind, picture, screenshot, text
from wxbridge.sources import Parse, grafana_legacy

SOURCES: dict[str, Parse] = {
    "grafana": grafana_legacy.parse,
}

CHANNELS: dict[str, ChannelPlugin] = {
    "wechat": wechat.PLUGIN,
    "console": console.PLUGIN,
}

JOBS: dict[str, JobKind] = {
    "screenshot": screenshot.KIND,
    "picture": picture.KIND,
    "text": text.KIND,
}


def plugin_settings() -> PluginSettings:
    """What the plug-ins bring to jobs.yaml, for `config.load`."""
    return PluginSettings(
        targets={name: plugin.target for name, plugin in CHANNELS.items()},
        jobs={name: kind.settings for name, kind in JOBS.items()},
        sections={plugin.section: plugin.settings for plugin in CHANNELS.values() if plugin.section},
    )
