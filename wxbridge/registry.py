"""The tables: monitors, channels, job kinds. A new one is its file and a line here.

A channel's or a job kind's module is imported when it is looked up: what no jobs.yaml names costs nothing.
"""

from __future__ import annotations

import importlib
from collections import UserDict
from collections.abc import Mapping
from datetime import UTC, tzinfo
from functools import cache
from typing import TypeVar, cast

from wxbridge.alerts.sources import ParseBody, by_content, generic, host, mail, openfalcon
from wxbridge.channels import ChannelPlugin
from wxbridge.config.graphs import Graphs
from wxbridge.config.hooks import BodyMapping
from wxbridge.config.schema import Config, PluginSettings
from wxbridge.jobs import JobKind

Plugin = TypeVar("Plugin")

SOURCES: dict[str, ParseBody] = {
    "grafana": by_content.parse_grafana,
    "alertmanager": by_content.parse_alertmanager,
    "openfalcon": openfalcon.parse,
    "host": host.parse,
    "mail": mail.parse,
    "generic": generic.parse,
}


def sources(mappings: Mapping[str, BodyMapping], timezone: tzinfo = UTC) -> dict[str, ParseBody]:
    """The hooks there are, with the mappings of jobs.yaml as `generic/NAME`; times without a zone are in `timezone`."""
    return SOURCES | {generic.NAME: generic.parser(mappings, timezone)} | generic.parsers(mappings, timezone)


class PluginTable(UserDict[str, Plugin]):
    """Plug-ins by name, each imported when it is looked up.

    Args:
        places: By name, `MODULE:ATTRIBUTE` below wxbridge.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        super().__init__()
        self.data.update(cast("dict[str, Plugin]", places))

    def __getitem__(self, name: str) -> Plugin:
        found = self.data[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self.data[name] = getattr(importlib.import_module(f"wxbridge.{module}"), attribute)
        return found


CHANNELS: PluginTable[ChannelPlugin] = PluginTable(
    {
        "wechat": "channels.wechat.plugin:PLUGIN",
        "ilink": "channels.ilink.plugin:PLUGIN",
        "wecom_robot": "channels.wecom.robot:PLUGIN",
        "wecom_app": "channels.wecom.app:PLUGIN",
        "wecom_bot": "channels.wecom_bot.plugin:PLUGIN",
        "dingtalk": "channels.dingtalk:PLUGIN",
        "feishu": "channels.feishu.channel:PLUGIN",
        "http": "channels.http_service.channel:PLUGIN",
        "apprise": "channels.apprise:PLUGIN",
        "console": "channels.console:PLUGIN",
    }
)

JOBS: PluginTable[JobKind] = PluginTable(
    {
        "screenshot": "jobs.kinds.screenshot:KIND",
        "picture": "jobs.kinds.picture:KIND",
        "text": "jobs.kinds.text:KIND",
        "digest": "jobs.kinds.digest:KIND",
        "host_report": "jobs.kinds.host_report:KIND",
    }
)


@cache
def plugin_settings() -> PluginSettings:
    """What the plug-ins bring to jobs.yaml, for `config.load`."""
    return PluginSettings(CHANNELS, JOBS, {"graphs": Graphs})


def needs_browser(config: Config) -> bool:
    """Whether anything that is configured is drawn by a browser."""
    return config.grafana is not None or any(JOBS[job.kind].needs_browser for job in config.jobs)
