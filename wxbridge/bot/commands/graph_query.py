"""The command `promql`: an expression and perhaps a time range behind it, drawn as a chart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from wxbridge.bot import time_range
from wxbridge.bot.command import Answer, CannotAnswer, Command, Permission, Question
from wxbridge.bot.commands.graph_pictures import chart_picture, prometheus_link
from wxbridge.core.model import Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.monitors.promql_syntax import InvalidPromQL, parse_expression, remove_strings

_LONGEST_EXPR = 200
"""Characters that are told."""
_DIALECT = re.compile(r"\b(?:with|keep_metric_names|limit|default|if|ifnot)\b", re.IGNORECASE)
"""Words of MetricsQL, which a server may know though it is not understood here."""
_UNKNOWN_FUNCTION = "unknown function"
"""How the parser's word on a function begins that a newer server may know."""


def promql_command(prometheus: str | None) -> Command:
    """The command. `prometheus` is the address of the configured one, for links; None where there is none."""

    async def run(question: Question) -> Sequence[Answer]:
        return _chart(question, prometheus)

    return Command.from_catalogue("promql", run, Permission.PROMQL)


def _chart(question: Question, prometheus: str | None) -> Sequence[Answer]:
    language, now = question.language, question.at
    if prometheus is None:
        raise CannotAnswer(say("bot.promql.no_prometheus", language))
    expr, told = _split_expr(question.text, now, language)
    span = time_range.parse(told, now, language) if told else time_range.between(None, None, now, language)
    link = prometheus_link(prometheus, expr, span)
    shown = " ".join(expr.split())
    shown = shown if len(shown) <= _LONGEST_EXPR else shown[:_LONGEST_EXPR] + "…"
    caption = f"📈 {shown}\n{time_range.written(span, now, language)}\n{link}"
    return [Text(caption), chart_picture(expr, span, str(now.tzinfo), language, link)]


def _split_expr(text: str, now: datetime, language: Language) -> tuple[str, str | None]:
    """An expression and the range behind it. What is a part of the expression (`x offset 6h`) is none.

    Raises:
        CannotAnswer: it is no PromQL; the text says where.
    """
    if not text.strip() or time_range.is_range(text, now):
        raise CannotAnswer(say("bot.promql.which", language))
    ways: list[tuple[str, str | None]] = [*time_range.endings(text, now), (text.strip(), None)]
    problems = []
    for expr, told in ways:
        try:
            parse_expression(expr)
        except InvalidPromQL as error:
            problems.append((expr, str(error)))
            if _DIALECT.search(remove_strings(expr)) or str(error).startswith(_UNKNOWN_FUNCTION):
                return expr, told
            continue
        return expr, told
    expr, problem = problems[0]
    raise CannotAnswer(say("bot.promql.broken", language, why=problem, expr=expr[:_LONGEST_EXPR]))
