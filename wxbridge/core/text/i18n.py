"""The fixed phrases of what people read, in every language."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh"]

_WORDS: dict[str, tuple[str, str]] = {
    "no_time": ("0 s", "0秒"),
    "no_value": ("no value", "无数据"),
    "more": ("… and {n} more", "……另有 {n} 条"),
    "repeat": ("(possible repeat) ", "(可能重复) "),
    "no_picture": ("The picture could not be made: {reason}", "图片生成失败:{reason}"),
    "picture_storm": (
        "🖼 Many alerts: only the first {n} in {time} come with a picture.",
        "🖼 告警较多:{time}内仅前 {n} 张图片发送。",
    ),
    "no_chinese_font": (
        "⚠️ This machine has no font with Chinese letters: in pictures they become empty boxes. There: `{advice}`",
        "⚠️ 运行 wxbridge 的机器没有中文字体，图片中的汉字会变成方框。请在该机器上执行：`{advice}`",
    ),
    "picture_now": ("now", "现在"),
    "picture_before": ("{span} before", "{span}前"),
    "days": ("{n} days", "{n} 天"),
    "one_day": ("1 day", "1 天"),
    "no_part": ("{what}: the picture could not be made: {reason}", "{what}：图片生成失败：{reason}"),
    "unrouted": ("No route matches this alert:", "没有路由匹配此告警:"),
    "no_target": ("There is no target {names}:", "没有名为 {names} 的目标:"),
    "no_recipient": (
        "{target} sends to those whom an alert names, and this one names nobody:",
        "{target} 按告警中的人名发送,但此告警没有写明接收人:",
    ),
    "refused": ("⚠️ {target} refused this ({reason}):", "⚠️ {target} 拒收,改由此处发送({reason}):"),
    "unreachable": ("⚠️ {target} cannot be reached for {time}:", "⚠️ {target} 已 {time} 无法送达,改由此处发送:"),
    "back_online": (
        "{channel} is back online after {time}: {delivered} messages delivered, {fallback} sent by fallback.",
        "{channel} 离线 {time} 后已恢复:补发 {delivered} 条,备用通道已发 {fallback} 条。",
    ),
    "scan": (
        "⚠️ {channel} needs a new scan. Until then its alerts come here.",
        "⚠️ {channel} 需要重新扫码登录,在此之前告警发到这里。",
    ),
    "storm": ("🌊 {n} alerts since {since}, in short:", "🌊 {since} 以来共 {n} 条告警,合并如下:"),
    "waits": (
        "⏳ {target}: {n} waiting, the oldest since {since} ({time})",
        "⏳ {target}:{n} 条待发,最早的自 {since} 起(已 {time})",
    ),
    "more_kinds": ("… and {kinds} more kinds, {n} alerts", "……另有 {kinds} 种共 {n} 条"),
    "passed": ("↩️ ×{n} fired and resolved meanwhile", "↩️ 期间触发又恢复 ×{n}"),
    "others": ("📨 ×{n} other messages", "📨 其他消息 ×{n}"),
    "state": ("state: {state}", "状态:{state}"),
    "cut": ("… {n} characters more; see `wxbridge outbox show`", "……余下 {n} 字,见 `wxbridge outbox show`"),
    "untitled": ("Alert without a title", "无标题告警"),
    "job_failed": ("Job {id} failed: {error}", "任务 {id} 失败:{error}"),
    "job_back": ("Job {id} works again.", "任务 {id} 已恢复。"),
    "config_invalid": (
        "The configuration was changed, but cannot be used. The bridge goes on with the old one:\n{what}",
        "配置文件已修改，但无法使用，继续使用原配置：\n{what}",
    ),
    "config_more": (
        "… and {n} more; `wxbridge check` shows all",
        "……另有 {n} 处，见 `wxbridge check`",
    ),
    "config_failed": (
        "The new configuration could not be taken over. The bridge goes on with the old one: {what}",
        "新配置无法启用，继续使用原配置：{what}",
    ),
    "config_back": (
        "The configuration is right again and in use.",
        "配置文件已恢复正常并已生效。",
    ),
    "config_later": (
        "Of the new configuration, {what} takes effect at the next start; the rest is in use.",
        "新配置中 {what} 将在下次启动时生效，其余已生效。",
    ),
    "config_orphans": (
        (
            "{n} messages wait for the target {what}, which the configuration no longer has. They are kept "
            "until they expire: put the target back, or drop them (`wxbridge outbox`)."
        ),
        "目标 {what} 已从配置中移除，仍有 {n} 条消息等待发送，保留至过期：请恢复该目标，或用 `wxbridge outbox` 丢弃。",
    ),
    "no_pictures": (
        "🖼 There is a picture, which this channel cannot show.",
        "🖼 此告警附有图片,但该渠道不支持图片。",
    ),
    "not_published": (
        "🖼 There is a picture; this channel shows it once `pictures.publish` is configured.",
        "🖼 此告警附有图片;配置 `pictures.publish` 后即可在此显示。",
    ),
    "remark": (
        "Message {id} to {target} was sent, but the service remarks: {note}",
        "发往 {target} 的消息 {id} 已发送,但服务提示:{note}",
    ),
    "many_expired": (
        "{n} messages to {target} expired unsent, the first is {first}; see `wxbridge outbox list --dead`",
        "发往 {target} 的 {n} 条消息过期未发(首条 {first}),见 `wxbridge outbox list --dead`",
    ),
    "dead": (
        "Message {id} to {target} could not be delivered: {error}",
        "发往 {target} 的消息 {id} 未能送达:{error}",
    ),
    "alerts": ("{n} alerts", "{n} 条告警"),
    "firing": ("{n} firing", "{n} 条触发"),
    "no_data": ("{n} no data", "{n} 条无数据"),
    "resolved": ("{n} resolved", "{n} 条恢复"),
    "counts": (" ({counts})", "({counts})"),
    "and": (", ", ","),
    "since": ("since {time}", "自 {time} 起"),
    "since_for": ("since {time} ({span})", "自 {time} 起(已 {span})"),
    "lasted": ("lasted {span} ({start} – {end})", "持续 {span}({start} – {end})"),
    "resolved_at": ("resolved at {time}", "{time} 恢复"),
    "sent_at": ("at {time}", "时间 {time}"),
    "sent_again_at": ("at {time} (no. {step})", "时间 {time}(第 {step} 次)"),
    "threshold": ("threshold: {value}", "阈值:{value}"),
    "template_failed": (
        "⚠️ The template of this text is broken; see the log or `wxbridge template render`.",
        "⚠️ 此消息的模板有误,详见日志或 `wxbridge template render`。",
    ),
}


def say(key: str, language: Language, **fields: object) -> str:
    """A fixed phrase in the reader's language."""
    english, chinese = _WORDS[key]
    return (chinese if language == "zh" else english).format(**fields)
