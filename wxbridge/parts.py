"""Makes what a bridge consists of, part by part, from its configuration; `app` puts them together and runs them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from wxbridge import registry
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.alerts.pipeline import MASTER, AlertSettings
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import compile_settings
from wxbridge.alerts.templates import Templates
from wxbridge.channels.manager import ChannelSetup, find_plugin, settings_of_lane
from wxbridge.config.schema import Config
from wxbridge.config.types import MASTER_KEYS, Pace, TargetSettings, reveal
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.leadership import Leadership
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import NotificationSink, PictureDrawer
from wxbridge.core.severities import SeverityTable
from wxbridge.core.state_lock import explain_state_error
from wxbridge.core.text.i18n import say
from wxbridge.delivery.context import Lane
from wxbridge.delivery.rate_limit import Pacer
from wxbridge.jobs import LaneBudget
from wxbridge.jobs.scheduler import JobScheduler, SchedulerSettings
from wxbridge.pictures.renderer import PictureRenderer
from wxbridge.pictures.store import PictureStore


def all_targets(config: Config) -> dict[str, TargetSettings]:
    """Give the configured targets, and `master` where the section wechat or ilink names one."""
    targets = dict(config.targets)
    for section, address in MASTER_KEYS.items():
        settings = config.section(section)
        if MASTER not in targets and settings and settings.master:
            targets[MASTER] = registry.CHANNELS[section].target(**{address: settings.master})
    return targets


def operators_of(config: Config) -> tuple[str, ...]:
    """Give the targets that hear of what the bridge itself suffers; none where nobody is named."""
    return config.operators or tuple(name for name in (MASTER,) if name in all_targets(config))


def open_database(config: Config) -> Database:
    """Open the configured database. Raises `StorageError` where it cannot be, `UnusableState` where it never will."""
    if config.database:
        return Database.open(config.database.get_secret_value())
    try:
        return Database.open(sqlite_url(config.state_dir))
    except OSError as error:
        raise explain_state_error(config.state_dir, error) from error


def make_leadership(config: Config, database: Database) -> Leadership:
    """Make what says whether this bridge leads; where others may, the database refuses what only who leads stores."""
    if config.database is None:
        return Leadership()
    from wxbridge.core.shared_leadership import SharedLeadership

    leadership = SharedLeadership(config.database.get_secret_value(), sender=database.sender)
    database.fence, database.is_in_touch = leadership.fence, leadership.is_in_touch
    return leadership


def destinations_of(
    targets: Mapping[str, TargetSettings], people: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Destination]:
    """Give what composing for each target needs to know. `people` tells how those that alerts name are known."""
    persons = people or {}
    return {
        name: Destination(
            target.capabilities(registry.CHANNELS[target.channel].capabilities),
            target.expires_after,
            target.template,
            partial(target.recipients, people=persons),
            getattr(target, "from_label", ()),
            partial(_known_as, registry.CHANNELS[target.channel].people or target.channel, persons),
            getattr(target, "format", "text"),
            target.is_from_request,
        )
        for name, target in targets.items()
    }


def _known_as(channel: str, people: Mapping[str, Mapping[str, str]], name: str) -> str:
    return people.get(name, {}).get(channel, name)


def make_renderer(config: Config, metrics: Metrics | None = None) -> PictureRenderer:
    """Make the renderer; what becomes of pictures is counted where there are metrics."""
    return PictureRenderer(
        config.pictures,
        config.grafana,
        prometheus=config.prometheus,
        timezone=str(config.timezone),
        language=say("language.locale", config.language),
        count=(lambda kind, outcome: metrics.pictures.labels(kind, outcome).inc()) if metrics else None,
    )


def alert_settings_of(config: Config) -> AlertSettings:
    """Give what the configuration says of alerts."""
    return AlertSettings(
        routes=compile_settings(config.routes),
        targets=destinations_of(all_targets(config), config.people.persons),
        language=config.language,
        timezone=config.timezone,
        intervals=config.time_intervals,
        templates=Templates(config.templates, config.language, config.timezone),
        pictures=AlertPictureOptions(
            grafana=config.grafana is not None,
            prometheus=config.prometheus is not None,
            timezone=str(config.timezone),
            language=config.language,
            theme=config.pictures.alerts.theme,
            storm=config.pictures.alerts.storm,
            published=config.pictures.publish is not None,
        ),
        sources=registry.SourceTable(config.hooks.generic.mappings, config.timezone),
        severities=SeverityTable(config.severities),
        operators=operators_of(config),
        keep=config.keep,
        people=config.people,
        public_url=config.server.public_url or "",
        server_token=reveal(config.server.token),
    )


def scheduler_settings(config: Config, database: Database | None = None) -> SchedulerSettings:
    """Give what the configured jobs are run with; a database that is a server has their pictures too."""
    targets = all_targets(config)
    return SchedulerSettings(
        jobs=config.jobs,
        kinds=registry.JOBS,
        timezone=config.timezone,
        language=config.language,
        base=config.base,
        picture_store=PictureStore.below(config.state_dir, database),
        destinations=destinations_of(targets),
        on_error=operators_of(config),
        budgets={name: _budget(config, target.lane()) for name, target in targets.items()},
        keep=config.keep,
    )


def _budget(config: Config, lane: str) -> LaneBudget:
    """Give how much a lane may send."""
    pace = getattr(settings_of_lane(registry.CHANNELS, config, lane), "pace", None) or Pace()
    return LaneBudget(lane, tuple(rate for rate in (pace.total, pace.day) if rate))


def make_lane(name: str, channels: ChannelSetup) -> Lane:
    """Make the lane of a channel: with its targets and its pace."""
    context = channels.contexts[name]
    pace = getattr(context.settings, "pace", None) or Pace()
    jitter = find_plugin(registry.CHANNELS, name).jitter
    pacer = Pacer(pace, jitter=jitter if pace != Pace() else 0.0)
    for target in context.targets.values():
        if target.pace:
            pacer.give_own(target.chat_key(), target.pace)
    return Lane(name, channels.channels[name], context.targets, pacer)


def make_scheduler(config: Config, database: Database, sink: NotificationSink, drawer: PictureDrawer) -> JobScheduler:
    """Make what runs the configured jobs."""
    return JobScheduler(scheduler_settings(config, database), database, sink, drawer)
