"""The commands about alerts: what fires, silencing it, looking after it.

A silence is kept by the bridge, for what any monitor sends and for what it repeats itself; and where Alertmanager is
configured there too, so that nobody else is told either. Both ends of it are one for those who ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from wxbridge.alerts.active import FiringAlert, FiringOverview, ReportedBy
from wxbridge.alerts.alert_text import counts, labels_line, text_of, time_line
from wxbridge.alerts.severity import EMOJI
from wxbridge.bot.command import Answer, CannotAnswer, Command, Permission, Question
from wxbridge.bot.commands.alert_arguments import (
    Query,
    SilenceAsked,
    by_id,
    fit_everything,
    fulfils,
    read_ack,
    read_query,
    read_silence,
)
from wxbridge.core.http import ApiError
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import AlertGroup, Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_moment
from wxbridge.monitors.alertmanager import Alertmanager

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
_WHERE = (
    "instance", "host", "hostname", "endpoint", "node", "nodename", "pod", "container", "device", "mountpoint",
    "namespace", "cluster",
)  # fmt: skip
"""The labels that, with its name, tell an alert from those of other places."""
_BRIDGES = {"source", "status"}
"""Labels that only the bridge knows."""
_BY = "alertname"
_SAME_END = timedelta(seconds=2)


@dataclass(frozen=True)
class Desk:
    """What these commands ask of the bridge."""

    overview: Callable[[], Awaitable[FiringOverview]]
    """`firing.look`, with all who are to be asked. Raises `StorageError`."""
    ack: Callable[[Sequence[str], str, str], Awaitable[None]]
    """`Board.ack`: keys, by whom, why."""
    silences: Callable[[], Awaitable[list[Mapping[str, Any]]]]
    """`Board.silences`."""
    add_silence: Callable[[Sequence[str], float, float, str, str], Awaitable[Mapping[str, Any]]]
    """`Board.add_silence`: matchers, start and end in seconds since the epoch, by whom, why."""
    expire_silence: Callable[[str], Awaitable[bool]]
    """`Board.expire_silence`."""
    alertmanager: Alertmanager | None = None


def alert_commands(desk: Desk) -> list[Command]:
    """The commands `alerts`, `silence`, `unsilence`, `silences` and `ack`."""

    def command(name: str, run: Callable[[Desk, Question], Awaitable[str]], **more: Any) -> Command:
        async def answer(question: Question) -> Sequence[Answer]:
            return [Text(await run(desk, question))]

        return Command.from_catalogue(name, answer, **more)

    return [
        command("alerts", alerts),
        command("silence", silence, permission=Permission.ADMINS),
        command("unsilence", unsilence, permission=Permission.ADMINS),
        command("silences", silences),
        command("ack", ack),
    ]


# ---------------------------------------------------------------- alerts


async def alerts(desk: Desk, question: Question) -> str:
    """What fires now; of a single one all there is to tell."""
    language = question.language
    query = read_query(question.text, language)
    overview = await desk.overview()
    found = [each for each in overview.alerts if query.matches(each)]
    ids = short_ids(overview.alerts)
    if query and len(found) == 1:
        lines = [_whole(found[0], ids[found[0].key], question)]
    elif found:
        quiet = sum(each.quiet for each in found)
        head = counts([each.alert for each in found], language)
        head += say("bot.alerts.quiet", language, n=quiet) if quiet else ""
        lines = [head, *(_line(each, ids[each.key], question) for each in found[:SHOWN])]
        if len(found) > SHOWN:
            lines.append(say("bot.alerts.more", language, n=len(found) - SHOWN))
    elif overview.alerts:
        lines = [say("bot.alerts.none_fulfils", language, n=len(overview.alerts), query=shorten(str(query)))]
    else:
        # Who did not answer may know of something.
        lines = [] if overview.missing else [say("bot.alerts.nothing_fires", language)]
    return "\n".join([*lines, *_missing(overview, language)])


def _missing(overview: FiringOverview, language: Language) -> Iterable[str]:
    for name, why in overview.missing.items():
        # Many a Grafana has no alerts, or does not show them to our token.
        yield say(
            "bot.alerts.missing_plainly" if name == "Grafana" else "bot.alerts.missing", language, name=name, why=why
        )


def short_ids(alerts: Sequence[FiringAlert]) -> dict[str, str]:
    """By key, what people write for it: so many of its digits that all differ."""
    keys = [key for each in alerts for key in each.keys]
    length = next((n for n in range(_ID, 32) if len({key[:n] for key in keys}) == len(set(keys))), 32)
    return {key: key[:length] for key in keys}


def _line(each: FiringAlert, short: str, question: Question) -> str:
    alert, language = each.alert, question.language
    title = shorten(alert.title or say("alerts.untitled", language), 80)
    words = [title, labels_line(alert.labels, title, _LABELS), _since(each, question), *_marks(each, language)]
    return f"{EMOJI[alert.status]} [{short}] {' · '.join(word for word in words if word)}"


def _whole(each: FiringAlert, short: str, question: Question) -> str:
    alert = replace(each.alert, starts_at=each.since)
    group = AlertGroup(alert.source, "", alert.title, (alert,))
    text = text_of(group, question.language, question.at.tzinfo or UTC, question.at)
    return "\n".join([text, *_marks(each, question.language), f"[{short}]"])


def _since(each: FiringAlert, question: Question) -> str:
    alert = replace(each.alert, starts_at=each.since)
    return time_line(alert, question.language, question.at.tzinfo or UTC, question.at)


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


def _one(word: str, overview: FiringOverview, question: Question) -> FiringAlert:
    """The alert of an id. Raises `CannotAnswer` where it is none or several."""
    found = by_id(word, overview.alerts)
    if len(found) == 1:
        return found[0]
    if not found:
        raise CannotAnswer(say("bot.alerts.no_alert", question.language, id=shorten(word)))
    lines = _candidates(found, overview, question)
    raise CannotAnswer(say("bot.alerts.several_alerts", question.language, id=shorten(word), lines=lines))


def _candidates(found: Sequence[FiringAlert], overview: FiringOverview, question: Question) -> str:
    ids = short_ids(overview.alerts)
    lines = [_line(each, ids[each.key], question) for each in found[:CANDIDATES]]
    if len(found) > CANDIDATES:
        lines.append(say("bot.alerts.more_silences", question.language, n=len(found) - CANDIDATES))
    return "\n".join(lines)


# ---------------------------------------------------------------- silence


async def silence(desk: Desk, question: Question) -> str:
    """Silence by matchers, or one alert by its id."""
    language = question.language
    asked = read_silence(question.text, question.at, language)
    query = read_query(asked.what, language)
    overview = await desk.overview()
    matchers, everywhere = _wanted(query, overview, question)
    if fit_everything(matchers):
        raise CannotAnswer(say("bot.alerts.everything", language))
    by = _who(question)
    # Ours first: it refuses what Alertmanager would, and is what counts here.
    made = await desk.add_silence(
        [str(matcher) for matcher in matchers], question.at.timestamp(), asked.ends_at.timestamp(), by, asked.comment
    )
    short, problem = str(made["id"]), ""
    if desk.alertmanager and everywhere:
        try:
            short = await _in_alertmanager(desk.alertmanager, matchers, asked, question)
        except ApiError as error:
            problem = say("bot.alerts.here_only", language, why=error)
    n = sum(fulfils(each, matchers) for each in overview.alerts)
    lines = [
        say(
            "bot.alerts.silenced_now",
            language,
            end=_moment(asked.ends_at, question),
            matchers=_joined(map(str, matchers)),
        ),
        say("bot.alerts.covers" if n else "bot.alerts.covers_none", language, n=n),
        say("bot.alerts.to_end", language, id=short[:_SILENCE_ID]),
        problem,
    ]
    return "\n".join(line for line in lines if line)


async def _in_alertmanager(
    server: Alertmanager, matchers: Sequence[Matcher], asked: SilenceAsked, question: Question
) -> str:
    return await server.add_silence(matchers, question.at, asked.ends_at, _who(question), asked.comment)


def _wanted(query: Query, overview: FiringOverview, question: Question) -> tuple[Sequence[Matcher], bool]:
    """The matchers of a silence, and whether they mean something to Alertmanager too."""
    if not query.words:
        # Elsewhere such a label is absent, and `source!=grafana` would hold for everything.
        return query.matchers, not any(matcher.name in _BRIDGES for matcher in query.matchers)
    if query.matchers or len(query.words) > 1:
        raise CannotAnswer(say("bot.alerts.bad_matcher", question.language, text=shorten(query.words[0])))
    found = _one(query.words[0], overview, question)
    return matchers_of(found), ReportedBy.ALERTMANAGER in found.places


def matchers_of(each: FiringAlert) -> list[Matcher]:
    """What silences an alert and not its kind elsewhere: its name with what says where, else with all its labels."""
    alert = each.alert
    labels = {name: value for name, value in alert.labels.items() if value and not name.startswith("__")}
    if _BY not in labels and ReportedBy.ALERTMANAGER in each.places:
        chosen = labels
    else:
        # To the bridge, a title is the name of what has none.
        chosen = {_BY: labels.get(_BY) or alert.title} | (
            {name: labels[name] for name in _WHERE if name in labels} or labels
        )
    return [Matcher(name, "=", value) for name, value in chosen.items()]


def _who(question: Question) -> str:
    return question.asker.sender_name or question.asker.sender_id


def _joined(matchers: Iterable[str]) -> str:
    return ", ".join(matchers)


def _moment(at: datetime, question: Question) -> str:
    return format_moment(at, question.at.tzinfo or UTC, question.at)


# ---------------------------------------------------------------- silences, unsilence


@dataclass(frozen=True)
class Kept:
    """A silence as people see it: here, in Alertmanager, or in both."""

    matchers: tuple[str, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    by: str
    comment: str
    here: tuple[str, ...] = ()
    """Its id in the bridge."""
    there: tuple[str, ...] = ()
    """Its id in Alertmanager."""

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that it may be called by."""
        return (*self.there, *self.here)

    def is_half_of(self, other: Kept) -> bool:
        """Whether both were made by one command."""
        if self.ends_at is None or other.ends_at is None or frozenset(self.matchers) != frozenset(other.matchers):
            return False
        return abs(self.ends_at - other.ends_at) <= _SAME_END


