"""The command `promql`: an expression and perhaps a time range behind it, drawn as a chart."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from wxbridge.bot.command import Command, Reply
from wxbridge.core.credentials import strip_to_address
from wxbridge.core.model import Text
from wxbridge.core.pictures import ChartRequest
from wxbridge.core.text import time_range
from wxbridge.core.text.time_range import Span
from wxbridge.monitors.promql_syntax import InvalidPromQL, parse_expression, remove_strings

CHART_DEADLINE_SECONDS = 25.0
"""Others wait in the same chat while a Prometheus does not answer."""
MAX_SHOWN_CHARS = 200
"""Of an expression."""
_DIALECT = re.compile(r"\b(?:with|keep_metric_names|limit|default|if|ifnot)\b", re.IGNORECASE)
"""Words of MetricsQL, which a server may know though it is not understood here."""
_UNKNOWN_FUNCTION = "unknown function"
"""How the parser's word on a function begins that a newer server may know."""


async def show_chart(command: Command) -> Reply:
    """Draw an expression."""
    base, now, language = command.settings.prometheus_url, command.at, command.language
    if base is None:
        raise command.refuse("bot.promql.no_prometheus")
    expr, range_ = _split_range(command)
    span = time_range.parse_range(range_, now, language) if range_ else time_range.parse_ends(None, None, now)
    shown = " ".join(expr.split())
    shown = shown if len(shown) <= MAX_SHOWN_CHARS else shown[:MAX_SHOWN_CHARS] + "…"
    link = _link(base, expr, span)
    request = ChartRequest(
        expr,
        start=span.start.timestamp(),
        end=span.end.timestamp(),
        timezone=str(command.settings.timezone),
        language=language,
        deadline=CHART_DEADLINE_SECONDS,
    )
    caption = f"📈 {shown}\n{time_range.format_range(span, now, language)}\n{link}"
    return Reply((Text(caption), request.to_spec(link)), is_captioned=True)


def _split_range(command: Command) -> tuple[str, str | None]:
    """Split an expression from the range behind it. What is a part of the expression (`x offset 6h`) is none.

    Raises:
        CannotAnswer: it is no PromQL; the text says where.
    """
    text, now = command.text.strip(), command.at
    if not text or time_range.is_range(text, now):
        raise command.refuse("bot.promql.which")
    problems = []
    for expr, range_ in [*time_range.split_off_ranges(text, now), (text, None)]:
        try:
            parse_expression(expr)
        except InvalidPromQL as error:
            problems.append((expr, str(error)))
            if not (_DIALECT.search(remove_strings(expr)) or str(error).startswith(_UNKNOWN_FUNCTION)):
                continue
        return expr, range_
    expr, problem = problems[0]
    raise command.refuse("bot.promql.broken", why=problem, expr=expr[:MAX_SHOWN_CHARS])


def _link(base: str, expr: str, span: Span) -> str:
    """Give the page of Prometheus that draws the same."""
    query = {
        "g0.expr": expr,
        "g0.tab": "0",
        "g0.range_input": f"{round((span.end - span.start).total_seconds())}s",
        "g0.end_input": f"{span.end:%Y-%m-%d %H:%M:%S}",
    }
    return f"{strip_to_address(base)}/graph?{urlencode(query)}"
