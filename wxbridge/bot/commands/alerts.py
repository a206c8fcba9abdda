"""The commands about alerts: what fires, silencing it, looking after it.

A silence is kept by the bridge, for what any monitor sends and for what it repeats itself; and where Alertmanager is
configured there too, so that nobody else is told either. Both ends of it are one for those who ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from wxbridge.alerts.alert_text import write_counts, write_labels, write_text, write_times
from wxbridge.alerts.firing import (
    FiringAlert,
    FiringOverview,
    ReportedBy,
    covers_everything,
    speaks_of_bridge_labels,
)
from wxbridge.alerts.service import AlertService, KeptSilence, SilenceRequest
from wxbridge.alerts.severity import EMOJI
from wxbridge.bot.command import Command
from wxbridge.bot.commands.alert_arguments import (
    AlertQuery,
    find_by_id,
    parse_ack,
    parse_query,
    parse_silence,
)
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import AlertGroup
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_moment

MAX_ALERTS = 15
"""That are listed."""
MAX_CHOICES = 8
"""That are listed where one is to be chosen."""
MAX_SILENCES = 15
MIN_ID_CHARS = 5
MIN_SILENCE_ID_CHARS = 8
MAX_LABELS = 4
MAX_SHOWN_COMMENT_CHARS = 80
"""In a list."""


@dataclass(frozen=True)
class AlertReader:
    """Who is told: by what name, when (in the zone that times are told in), and in which language."""

    name: str
    at: datetime
    language: Language

    @classmethod
    def of(cls, command: Command) -> AlertReader:
        """Tell who has written a command."""
        return cls(command.sender.name or command.sender.id, command.at, command.language)

    @property
    def timezone(self) -> tzinfo:
        """That times are told in."""
        return self.at.tzinfo or UTC

    def format_moment(self, moment: datetime) -> str:
        """Write a moment as the reader's clock shows it."""
        return format_moment(moment, self.timezone, self.at)


# ---------------------------------------------------------------- alerts


async def list_alerts(command: Command) -> str:
    """Say what fires now; of a single one all there is to tell."""
    reader, language = AlertReader.of(command), command.language
    query = parse_query(command.text, language)
    overview = await command.services.alerts.overview()
    found = [each for each in overview.alerts if query.matches(each)]
    ids = short_ids(overview.alerts)
    if query and len(found) == 1:
        lines = [_tell_all(found[0], ids[found[0].key], reader)]
    elif found:
        quiet = sum(each.quiet for each in found)
        head = write_counts([each.alert for each in found], language)
        head += say("bot.alerts.quiet", language, n=quiet) if quiet else ""
        lines = [head, *(_describe_alert(each, ids[each.key], reader) for each in found[:MAX_ALERTS])]
        if len(found) > MAX_ALERTS:
            lines.append(say("bot.alerts.more", language, n=len(found) - MAX_ALERTS))
    elif overview.alerts:
        lines = [say("bot.alerts.none_fulfils", language, n=len(overview.alerts), query=shorten(str(query)))]
    else:
        # Who did not answer may know of something.
        lines = [] if overview.missing else [say("bot.alerts.nothing_fires", language)]
    return "\n".join([*lines, *missing_lines(overview.missing, language)])


def missing_lines(missing: Mapping[str, str], language: Language) -> Iterable[str]:
    """Say who did not answer, and why."""
    for name, why in missing.items():
        # Many a Grafana has no alerts, or does not show them to our token.
        yield say(
            "bot.alerts.missing_plainly" if name == "Grafana" else "bot.alerts.missing", language, name=name, why=why
        )


def short_ids(alerts: Sequence[FiringAlert]) -> dict[str, str]:
    """By key, what people write for it: so many of its digits that all differ."""
    keys = [key for each in alerts for key in each.keys]
    length = next((n for n in range(MIN_ID_CHARS, 32) if len({key[:n] for key in keys}) == len(set(keys))), 32)
    return {key: key[:length] for key in keys}


def _describe_alert(each: FiringAlert, short: str, reader: AlertReader) -> str:
    alert, language = each.alert, reader.language
    title = shorten(alert.title or say("alerts.untitled", language), 80)
    words = [title, write_labels(alert.labels, title, MAX_LABELS), _since(each, reader), *_marks(each, language)]
    return f"{EMOJI[alert.status]} [{short}] {' · '.join(word for word in words if word)}"


def _tell_all(each: FiringAlert, short: str, reader: AlertReader) -> str:
    alert = replace(each.alert, starts_at=each.since)
    group = AlertGroup(alert.source, "", alert.title, (alert,))
    text = write_text(group, reader.language, reader.timezone, reader.at)
    return "\n".join([text, *_marks(each, reader.language), f"[{short}]"])


