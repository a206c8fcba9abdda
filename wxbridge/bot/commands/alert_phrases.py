"""What the commands about alerts say, in every language."""

from __future__ import annotations

from wxbridge.bot.phrases import quoted
from wxbridge.core.text.i18n import Language

_WRITTEN = ("text", "id", "query")
"""Fields that are what somebody wrote."""

_WORDS: dict[str, tuple[str, str]] = {
    # ---- alerts
    "nothing_fires": ("✅ Nothing fires.", "✅ 当前没有告警。"),
    "none_fulfils": (
        "None of the {n} alerts that fire fulfils {query}.",
        "当前 {n} 条告警中没有符合 {query} 的。",
    ),
    "quiet": (", {n} of them silenced", "，其中 {n} 条已静默"),
    "more": (
        "… and {n} more; ask for some of them: alerts severity=critical",
        "……另有 {n} 条，可加条件查看：告警 severity=critical",
    ),
    "missing": ("⚠️ {name} did not answer: {why}", "⚠️ {name} 没有应答：{why}"),
    "missing_plainly": ("⚠️ {name} did not answer", "⚠️ {name} 没有应答"),
    "silenced": ("🔕 silenced ({ids})", "🔕 已静默（{ids}）"),
    "silenced_elsewhere": ("🔕 silenced in Grafana", "🔕 已在 Grafana 中静默"),
    "inhibited": ("🔕 inhibited by another", "🔕 被其他告警抑制"),
    "acked": ("✋ acked by {by}", "✋ {by} 已认领"),
    "acked_why": ("✋ acked by {by}: {comment}", "✋ {by} 已认领：{comment}"),
    "unlisted": ("its monitor does not list it now", "监控端当前未列出"),
    # ---- finding one
    "which_alert": (
        "Say which alert: {command} ID, with an id as `alerts` shows it.",
        "请写明是哪条告警：{command} 编号（编号见“告警”）。",
    ),
    "no_alert": (
        "No alert that fires has the id {id}; `alerts` shows those there are.",
        "没有编号为 {id} 的告警，可用“告警”查看。",
    ),
    "several_alerts": (
        "{id} may be one of several; give more of its id:\n{lines}",
        "{id} 对应多条告警，请多写几位：\n{lines}",
    ),
    "choose_alert": ("Which one? Give its id:\n{lines}", "是哪一条？请写编号：\n{lines}"),
    # ---- matchers
    "bad_matcher": (
        '{text} is no matcher; write one like team=db, severity!=info or severity=~"crit.*".',
        '{text} 不是匹配条件，请写成 team=db、severity!=info 或 severity=~"crit.*" 这样。',
    ),
    "bad_expression": ("{text}: the regular expression is broken: {why}", "{text}：正则表达式有误：{why}"),
    "too_many": ("That is too long: at most {n} matchers or words.", "太长了：最多 {n} 个条件。"),
    # ---- silence
    "silence_what": (
        "Say what to silence and how long: silence team=db 2h why, or silence ID 2h.",
        "请写明静默什么、多久：静默 team=db 2小时 原因，或 静默 编号 2小时。",
    ),
    "silence_time": (
        "Say how long: 30m, 2h, 1d, or until 18:00.",
        "请写明时长：30m、2小时、1天，或 到18:00。",
    ),
    "over_already": (
        "That would be over already: {end} is not in the future.",
        "{end} 已经过去，请写未来的时间。",
    ),
    "too_long": ("From the chat it may be a year at most.", "从聊天中设置最长一年。"),
    "no_time": ("{text} is no time that there is.", "{text} 不是有效的时间。"),
    "everything": (
        "This would silence everything; give at least one matcher that says what, such as alertname=DiskFull.",
        "这会静默所有告警，请至少写一个具体条件，例如 alertname=DiskFull。",
    ),
    "silenced_now": (
        "🔕 Silenced until {end}: {matchers}",
        "🔕 已静默至 {end}：{matchers}",
    ),
    "covers": ("It covers {n} of the alerts that fire now.", "当前覆盖 {n} 条告警。"),
    "covers_none": ("It covers none of the alerts that fire now.", "当前没有符合的告警。"),
    "to_end": ("To end it: unsilence {id}", "解除：取消静默 {id}"),
    "here_only": (
        "⚠️ Silenced by this bridge only. {why}",
        "⚠️ 仅在本桥接中静默。{why}",
    ),
    # ---- unsilence, silences
    "no_silences": ("There are no silences.", "没有静默。"),
    "silence": ("{id} until {end}: {matchers}", "{id} 至 {end}：{matchers}"),
    "silence_from": ("{id} from {start} until {end}: {matchers}", "{id} 自 {start} 至 {end}：{matchers}"),
    "by": (" ({by})", "（{by}）"),
    "by_why": (" ({by}: {comment})", "（{by}：{comment}）"),
    "more_silences": ("… and {n} more", "……另有 {n} 条"),
    "which_silence": ("Which one? unsilence ID:\n{lines}", "解除哪一条？取消静默 编号：\n{lines}"),
    "no_silence": (
        "There is no silence {id} that is not over; `silences` shows those there are.",
        "没有编号为 {id} 的有效静默，可用“静默列表”查看。",
    ),
    "several_silences": (
        "{id} may be one of several; give more of its id:\n{lines}",
        "{id} 对应多条静默，请多写几位：\n{lines}",
    ),
    "unsilenced": ("🔔 Ended: {matchers}", "🔔 已解除：{matchers}"),
    "over_meanwhile": ("The silence {id} was over already.", "静默 {id} 已经结束。"),
    # ---- ack
    "nothing_to_ack": ("Nothing fires that nobody looks after.", "没有待认领的告警。"),
    "acked_now": (
        "✋ {by} looks after {title} ({id}). It is not repeated until it resolves.",
        "✋ {by} 已认领 {title}（{id}），恢复前不再重复提醒。",
    ),
    "acked_before": ("Before, {by} did.", "此前由 {by} 认领。"),
}


def say(key: str, language: Language, **fields: object) -> str:
    """A fixed phrase in the reader's language; what somebody wrote is cut where it is long."""
    english, chinese = _WORDS[key]
    fields |= {name: quoted(str(fields[name])) for name in _WRITTEN if name in fields}
    return (chinese if language == "zh" else english).format(**fields)
