"""`routes show`: the tree of routes; `routes test`: where an alert goes, and why."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from wxbridge.alerts import routing
from wxbridge.alerts.muting import held_by
from wxbridge.alerts.routing import RoutedTarget, RouteExplanation, RouteOptions, TriedRoute
from wxbridge.alerts.silences import SilenceSet
from wxbridge.cli.common import (
    WRONG_USAGE,
    ConfigOption,
    JsonOption,
    database_of,
    fail,
    plain,
    print_json,
    read_config_in_use,
    say,
)
from wxbridge.cli.help_texts import CommandSet
from wxbridge.cli.reader import phrase, tell
from wxbridge.config.routes import NestedRoute
from wxbridge.config.schema import Config
from wxbridge.config.types import write_duration
from wxbridge.core.database import DATABASE_FILE
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.severities import SeverityTable
from wxbridge.parts import operators_of

routes = CommandSet(no_args_is_help=True)


@routes.callback()
def _group() -> None:
    """Where alerts go."""


@routes.command("show")
def show_tree(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Show the routes as a tree, from the top: the matchers of each, and its targets."""
    settings = read_config_in_use(config)
    if as_json:
        print_json([_as_tree(route) for route in settings.routes])
        return
    who = ", ".join(operators_of(settings)) or phrase("terminal.nobody")
    print(plain(phrase("terminal.routes.top", who=who)))  # noqa: T201
    for line in _draw(settings.routes, ""):
        print(plain(line))  # noqa: T201


def _as_tree(route: NestedRoute) -> dict[str, Any]:
    return {
        "matchers": [str(matcher) for matcher in parse_matchers(route.match)],
        "to": None if route.to is None else list(route.to),
        "continue": route.continue_,
        "routes": [_as_tree(each) for each in route.routes],
    }


def _draw(children: Sequence[NestedRoute], indent: str) -> Iterator[str]:
    for index, route in enumerate(children):
        is_last = index == len(children) - 1
        asked = "{" + ", ".join(map(str, parse_matchers(route.match))) + "}"
        words = [] if route.to is None else [_tell_targets(route.to)]
        words += [f"({phrase('terminal.routes.also').join(said)})"] if (said := list(_describe_options(route))) else []
        yield f"{indent}{'└─' if is_last else '├─'} {'  '.join([asked, *words])}"
        yield from _draw(route.routes, indent + ("   " if is_last else "│  "))


def _tell_targets(names: Sequence[str]) -> str:
    return f"→ {', '.join(names) or phrase('terminal.routes.nobody')}"


def _describe_options(route: NestedRoute) -> Iterator[str]:
    """What a route says itself."""
    if route.continue_:
        yield phrase("terminal.routes.goes_on")
    if route.mention:
        yield phrase("terminal.routes.mentions", who=", ".join(route.mention))
    if route.repeat_interval:
        yield phrase("terminal.routes.repeated", time=write_duration(route.repeat_interval))
    elif route.repeat_interval is not None:
        yield phrase("terminal.routes.not_repeated")
    if route.send_resolved is False:
        yield phrase("terminal.routes.end_untold")
    if route.template:
        yield phrase("terminal.routes.template", name=route.template)
    if route.mute_time_intervals:
        yield phrase("terminal.routes.muted_in", names=", ".join(route.mute_time_intervals))
    if route.active_time_intervals:
        yield phrase("terminal.routes.only_in", names=", ".join(route.active_time_intervals))


