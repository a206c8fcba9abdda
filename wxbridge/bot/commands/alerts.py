"""The commands about alerts: what fires, silencing it, looking after it.

A silence is kept by the bridge, for what any monitor sends and for what it repeats itself; and where Alertmanager is
configured there too, so that nobody else is told either. Both ends of it are one for those who ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

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
from wxbridge.bot.command import Answer, CannotAnswer, Command, Permission, Question
from wxbridge.bot.commands.alert_arguments import (
    Query,
    by_id,
    read_ack,
    read_query,
    read_silence,
)
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import AlertGroup, Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_moment

SHOWN = 15
"""How many alerts are listed."""
CANDIDATES = 8
"""How many are listed where one is to be chosen."""
SILENCES_SHOWN = 15
_ID = 5
"""Digits of an id, at least."""
_SILENCE_ID = 8
_LABELS = 4
_COMMENT = 80
"""Characters of a comment in a list."""


@dataclass(frozen=True)
class AlertReader:
    """Who is answered: by what name, when (in the zone that times are told in), and in which language."""

    name: str
    at: datetime
    language: Language

    @classmethod
    def of(cls, question: Question) -> AlertReader:
        """Tell who has asked a question."""
        return cls(question.asker.sender_name or question.asker.sender_id, question.at, question.language)


def alert_commands(service: AlertService) -> list[Command]:
    """The commands `alerts`, `silence`, `unsilence`, `silences` and `ack`."""

    def command(name: str, run: Callable[[AlertService, Question], Awaitable[str]], **more: Any) -> Command:
        async def answer(question: Question) -> Sequence[Answer]:
            return [Text(await run(service, question))]

        return Command.from_catalogue(name, answer, **more)

    return [
        command("alerts", alerts),
        command("silence", silence, permission=Permission.ADMINS),
        command("unsilence", unsilence, permission=Permission.ADMINS),
        command("silences", silences),
        command("ack", ack),
    ]


# ---------------------------------------------------------------- alerts


async def alerts(service: AlertService, question: Question) -> str:
    """Say what fires now; of a single one all there is to tell."""
    reader, language = AlertReader.of(question), question.language
    query = read_query(question.text, language)
    overview = await service.overview()
    found = [each for each in overview.alerts if query.matches(each)]
    ids = short_ids(overview.alerts)
    if query and len(found) == 1:
        lines = [_whole(found[0], ids[found[0].key], reader)]
    elif found:
        quiet = sum(each.quiet for each in found)
        head = write_counts([each.alert for each in found], language)
        head += say("bot.alerts.quiet", language, n=quiet) if quiet else ""
        lines = [head, *(_line(each, ids[each.key], reader) for each in found[:SHOWN])]
        if len(found) > SHOWN:
            lines.append(say("bot.alerts.more", language, n=len(found) - SHOWN))
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
    length = next((n for n in range(_ID, 32) if len({key[:n] for key in keys}) == len(set(keys))), 32)
    return {key: key[:length] for key in keys}


def _line(each: FiringAlert, short: str, reader: AlertReader) -> str:
    alert, language = each.alert, reader.language
    title = shorten(alert.title or say("alerts.untitled", language), 80)
    words = [title, write_labels(alert.labels, title, _LABELS), _since(each, reader), *_marks(each, language)]
    return f"{EMOJI[alert.status]} [{short}] {' · '.join(word for word in words if word)}"


def _whole(each: FiringAlert, short: str, reader: AlertReader) -> str:
    alert = replace(each.alert, starts_at=each.since)
    group = AlertGroup(alert.source, "", alert.title, (alert,))
    text = write_text(group, reader.language, reader.at.tzinfo or UTC, reader.at)
    return "\n".join([text, *_marks(each, reader.language), f"[{short}]"])


def _since(each: FiringAlert, reader: AlertReader) -> str:
    alert = replace(each.alert, starts_at=each.since)
    return write_times(alert, reader.language, reader.at.tzinfo or UTC, reader.at)


def _marks(each: FiringAlert, language: Language) -> list[str]:
    marks = []
    grafanas = each.places in ({ReportedBy.GRAFANA}, {ReportedBy.GRAFANA, ReportedBy.BRIDGE})
    ours = [one[:_SILENCE_ID] for one in each.silenced_by if len(one) == _SILENCE_ID or not grafanas]
    if ours:
        marks.append(say("bot.alerts.silenced", language, ids=", ".join(dict.fromkeys(ours))))
    elif each.silenced_by:
        marks.append(say("bot.alerts.silenced_elsewhere", language))
    if each.inhibited:
        marks.append(say("bot.alerts.inhibited", language))
    if each.ack:
        key = "bot.alerts.acked_why" if each.ack.comment else "bot.alerts.acked"
        marks.append(say(key, language, by=each.ack.by, comment=shorten(each.ack.comment, _COMMENT)))
    if each.unlisted:
        marks.append(say("bot.alerts.unlisted", language))
    return marks


def _one(word: str, overview: FiringOverview, reader: AlertReader) -> FiringAlert:
    """The alert of an id. Raises `CannotAnswer` where it is none or several."""
    found = by_id(word, overview.alerts)
    if len(found) == 1:
        return found[0]
    if not found:
        raise CannotAnswer(say("bot.alerts.no_alert", reader.language, id=shorten(word)))
    lines = _candidates(found, overview, reader)
    raise CannotAnswer(say("bot.alerts.several_alerts", reader.language, id=shorten(word), lines=lines))


def _candidates(found: Sequence[FiringAlert], overview: FiringOverview, reader: AlertReader) -> str:
    ids = short_ids(overview.alerts)
    lines = [_line(each, ids[each.key], reader) for each in found[:CANDIDATES]]
    if len(found) > CANDIDATES:
        lines.append(say("bot.alerts.more_silences", reader.language, n=len(found) - CANDIDATES))
    return "\n".join(lines)


# ---------------------------------------------------------------- silence


async def silence(service: AlertService, question: Question) -> str:
    """Silence by matchers, or one alert by its id, as somebody wrote it."""
    asked = read_silence(question.text, question.at, question.language)
    query = read_query(asked.what, question.language)
    return await make_silence(service, query, asked.ends_at, asked.comment, AlertReader.of(question))


async def make_silence(
    service: AlertService, query: Query, ends_at: datetime, comment: str, reader: AlertReader, *, tell_end: bool = True
) -> str:
    """Silence what a query names, and say so; with `tell_end`, also which command ends it."""
    language = reader.language
    overview = await service.overview()
    matchers, in_alertmanager = _wanted(query, overview, reader)
    if covers_everything(matchers):
        raise CannotAnswer(say("bot.alerts.everything", language))
    made = await service.silence(
        SilenceRequest(
            matchers, reader.at.timestamp(), ends_at.timestamp(), reader.name, comment, in_alertmanager=in_alertmanager
        )
    )
    n = sum(each.fulfils(matchers) for each in overview.alerts)
    lines = [
        say("bot.alerts.silenced_now", language, end=_moment(ends_at, reader), matchers=_joined(map(str, matchers))),
        say("bot.alerts.covers" if n else "bot.alerts.covers_none", language, n=n),
        say("bot.alerts.to_end", language, id=made.id[:_SILENCE_ID]) if tell_end else "",
        say("bot.alerts.here_only", language, why=made.problem) if made.problem else "",
    ]
    return "\n".join(line for line in lines if line)


def _wanted(query: Query, overview: FiringOverview, reader: AlertReader) -> tuple[Sequence[Matcher], bool]:
    """Give the matchers of a silence, and whether they mean something to Alertmanager too."""
    if not query.words:
        return query.matchers, not speaks_of_bridge_labels(query.matchers)
    if query.matchers or len(query.words) > 1:
        raise CannotAnswer(say("bot.alerts.bad_matcher", reader.language, text=shorten(query.words[0])))
    found = _one(query.words[0], overview, reader)
    return found.silencing_matchers(), ReportedBy.ALERTMANAGER in found.places


def _joined(matchers: Iterable[str]) -> str:
    return ", ".join(matchers)


def _moment(at: datetime, reader: AlertReader) -> str:
    return format_moment(at, reader.at.tzinfo or UTC, reader.at)


# ---------------------------------------------------------------- silences, unsilence


async def silences(service: AlertService, question: Question) -> str:
    """List the silences that are not over."""
    reader, overview = AlertReader.of(question), await service.list_silences()
    missing = list(missing_lines(overview.missing, reader.language))
    if not overview.silences:
        return "\n".join(missing or [say("bot.alerts.no_silences", reader.language)])
    return "\n".join([_silence_lines(overview.silences, reader), *missing])


def _silence_lines(kept: Sequence[KeptSilence], reader: AlertReader, most: int = SILENCES_SHOWN) -> str:
    language = reader.language
    ids = [one for each in kept for one in each.ids]
    length = next((n for n in range(_SILENCE_ID, 36) if len({one[:n] for one in ids}) == len(set(ids))), 36)
    lines = []
    for each in kept[:most]:
        pending = each.starts_at and each.starts_at > reader.at
        fields = {
            "id": each.ids[0][:length],
            "start": _moment(each.starts_at, reader) if each.starts_at else "",
            "end": _moment(each.ends_at, reader) if each.ends_at else "?",
            "matchers": _joined(each.matchers),
        }
        line = say("bot.alerts.silence_from" if pending else "bot.alerts.silence", language, **fields)
        comment = "" if each.comment == "wxbridge" else shorten(each.comment, _COMMENT)
        if each.created_by:
            line += say(
                "bot.alerts.by_why" if comment else "bot.alerts.by", language, by=each.created_by, comment=comment
            )
        lines.append(f"🔕 {line}")
    if len(kept) > most:
        lines.append(say("bot.alerts.more_silences", language, n=len(kept) - most))
    return "\n".join(lines)


async def unsilence(service: AlertService, question: Question) -> str:
    """End a silence, wherever it is kept."""
    return await end_silence(service, question.words[0] if question.words else "", AlertReader.of(question))


async def end_silence(service: AlertService, name: str, reader: AlertReader) -> str:
    """End the silence whose id begins with a word, and say so."""
    language, word = reader.language, name.lower()
    overview = await service.list_silences()
    kept, missing = overview.silences, list(missing_lines(overview.missing, language))
    if not word:
        if not kept:
            return "\n".join(missing or [say("bot.alerts.no_silences", language)])
        raise CannotAnswer(say("bot.alerts.which_silence", language, lines=_silence_lines(kept, reader, CANDIDATES)))
    found = [each for each in kept if any(one.lower().startswith(word) for one in each.ids)]
    exact = [each for each in found if any(one.lower() == word for one in each.ids)]
    if not found:
        raise CannotAnswer("\n".join([say("bot.alerts.no_silence", language, id=shorten(word)), *missing]))
    if len(exact or found) > 1:
        lines = _silence_lines(found, reader, CANDIDATES)
        raise CannotAnswer(say("bot.alerts.several_silences", language, id=shorten(word), lines=lines))
    (chosen,) = exact or found
    if not await service.unsilence(chosen):
        return say("bot.alerts.over_meanwhile", language, id=chosen.ids[0][:_SILENCE_ID])
    return say("bot.alerts.unsilenced", language, matchers=_joined(chosen.matchers))


# ---------------------------------------------------------------- ack


async def ack(service: AlertService, question: Question) -> str:
    """Note who looks after an alert; without an id, after the only one that nobody looks after."""
    word, why = read_ack(question.text)
    return await acknowledge(service, word, why, AlertReader.of(question))


async def acknowledge(service: AlertService, word: str, comment: str, reader: AlertReader) -> str:
    """Note who looks after the alert whose id begins with a word, and say so."""
    language = reader.language
    overview = await service.overview()
    if word:
        chosen = _one(word, overview, reader)
    else:
        left = [each for each in overview.alerts if not each.ack and not each.quiet]
        if not left:
            raise CannotAnswer(
                "\n".join([say("bot.alerts.nothing_to_ack", language), *missing_lines(overview.missing, language)])
            )
        if len(left) > 1:
            raise CannotAnswer(say("bot.alerts.choose_alert", language, lines=_candidates(left, overview, reader)))
        (chosen,) = left
    by = reader.name
    await service.acknowledge(chosen.keys, by, comment)
    title = chosen.alert.title or say("alerts.untitled", language)
    lines = [say("bot.alerts.acked_now", language, by=by, title=title, id=short_ids(overview.alerts)[chosen.key])]
    if chosen.ack and chosen.ack.by != by:
        lines.append(say("bot.alerts.acked_before", language, by=chosen.ack.by))
    return "\n".join(lines)
