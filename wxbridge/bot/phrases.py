"""What the chat says by itself, in every language."""

from __future__ import annotations

from wxbridge.core.text.i18n import Language

_WORDS: dict[str, tuple[str, str]] = {
    "moment": ("One moment …", "请稍候……"),
    "hint": ("Write `help` for what I can do.", "发送“帮助”查看可用命令。"),
    "unknown": ("I do not know “{word}”. Write `help` for what I can do.", "不认识“{word}”。发送“帮助”查看可用命令。"),
    "near": ("I do not know “{word}”. Did you mean {words}?", "不认识“{word}”。是不是想用 {words}?"),
    "or": (" or ", " 或 "),
    "refused_admins": (
        "`{name}` is for the master and those under `chat.admins` in jobs.yaml.",
        "“{name}”仅限管理员使用(jobs.yaml 的 `chat.admins`)。",
    ),
    "refused_promql": (
        "`{name}` is for the master and those under `chat.promql` in jobs.yaml.",
        "“{name}”仅限 jobs.yaml 中 `chat.promql` 所列的人使用。",
    ),
    "doubt_stranger": (
        "Being called “{word}” proves nothing: list the id {id}, or a remark given by the bot's owner.",
        "仅昵称为“{word}”不能证明身份:请在配置中写 id {id},或机器人账号为其设置的备注。",
    ),
    "doubt_several": (
        "Several contacts are “{word}”: list the id {id} instead.",
        "有多个联系人都是“{word}”:请改写 id {id}。",
    ),
    "doubt_other": (
        "“{word}” was another contact before: list the id {id} if this is the one.",
        "“{word}”此前是另一位联系人:如确认无误,请改写 id {id}。",
    ),
    "limited": (
        "Those were more than {rate} commands. I am silent for you until it is less.",
        "命令过于频繁(超过 {rate}),请稍后再试,期间不再回复。",
    ),
    "tripped": (
        "The same again and again: I do not answer {who} for {time}.",
        "内容反复相同,疑似机器人对话:{time}内不再回复 {who}。",
    ),
    "too_many": ("Only the first {n} commands of one message are run.", "一条消息最多执行前 {n} 条命令。"),
    "too_long": (
        "`{name}`: that is too long; a command may have {n} characters.",
        "“{name}”:内容过长,一条命令最多 {n} 个字符。",
    ),
    "late": ("`{name}` had to wait too long; please ask again.", "“{name}”等待过久,未执行,请重新发送。"),
    "timeout": ("`{name}` did not finish within {time}.", "“{name}”在 {time}内未完成。"),
    "failed": ("Something went wrong (see the log).", "出错了(详见日志)。"),
    "nothing": ("Done.", "完成。"),
    "help_title": ("What I can do (`help NAME` tells more):", "可用命令(“帮助 命令”查看用法):"),
    "help_room": ("In a room, mention me{prefix}.", "群里请先 @我{prefix}。"),
    "help_prefix": (" or begin with {prefix}", "或以 {prefix} 开头"),
    "help_also": ("also: {words}", "也可写作:{words}"),
    "help_help": ("this list, or how a command is used", "命令列表,或某条命令的用法"),
    "help_usage": ("help\nhelp whoami", "帮助\n帮助 我是谁"),
    "whoami_help": ("your id, for jobs.yaml", "你的 id,可填入 jobs.yaml"),
    "here_help": ("this chat's id, for jobs.yaml", "本会话的 id,可填入 jobs.yaml"),
    "whoami": ("You are {name} ({id}) on {channel}.", "你是 {name}({id}),渠道 {channel}。"),
    "roles": ("Roles: {roles}", "权限:{roles}"),
    "no_roles": ("none", "无"),
    "into_file": ("For jobs.yaml:", "可填入 jobs.yaml:"),
    "here_room": ("This is the room {topic} ({id}) on {channel}.", "本群:{topic}({id}),渠道 {channel}。"),
    "here_direct": ("This is a direct chat with {name} ({id}) on {channel}.", "与 {name}({id})的私聊,渠道 {channel}。"),
    "here_none": ("No target of jobs.yaml is answered here yet.", "jobs.yaml 中尚无目标在此应答。"),
    "here_target": ("In jobs.yaml it is the target {target}.", "在 jobs.yaml 中的目标名:{target}。"),
}


QUOTED = 100
"""Characters of what somebody wrote that an answer repeats: nobody has the bot fill a room with it."""


def quoted(text: str) -> str:
    """What somebody wrote, as an answer names it: on one line, and cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= QUOTED else f"{line[: QUOTED - 1]}…"


def say(key: str, language: Language, **fields: object) -> str:
    """A fixed phrase in the asker's language."""
    english, chinese = _WORDS[key]
    return (chinese if language == "zh" else english).format(**fields)