def _since(each: FiringAlert, reader: AlertReader) -> str:
    alert = replace(each.alert, starts_at=each.since)
    return write_times(alert, reader.language, reader.timezone, reader.at)


def _marks(each: FiringAlert, language: Language) -> list[str]:
    marks = []
    grafanas = each.places in ({ReportedBy.GRAFANA}, {ReportedBy.GRAFANA, ReportedBy.BRIDGE})
    ours = [one[:MIN_SILENCE_ID_CHARS] for one in each.silenced_by if len(one) == MIN_SILENCE_ID_CHARS or not grafanas]
    if ours:
        marks.append(say("bot.alerts.silenced", language, ids=", ".join(dict.fromkeys(ours))))
    elif each.silenced_by:
        marks.append(say("bot.alerts.silenced_elsewhere", language))
    if each.inhibited:
        marks.append(say("bot.alerts.inhibited", language))
    if each.ack:
        key = "bot.alerts.acked_why" if each.ack.comment else "bot.alerts.acked"
        marks.append(say(key, language, by=each.ack.by, comment=shorten(each.ack.comment, MAX_SHOWN_COMMENT_CHARS)))
    if each.unlisted:
        marks.append(say("bot.alerts.unlisted", language))
    return marks


def _find_alert(word: str, overview: FiringOverview, reader: AlertReader) -> FiringAlert:
    """The alert of an id. Raises `CannotAnswer` where it is none or several."""
    found = find_by_id(word, overview.alerts)
    if len(found) == 1:
        return found[0]
    if not found:
        raise CannotAnswer(say("bot.alerts.no_alert", reader.language, id=shorten(word)))
    lines = _list_choices(found, overview, reader)
    raise CannotAnswer(say("bot.alerts.several_alerts", reader.language, id=shorten(word), lines=lines))


def _list_choices(found: Sequence[FiringAlert], overview: FiringOverview, reader: AlertReader) -> str:
    ids = short_ids(overview.alerts)
    lines = [_describe_alert(each, ids[each.key], reader) for each in found[:MAX_CHOICES]]
    if len(found) > MAX_CHOICES:
        lines.append(say("bot.alerts.more_silences", reader.language, n=len(found) - MAX_CHOICES))
    return "\n".join(lines)


# ---------------------------------------------------------------- silence


async def silence(command: Command) -> str:
    """Silence by matchers, or one alert by its id, as somebody wrote it."""
    asked = parse_silence(command.text, command.at, command.language)
    query = parse_query(asked.what, command.language)
    reader = AlertReader.of(command)
    return await make_silence(command.services.alerts, query, asked.ends_at, asked.comment, reader)


async def make_silence(
    service: AlertService,
    query: AlertQuery,
    ends_at: datetime,
    comment: str,
    reader: AlertReader,
    *,
    tell_end: bool = True,
) -> str:
    """Silence what a query names, and say so; with `tell_end`, also which command ends it."""
    language = reader.language
    overview = await service.overview()
    matchers, in_alertmanager = _choose_matchers(query, overview, reader)
    if covers_everything(matchers):
        raise CannotAnswer(say("bot.alerts.everything", language))
    made = await service.silence(
        SilenceRequest(
            matchers, reader.at.timestamp(), ends_at.timestamp(), reader.name, comment, in_alertmanager=in_alertmanager
        )
    )
    n = sum(each.fulfils(matchers) for each in overview.alerts)
    lines = [
        say(
            "bot.alerts.silenced_now",
            language,
            end=reader.format_moment(ends_at),
            matchers=", ".join(map(str, matchers)),
        ),
        say("bot.alerts.covers" if n else "bot.alerts.covers_none", language, n=n),
        say("bot.alerts.to_end", language, id=made.id[:MIN_SILENCE_ID_CHARS]) if tell_end else "",
        say("bot.alerts.here_only", language, why=made.problem) if made.problem else "",
    ]
    return "\n".join(line for line in lines if line)


def _choose_matchers(
    query: AlertQuery, overview: FiringOverview, reader: AlertReader
) -> tuple[Sequence[Matcher], bool]:
    """Give the matchers of a silence, and whether they mean something to Alertmanager too."""
    if not query.words:
        return query.matchers, not speaks_of_bridge_labels(query.matchers)
    if query.matchers or len(query.words) > 1:
        raise CannotAnswer(say("bot.alerts.bad_matcher", reader.language, text=shorten(query.words[0])))
    found = _find_alert(query.words[0], overview, reader)
    return found.silencing_matchers(), ReportedBy.ALERTMANAGER in found.places


# ---------------------------------------------------------------- silences, unsilence


