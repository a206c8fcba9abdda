"""Whether a template is what it should be, told before an alert comes: it is read, and filled with made-up alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jinja2

from wxbridge.alerts.template_folder import DEFAULT_TEMPLATE, TemplateError
from wxbridge.alerts.templates import Templates
from wxbridge.config.routes import NestedRoute, Path_
from wxbridge.config.schema import Config
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value

_AT = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)


def _made_up(status: AlertStatus) -> AlertGroup:
    is_over = status is AlertStatus.RESOLVED
    alerts = tuple(
        Alert(
            "alertmanager",
            status,
            "DiskFull",
            {"alertname": "DiskFull", "severity": "critical", "instance": instance},
            {"summary": "the disk is full", "description": "93 % are in use"},
            (Value("A", 93.0, labels={"instance": instance}, unit="%"),),
            _AT - timedelta(hours=1),
            _AT if is_over else None,
            "https://runbooks.example.com/disk",
            {"generator": "https://prometheus.example.com/graph"},
            fingerprint=instance,
        )
        for instance in ("db-1", "db-2")
    )
    return AlertGroup("alertmanager", "key", "DiskFull", alerts)


_SAMPLES = tuple(map(_made_up, (AlertStatus.FIRING, AlertStatus.RESOLVED)))


def check_template(templates: Templates, name: str) -> None:
    """Read a template and fill it with made-up alerts.

    Raises:
        TemplateError: it is broken, or asks for what no alert has.
    """
    templates.renderer.check(name)
    for group in _SAMPLES:
        try:
            templates.renderer.render(name, group, "ops", _AT)
        except TemplateError as error:
            # What else goes wrong may be these alerts' fault.
            if isinstance(error.__cause__, jinja2.UndefinedError):
                raise


@dataclass(frozen=True)
class NamedTemplate:
    """A template that is named in jobs.yaml, or taken for everybody, and where."""

    name: str
    path: Path_


def list_templates(config: Config, templates: Templates) -> Iterator[NamedTemplate]:
    """List the templates of routes, targets and everybody, each once."""
    named = [*_of_routes(config.routes, ("routes",))]
    named += [
        NamedTemplate(each.template or "", ("targets", name, "template")) for name, each in config.targets.items()
    ]
    named += [NamedTemplate(DEFAULT_TEMPLATE, ("templates",))] if templates.find(DEFAULT_TEMPLATE) else []
    yield from {each.name: each for each in reversed(named) if each.name}.values()


def _of_routes(routes: Sequence[NestedRoute], path: Path_) -> Iterator[NamedTemplate]:
    for index, route in enumerate(routes):
        yield NamedTemplate(route.template or "", (*path, index, "template"))
        yield from _of_routes(route.routes, (*path, index, "routes"))
