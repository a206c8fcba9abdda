"""The three dicts: monitors, channels, job kinds. A new one is its file and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from wxbridge.alerts.sources import ParseBody, by_content, generic, host, openfalcon
from wxbridge.channels import ChannelPlugin, apprise, console, dingtalk
from wxbridge.channels.wechat import plugin as wechat
from wxbridge.channels.wecom import app as wecom_app
from wxbridge.channels.wecom import robot as wecom_robot
from wxbridge.channels.wecom_bot import plugin as wecom_bot
from wxbridge.config.graphs import Graphs
from wxbridge.config.hooks import BodyMapping
from wxbridge.config.schema import PluginSettings
from wxbridge.jobs import JobKind
from wxbridge.jobs.kinds import digest, host_report, picture, screenshot, text

SOURCES: dict[str, ParseBody] = {
    "grafana": by_content.parse_grafana,
    "alertmanager": by_content.parse_alertmanager,
    "openfalcon": openfalcon.parse,
    "host": host.parse,
    "generic": generic.parse,
}


def sources(mappings: Mapping[str, BodyMapping]) -> dict[str, ParseBody]:
    """The hooks there are, with the mappings of jobs.yaml as `generic/NAME`."""
    return SOURCES | generic.parsers(mappings)


CHANNELS: dict[str, ChannelPlugin] = {
    "wechat": wechat.PLUGIN,
    "wecom_robot": wecom_robot.PLUGIN,
    "wecom_app": wecom_app.PLUGIN,
    "wecom_bot": wecom_bot.PLUGIN,
    "dingtalk": dingtalk.PLUGIN,
    "apprise": apprise.PLUGIN,
    "console": console.PLUGIN,
}

JOBS: dict[str, JobKind] = {
    "screenshot": screenshot.KIND,
    "picture": picture.KIND,
    "text": text.KIND,
    "digest": digest.KIND,
    "host_report": host_report.KIND,
}


def plugin_settings() -> PluginSettings:
    """What the plug-ins bring to jobs.yaml, for `config.load`."""
    return PluginSettings(
        targets={name: plugin.target for name, plugin in CHANNELS.items()},
        jobs={name: kind.settings for name, kind in JOBS.items()},
        sections={
            "graphs": Graphs,
            **{plugin.section: plugin.settings for plugin in CHANNELS.values() if plugin.section},
        },
        section_of={name: plugin.section for name, plugin in CHANNELS.items() if plugin.section},
    )