async def list_silences(command: Command) -> str:
    """List the silences that are not over."""
    reader, overview = AlertReader.of(command), await command.services.alerts.list_silences()
    missing = list(missing_lines(overview.missing, reader.language))
    if not overview.silences:
        return "\n".join(missing or [say("bot.alerts.no_silences", reader.language)])
    return "\n".join([_describe_silences(overview.silences, reader), *missing])


def _describe_silences(kept: Sequence[KeptSilence], reader: AlertReader, most: int = MAX_SILENCES) -> str:
    language = reader.language
    ids = [one for each in kept for one in each.ids]
    length = next((n for n in range(MIN_SILENCE_ID_CHARS, 36) if len({one[:n] for one in ids}) == len(set(ids))), 36)
    lines = []
    for each in kept[:most]:
        pending = each.starts_at and each.starts_at > reader.at
        fields = {
            "id": each.ids[0][:length],
            "start": reader.format_moment(each.starts_at) if each.starts_at else "",
            "end": reader.format_moment(each.ends_at) if each.ends_at else "?",
            "matchers": ", ".join(each.matchers),
        }
        line = say("bot.alerts.silence_from" if pending else "bot.alerts.silence", language, **fields)
        comment = "" if each.comment == "wxbridge" else shorten(each.comment, MAX_SHOWN_COMMENT_CHARS)
        if each.created_by:
            line += say(
                "bot.alerts.by_why" if comment else "bot.alerts.by", language, by=each.created_by, comment=comment
            )
        lines.append(f"🔕 {line}")
    if len(kept) > most:
        lines.append(say("bot.alerts.more_silences", language, n=len(kept) - most))
    return "\n".join(lines)


async def unsilence(command: Command) -> str:
    """End a silence, wherever it is kept."""
    name = command.words[0] if command.words else ""
    return await end_silence(command.services.alerts, name, AlertReader.of(command))


async def end_silence(service: AlertService, name: str, reader: AlertReader) -> str:
    """End the silence whose id begins with a word, and say so."""
    language, word = reader.language, name.lower()
    overview = await service.list_silences()
    kept, missing = overview.silences, list(missing_lines(overview.missing, language))
    if not word:
        if not kept:
            return "\n".join(missing or [say("bot.alerts.no_silences", language)])
        raise CannotAnswer(
            say("bot.alerts.which_silence", language, lines=_describe_silences(kept, reader, MAX_CHOICES))
        )
    found = [each for each in kept if any(one.lower().startswith(word) for one in each.ids)]
    exact = [each for each in found if any(one.lower() == word for one in each.ids)]
    if not found:
        raise CannotAnswer("\n".join([say("bot.alerts.no_silence", language, id=shorten(word)), *missing]))
    if len(exact or found) > 1:
        lines = _describe_silences(found, reader, MAX_CHOICES)
        raise CannotAnswer(say("bot.alerts.several_silences", language, id=shorten(word), lines=lines))
    (chosen,) = exact or found
    if not await service.unsilence(chosen):
        return say("bot.alerts.over_meanwhile", language, id=chosen.ids[0][:MIN_SILENCE_ID_CHARS])
    return say("bot.alerts.unsilenced", language, matchers=", ".join(chosen.matchers))


# ---------------------------------------------------------------- ack


async def acknowledge(command: Command) -> str:
    """Note who looks after an alert; without an id, after the only one that nobody looks after."""
    word, why = parse_ack(command.text)
    return await acknowledge_alert(command.services.alerts, word, why, AlertReader.of(command))


async def acknowledge_alert(service: AlertService, word: str, comment: str, reader: AlertReader) -> str:
    """Note who looks after the alert whose id begins with a word, and say so."""
    language = reader.language
    overview = await service.overview()
    if word:
        chosen = _find_alert(word, overview, reader)
    else:
        left = [each for each in overview.alerts if not each.ack and not each.quiet]
        if not left:
            raise CannotAnswer(
                "\n".join([say("bot.alerts.nothing_to_ack", language), *missing_lines(overview.missing, language)])
            )
        if len(left) > 1:
            raise CannotAnswer(say("bot.alerts.choose_alert", language, lines=_list_choices(left, overview, reader)))
        (chosen,) = left
    by = reader.name
    await service.acknowledge(chosen.keys, by, comment)
    title = chosen.alert.title or say("alerts.untitled", language)
    lines = [say("bot.alerts.acked_now", language, by=by, title=title, id=short_ids(overview.alerts)[chosen.key])]
    if chosen.ack and chosen.ack.by != by:
        lines.append(say("bot.alerts.acked_before", language, by=chosen.ack.by))
    return "\n".join(lines)
