"""The tables: monitors, channels, job kinds. A new one is its file and a line here.

A module is imported when it is looked up: what no jobs.yaml names, and no monitor posts, costs nothing.
"""

from __future__ import annotations

import importlib
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, tzinfo
from functools import cache, cached_property, partial
from typing import TypeVar, cast

from wxbridge.alerts.sources import ParseBody
from wxbridge.channels import ChannelPlugin
from wxbridge.config.graphs import Graphs
from wxbridge.config.hooks import BodyMapping
from wxbridge.config.schema import Config, PluginSettings
from wxbridge.core.model import AlertGroup
from wxbridge.jobs import JobKind

Plugin = TypeVar("Plugin")


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


SOURCES: PluginTable[ParseBody] = PluginTable(
    {
        "grafana": "alerts.sources.by_content:parse_grafana",
        "alertmanager": "alerts.sources.by_content:parse_alertmanager",
        "openfalcon": "alerts.sources.openfalcon:parse",
        "host": "alerts.sources.host:parse",
        "mail": "alerts.sources.mail:parse",
    }
)
"""Those that have a body of their own; what any other body says is read by `alerts.sources.generic`."""
_PASSING_ON = ("grafana", "alertmanager")
"""Sources that leave JSON which is not theirs to `/hooks/generic`."""


class SourceTable(Mapping[str, ParseBody]):
    """The hooks there are, with the mappings of jobs.yaml as `generic/NAME`; times without a zone are in `timezone`."""

    def __init__(self, mappings: Mapping[str, BodyMapping], timezone: tzinfo = UTC) -> None:
        self._mappings, self._timezone = mappings, timezone

    @cached_property
    def _generic(self) -> dict[str, ParseBody]:
        from wxbridge.alerts.sources import generic  # with the mappings that ship

        given = self._mappings, self._timezone
        return {generic.NAME: generic.parser(*given)} | generic.parsers(*given)

    def __getitem__(self, name: str) -> ParseBody:
        if name in _PASSING_ON:
            return partial(cast("Callable[..., AlertGroup]", SOURCES[name]), parse_other=self._parse_other)
        return SOURCES[name] if name in SOURCES else self._generic[name]

    def _parse_other(self, body: bytes, headers: Mapping[str, str]) -> AlertGroup:
        return self._generic["generic"](body, headers)

    def __iter__(self) -> Iterator[str]:
        yield from SOURCES
        yield from self._generic

    def __len__(self) -> int:
        return len(SOURCES) + len(self._generic)


CHANNELS: PluginTable[ChannelPlugin] = PluginTable(
    {
        "wechat": "channels.wechat.channel:PLUGIN",
        "ilink": "channels.ilink.channel:PLUGIN",
        "wecom_robot": "channels.wecom.robot:PLUGIN",
        "wecom_app": "channels.wecom.app:PLUGIN",
        "wecom_bot": "channels.wecom_bot.channel:PLUGIN",
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