async def all_kept(desk: Desk, language: Language) -> tuple[list[Kept], list[str]]:
    """The silences that are not over, those that end first at the top, and lines about who did not answer."""
    missing: list[str] = []

    async def theirs() -> list[Kept]:
        if desk.alertmanager is None:
            return []
        try:
            found = await desk.alertmanager.silences()
        except ApiError as error:
            missing.append(say("bot.alerts.missing", language, name="Alertmanager", why=error))
            return []
        return [
            Kept(each.matchers, each.starts_at, each.ends_at, each.created_by, each.comment, there=(each.id,))
            for each in found
        ]

    own, others = await asyncio.gather(desk.silences(), theirs())
    every = list(others)
    for each in map(_ours, own):
        half = next((at for at, other in enumerate(every) if not other.here and each.is_half_of(other)), None)
        if half is None:
            every.append(each)
        else:
            every[half] = replace(every[half], here=each.here)
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(every, key=lambda each: each.ends_at or never), missing


def _ours(each: Mapping[str, Any]) -> Kept:
    starts_at, ends_at = (datetime.fromisoformat(each[name]) for name in ("starts_at", "ends_at"))
    return Kept(
        tuple(each["matchers"]), starts_at, ends_at, each["created_by"], each["comment"], here=(str(each["id"]),)
    )