@routes.command("test")
def try_labels(
    labels: str,
    config: ConfigOption = None,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Tell which routes an alert with these labels takes and why, to which targets, and what holds for them now."""
    settings = read_config_in_use(config)
    given = routing.complete_labels(_labels(labels), SeverityTable(settings.severities))
    explanation = routing.explain_route(routing.compile_settings(settings.routes), given)
    for tried in explanation.tried:
        say(plain(_line(tried, given)))
    targets = explanation.targets or ()
    silences = _read_silences(settings)
    rows = [_row(routed, given, silences, settings) for routed in targets]
    if as_json:
        print_json(rows)
        return
    for routed, row in zip(targets, rows, strict=True):
        words = phrase("terminal.routes.also").join(_words(routed.options, row["muted"], settings))
        say(plain(phrase("terminal.routes.target", name=routed.target, words=words)))
    print(plain(", ".join(routed.target for routed in targets)) or _nowhere(explanation))  # noqa: T201


def _read_silences(settings: Config) -> SilenceSet:
    """Read the silences of the bridge; without any where it has no state yet, which looking does not make."""
    found = SilenceSet()
    if settings.database is not None or (settings.state_dir / DATABASE_FILE).exists():

        async def read() -> None:
            with database_of(settings) as database:
                await database.read(lambda c: found.reload(c, now=time.time()))

        asyncio.run(read())
    return found


def _line(tried: TriedRoute, labels: dict[str, str]) -> str:
    """A route that was tried, in one line."""
    asked = "{" + ", ".join(map(str, tried.matchers)) + "}"
    start = f"{routing.format_path(tried.path)} {asked}"
    if tried.failed is not None:
        value = labels.get(tried.failed.name)
        shown = json.dumps(value, ensure_ascii=False)
        why = phrase("terminal.routes.no_label" if value is None else "terminal.routes.label_is", value=shown)
        return phrase("terminal.routes.no_match", route=start, matcher=tried.failed, why=why)
    if not tried.answers:
        outcome = phrase("terminal.routes.own_routes")
    elif tried.to is None:
        outcome = phrase("terminal.routes.no_target")
    else:
        outcome = _tell_targets(tried.to)
    key = "terminal.routes.match_on" if tried.goes_on else "terminal.routes.match"
    return phrase(key, route=start, outcome=outcome)


def _nowhere(explanation: RouteExplanation) -> str:
    if explanation.targets is not None:
        return phrase("terminal.routes.nobody")
    is_matched = any(tried.failed is None for tried in explanation.tried)
    return phrase("terminal.routes.to_master" if is_matched else "terminal.routes.unrouted")


def _row(routed: RoutedTarget, labels: Mapping[str, str], silences: SilenceSet, config: Config) -> dict[str, Any]:
    options = routed.options
    return {
        "target": routed.target,
        "route": routing.format_path(routed.path),
        "mention": list(options.mention),
        **({"mention_label": list(options.mention_label)} if options.mention_label else {}),
        "repeat_interval": write_duration(options.repeat_interval) if options.repeat_interval else None,
        "send_resolved": options.send_resolved,
        "template": options.template,
        "mute_time_intervals": list(options.mute),
        "active_time_intervals": list(options.active),
        "muted": held_by(options, labels, silences, config.time_intervals, config.timezone, time.time()),
    }


def _words(options: RouteOptions, muted: str | None, config: Config) -> Iterator[str]:
    """What holds for a target, in words."""
    yield phrase("terminal.routes.held_back", why=tell(muted)) if muted else phrase("terminal.routes.at_once")
    if options.mention:
        rotas, now = config.people.rotas, datetime.now(UTC)
        on_duty = {name: rotas[name].find_on_duty(now, config.timezone) for name in options.mention if name in rotas}
        shown = [
            phrase("terminal.routes.on_duty", name=name, who=", ".join(on_duty[name]) or phrase("terminal.nobody"))
            if name in on_duty
            else name
            for name in options.mention
        ]
        yield phrase("terminal.routes.mentions", who=phrase("terminal.routes.mentions_and").join(shown))
    if options.mention_label:
        yield phrase("terminal.routes.mentions_label", names=phrase("terminal.or").join(options.mention_label))
    if options.repeat_interval:
        yield phrase("terminal.routes.repeated", time=write_duration(options.repeat_interval))
    if not options.send_resolved:
        yield phrase("terminal.routes.end_untold")
    if options.template:
        yield phrase("terminal.routes.template", name=options.template)


def _labels(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise fail(f"the labels are not JSON: {error}", WRONG_USAGE) from None
        return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in data.items()}
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise fail("write labels as name=value,name=value or as JSON", WRONG_USAGE)
    return {name.strip(): value.strip() for name, _, value in pairs}
