"""The commands about alerts: what fires, silencing it, looking after it.

A silence is kept by the bridge, for what any monitor sends and for what it repeats itself; and in Alertmanager and
Grafana too, where they are configured and it concerns them, so that nobody else is told either. All ends of it are one
for those who ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from wxbridge.alerts.alert_text import write_counts, write_labels_of, write_text, write_times
from wxbridge.alerts.firing import (
    FiringAlert,
    FiringOverview,
    ReportedBy,
    covers_everything,
    speaks_of_bridge_labels,
    speaks_of_grafana,
)
from wxbridge.alerts.kept_silences import KeptSilence, SilenceMade, SilenceRequest
from wxbridge.alerts.severity import emoji_of, word_of
from wxbridge.bot.command import Choices, ChooseOne, Command, Reply, number_lines
from wxbridge.bot.commands.alert_arguments import (
    MAX_COMMENT_CHARS,
    AlertQuery,
    find_by_id,
    parse_query,
    parse_silence,
)
from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import AlertGroup, Text
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import Language, say, say_list
from wxbridge.core.text.splitting import shorten

MAX_ALERTS = 15
"""That are listed."""
MAX_CHOICES = 8
"""That are listed where one is to be chosen."""
MAX_SILENCES = 15
MIN_ID_CHARS = 5
MIN_SILENCE_ID_CHARS = 8
MAX_TITLE_CHARS = 80
MAX_LABELS = 4
MAX_SHOWN_COMMENT_CHARS = 80


# ---------------------------------------------------------------- alerts


async def list_alerts(command: Command) -> Reply:
    """Say what fires now; of a single one all there is to tell."""
    query = parse_query(command.text, command.language)
    overview = await command.services.alerts.overview()
    found = [each for each in overview.alerts if query.matches(each)]
    choices: Choices | None = None
    if query and len(found) == 1:
        lines = [_describe_whole(found[0], overview, command)]
    elif found:
        quiet = sum(each.quiet for each in found)
        head = write_counts([each.alert for each in found], command.language)
        head += command.say("bot.alerts.quiet", n=quiet) if quiet else ""
        lines = [head, *_list_some(found, overview, command, MAX_ALERTS, "bot.alerts.more")]
        choices = _choose_from(found[:MAX_ALERTS], "alerts")
    elif overview.alerts:
        lines = [command.say("bot.alerts.none_fulfils", n=len(overview.alerts), query=shorten(str(query)))]
    else:
        # Who did not answer may know of something.
        lines = [] if overview.missing else [command.say("bot.alerts.nothing_fires")]
    lines += missing_lines(overview.missing, command.language)
    if overview.left_out:
        lines.append(command.say("alerts.left_out", n=overview.left_out))
    return Reply((Text("\n".join(lines)),), choices=choices)


def _choose_from(found: Sequence[FiringAlert], command: str) -> Choices:
    return Choices(tuple(each.key for each in found), command, ("alerts", "silence", "ack"))


def missing_lines(missing: Mapping[str, str], language: Language) -> Iterable[str]:
    """Say who did not answer, and why."""
    for name, why in missing.items():
        # Many a Grafana has no alerts, or does not show them to our token.
        key = "bot.alerts.missing_plainly" if name == "Grafana" else "bot.alerts.missing"
        yield say(key, language, name=name, why=tell_error(why, language))


def short_ids(alerts: Sequence[FiringAlert]) -> dict[str, str]:
    """Give, by key, what people write for it: so many of its digits that all differ."""
    keys = [key for each in alerts for key in each.keys]
    length = _find_length(keys, MIN_ID_CHARS, 32)
    return {key: key[:length] for key in keys}


def _find_length(ids: Sequence[str], least: int, most: int) -> int:
    return next((n for n in range(least, most) if len({each[:n] for each in ids}) == len(set(ids))), most)


def _list_some(
    found: Sequence[FiringAlert], overview: FiringOverview, command: Command, limit: int, more: str
) -> list[str]:
    ids = short_ids(overview.alerts)
    lines = number_lines(_describe_alert(each, ids[each.key], command) for each in found[:limit])
    return [*lines, command.say(more, n=len(found) - limit)] if len(found) > limit else lines


def _describe_alert(each: FiringAlert, short: str, command: Command) -> str:
    alert = replace(each.alert, starts_at=each.since)
    title = shorten(alert.title or command.say("alerts.untitled"), MAX_TITLE_CHARS)
    since = write_times(alert, command.language, command.settings.timezone, command.at)
    severity = word_of(alert, command.language)
    labels = write_labels_of(alert, command.language, f"{severity}\n{title}", MAX_LABELS)
    words = [severity, title, labels, since, *_marks(each, command)]
    return f"{emoji_of(alert)} [{short}] {' · '.join(filter(None, words))}"


def _describe_whole(each: FiringAlert, overview: FiringOverview, command: Command) -> str:
    alert = replace(each.alert, starts_at=each.since)
    if each.posted is not None:
        # What was posted says whose it is, and what else it links to.
        alert = replace(alert, links=each.posted.links, sender=each.posted.sender)
    group = AlertGroup(alert.source, "", alert.title, (alert,))
    pages = command.services.alerts.pages if each.posted else None
    text = write_text(group, command.language, command.settings.timezone, command.at, pages)
    return "\n".join([text, *_marks(each, command), f"[{short_ids(overview.alerts)[each.key]}]"])


def _marks(each: FiringAlert, command: Command) -> list[str]:
    marks = [command.say("bot.alerts.broken")] if each.alert.state.casefold() == "error" else []
    if each.silenced_by:
        ids = dict.fromkeys(one[:MIN_SILENCE_ID_CHARS] for one in each.silenced_by)
        marks.append(command.say("bot.alerts.silenced", ids=say_list(ids, command.language)))
    if each.inhibited:
        marks.append(command.say("bot.alerts.inhibited"))
    if each.ack:
        key = "bot.alerts.acked_why" if each.ack.comment else "bot.alerts.acked"
        marks.append(command.say(key, by=each.ack.by, comment=shorten(each.ack.comment, MAX_SHOWN_COMMENT_CHARS)))
    if each.unlisted:
        marks.append(command.say("bot.alerts.unlisted"))
    return marks


def _find_alert(word: str, overview: FiringOverview, command: Command) -> FiringAlert:
    """Find the alert of an id. Raises `CannotAnswer` where it is none or several."""
    found = find_by_id(word, overview.alerts)
    if not found:
        raise command.refuse("bot.alerts.no_alert", id=shorten(word))
    return _choose_alert(found, overview, command, "bot.alerts.several_alerts", id=shorten(word))


def _choose_alert(
    found: Sequence[FiringAlert], overview: FiringOverview, command: Command, key: str, **fields: str
) -> FiringAlert:
    """Give the only alert. Raises `CannotAnswer`, with the list, where there are several."""
    if len(found) > 1:
        lines = _list_some(found, overview, command, MAX_CHOICES, "bot.alerts.more_silences")
        text = command.say(key, lines="\n".join(lines), **fields)
        raise ChooseOne(text, _choose_from(found[:MAX_CHOICES], "ack" if key == "bot.alerts.choose_alert" else ""))
    return found[0]


# ---------------------------------------------------------------- silence


async def silence(command: Command) -> str:
    """Silence by matchers, or one alert by its id."""
    asked = parse_silence(command.text, command.at, command.language)
    query = parse_query(asked.what, command.language)
    overview = await command.services.alerts.overview()
    matchers, in_alertmanager = _choose_matchers(query, overview, command)
    if covers_everything(matchers):
        raise command.refuse("bot.alerts.everything")
    request = SilenceRequest(
        tuple(matchers),
        command.at.timestamp(),
        asked.ends_at.timestamp(),
        _name(command),
        asked.comment,
        in_alertmanager=in_alertmanager,
        in_grafana=speaks_of_grafana(matchers, overview.alerts),
    )
    made = await command.services.alerts.silence(request)
    await command.record(AuditAction.SILENCED, ", ".join(map(str, matchers)))
    covered = sum(each.fulfils(matchers) for each in overview.alerts)
    end = command.format_moment(asked.ends_at)
    lines = [
        command.say("bot.alerts.silenced_now", end=end, matchers=", ".join(map(str, matchers))),
        command.say("bot.alerts.covers" if covered else "bot.alerts.covers_none", n=covered),
        command.say("bot.alerts.to_end", id=made.id[:MIN_SILENCE_ID_CHARS]),
    ]
    return "\n".join([*lines, *problem_lines(made, command.language)])


def problem_lines(made: SilenceMade, language: Language) -> Iterable[str]:
    """Say who does not keep a silence that they were asked to keep, and why."""
    for name, why in made.problems.items():
        key = "bot.alerts.not_there_too" if made.ids_elsewhere else "bot.alerts.here_only"
        yield say(key, language, name=name, why=tell_error(why, language))


def _name(command: Command) -> str:
    return command.sender.name or command.sender.id


def _choose_matchers(query: AlertQuery, overview: FiringOverview, command: Command) -> tuple[Sequence[Matcher], bool]:
    """Give the matchers of a silence, and whether they mean something to Alertmanager too."""
    if not query.words:
        return query.matchers, not speaks_of_bridge_labels(query.matchers)
    if query.matchers or len(query.words) > 1:
        raise command.refuse("bot.alerts.bad_matcher", text=shorten(query.words[0]))
    found = _find_alert(query.words[0], overview, command)
    return found.silencing_matchers(), ReportedBy.ALERTMANAGER in found.places


# ---------------------------------------------------------------- silences, unsilence


async def list_silences(command: Command) -> Reply | str:
    """List the silences that are not over."""
    overview = await command.services.alerts.list_silences()
    missing = list(missing_lines(overview.missing, command.language))
    if not overview.silences:
        return "\n".join(missing or [command.say("bot.alerts.no_silences")])
    text = "\n".join([_describe_silences(overview.silences, command), *missing])
    return Reply((Text(text),), choices=_choose_silence(overview.silences[:MAX_SILENCES]))


def _choose_silence(kept: Sequence[KeptSilence], command: str = "") -> Choices:
    return Choices(tuple(each.ids[0] for each in kept), command, ("unsilence",))


def _describe_silences(kept: Sequence[KeptSilence], command: Command, limit: int = MAX_SILENCES) -> str:
    length = _find_length([one for each in kept for one in each.ids], MIN_SILENCE_ID_CHARS, 36)
    lines = number_lines(f"🔕 {_describe_silence(each, length, command)}" for each in kept[:limit])
    if len(kept) > limit:
        lines.append(command.say("bot.alerts.more_silences", n=len(kept) - limit))
    return "\n".join(lines)


def _describe_silence(silence: KeptSilence, id_chars: int, command: Command) -> str:
    is_pending = silence.starts_at and silence.starts_at > command.at
    line = command.say(
        "bot.alerts.silence_from" if is_pending else "bot.alerts.silence",
        id=silence.ids[0][:id_chars],
        start=command.format_moment(silence.starts_at) if silence.starts_at else "",
        end=command.format_moment(silence.ends_at) if silence.ends_at else "?",
        matchers=", ".join(silence.matchers),
    )
    if not silence.created_by:
        return line
    comment = "" if silence.comment == "wxbridge" else shorten(silence.comment, MAX_SHOWN_COMMENT_CHARS)
    return line + command.say(
        "bot.alerts.by_why" if comment else "bot.alerts.by", by=silence.created_by, comment=comment
    )


async def unsilence(command: Command) -> str:
    """End the silence whose id begins with a word, wherever it is kept."""
    word = command.words[0].lower() if command.words else ""
    overview = await command.services.alerts.list_silences()
    missing = list(missing_lines(overview.missing, command.language))
    if not word:
        if not overview.silences:
            return "\n".join(missing or [command.say("bot.alerts.no_silences")])
        lines = _describe_silences(overview.silences, command, MAX_CHOICES)
        choices = _choose_silence(overview.silences[:MAX_CHOICES], "unsilence")
        raise ChooseOne(command.say("bot.alerts.which_silence", lines=lines), choices)
    found = [each for each in overview.silences if any(one.lower().startswith(word) for one in each.ids)]
    found = [each for each in found if any(one.lower() == word for one in each.ids)] or found
    if not found:
        raise CannotAnswer("\n".join([command.say("bot.alerts.no_silence", id=shorten(word)), *missing]))
    if len(found) > 1:
        lines = _describe_silences(found, command, MAX_CHOICES)
        choices = _choose_silence(found[:MAX_CHOICES], "unsilence")
        raise ChooseOne(command.say("bot.alerts.several_silences", id=shorten(word), lines=lines), choices)
    if not await command.services.alerts.unsilence(found[0]):
        return command.say("bot.alerts.over_meanwhile", id=found[0].ids[0][:MIN_SILENCE_ID_CHARS])
    await command.record(AuditAction.UNSILENCED, ", ".join(found[0].matchers))
    return command.say("bot.alerts.unsilenced", matchers=", ".join(found[0].matchers))


# ---------------------------------------------------------------- ack


async def acknowledge(command: Command) -> str:
    """Note who looks after an alert; without an id, after the only one that nobody looks after."""
    word, _, comment = " ".join(command.text.split()).partition(" ")
    overview = await command.services.alerts.overview()
    left = [each for each in overview.alerts if not each.ack and not each.quiet]
    if word:
        chosen = _find_alert(word, overview, command)
    elif left:
        chosen = _choose_alert(left, overview, command, "bot.alerts.choose_alert")
    else:
        missing = missing_lines(overview.missing, command.language)
        raise CannotAnswer("\n".join([command.say("bot.alerts.nothing_to_ack"), *missing]))
    by, title = _name(command), chosen.alert.title or command.say("alerts.untitled")
    await command.services.alerts.acknowledge(chosen.keys, by, comment[:MAX_COMMENT_CHARS])
    await command.record(AuditAction.ACKNOWLEDGED, title)
    lines = [command.say("bot.alerts.acked_now", by=by, title=title, id=short_ids(overview.alerts)[chosen.key])]
    if chosen.ack and chosen.ack.by != by:
        lines.append(command.say("bot.alerts.acked_before", by=chosen.ack.by))
    return "\n".join(lines)