async def silences(desk: Desk, question: Question) -> str:
    """The silences that are not over."""
    kept, missing = await all_kept(desk, question.language)
    if not kept:
        return "\n".join(missing or [say("bot.alerts.no_silences", question.language)])
    return "\n".join([_silence_lines(kept, question), *missing])


def _silence_lines(kept: Sequence[Kept], question: Question, most: int = SILENCES_SHOWN) -> str:
    language = question.language
    ids = [one for each in kept for one in each.ids]
    length = next((n for n in range(_SILENCE_ID, 36) if len({one[:n] for one in ids}) == len(set(ids))), 36)
    lines = []
    for each in kept[:most]:
        pending = each.starts_at and each.starts_at > question.at
        fields = {
            "id": each.ids[0][:length],
            "start": _moment(each.starts_at, question) if each.starts_at else "",
            "end": _moment(each.ends_at, question) if each.ends_at else "?",
            "matchers": _joined(each.matchers),
        }
        line = say("bot.alerts.silence_from" if pending else "bot.alerts.silence", language, **fields)
        comment = "" if each.comment == "wxbridge" else shorten(each.comment, _COMMENT)
        if each.by:
            line += say("bot.alerts.by_why" if comment else "bot.alerts.by", language, by=each.by, comment=comment)
        lines.append(f"🔕 {line}")
    if len(kept) > most:
        lines.append(say("bot.alerts.more_silences", language, n=len(kept) - most))
    return "\n".join(lines)


