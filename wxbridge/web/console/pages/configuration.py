"""Which files are in use, since when, what was wrong with them last, and what is in them without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

import wxbridge
from wxbridge.config.schema import Config
from wxbridge.core.audit import AuditAction
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    config = visit.config
    return {
        "state": visit.services.state,
        "files": [str(file) for file in config.files or (config.path,)],
        "text": write_masked(config),
        "app_version": wxbridge.__version__,
    }


def write_masked(config: Config) -> str:
    """Write a configuration as YAML, with what was written in its files, and stars for secrets."""
    data: Mapping[str, Any] = config.model_dump(mode="json", by_alias=True, exclude_unset=True, fallback=str)
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, default_flow_style=False, width=100)


async def _reload(visit: PageVisit, form: ConsoleForm) -> str:
    visit.services.reloader.ask()
    await visit.record(form, AuditAction.RELOADED, "")
    return visit.say("configuration.asked")


PAGE = ConsolePage(_show, {"reload": _reload})