async def unsilence(desk: Desk, question: Question) -> str:
    """End a silence, wherever it is kept."""
    language = question.language
    kept, missing = await all_kept(desk, language)
    word = question.words[0].lower() if question.words else ""
    if not word:
        if not kept:
            return "\n".join(missing or [say("bot.alerts.no_silences", language)])
        raise CannotAnswer(say("bot.alerts.which_silence", language, lines=_silence_lines(kept, question, CANDIDATES)))
    found = [each for each in kept if any(one.lower().startswith(word) for one in each.ids)]
    exact = [each for each in found if any(one.lower() == word for one in each.ids)]
    if not found:
        raise CannotAnswer("\n".join([say("bot.alerts.no_silence", language, id=shorten(word)), *missing]))
    if len(exact or found) > 1:
        lines = _silence_lines(found, question, CANDIDATES)
        raise CannotAnswer(say("bot.alerts.several_silences", language, id=shorten(word), lines=lines))
    (chosen,) = exact or found
    # There first: where it fails, nothing has changed, and the error says so.
    ended = [await desk.alertmanager.expire_silence(one) for one in chosen.there if desk.alertmanager]
    ended += [await desk.expire_silence(one) for one in chosen.here]
    if not any(ended):
        return say("bot.alerts.over_meanwhile", language, id=chosen.ids[0][:_SILENCE_ID])
    return say("bot.alerts.unsilenced", language, matchers=_joined(chosen.matchers))


# ---------------------------------------------------------------- ack


async def ack(desk: Desk, question: Question) -> str:
    """Note who looks after an alert; without an id, after the only one that nobody looks after."""
    language = question.language
    word, why = read_ack(question.text)
    overview = await desk.overview()
    if word:
        chosen = _one(word, overview, question)
    else:
        left = [each for each in overview.alerts if not each.ack and not each.quiet]
        if not left:
            raise CannotAnswer("\n".join([say("bot.alerts.nothing_to_ack", language), *_missing(overview, language)]))
        if len(left) > 1:
            raise CannotAnswer(say("bot.alerts.choose_alert", language, lines=_candidates(left, overview, question)))
        (chosen,) = left
    by = _who(question)
    await desk.ack(chosen.keys, by, why)
    title = chosen.alert.title or say("alerts.untitled", language)
    lines = [say("bot.alerts.acked_now", language, by=by, title=title, id=short_ids(overview.alerts)[chosen.key])]
    if chosen.ack and chosen.ack.by != by:
        lines.append(say("bot.alerts.acked_before", language, by=chosen.ack.by))
    return "\n".join(lines)
