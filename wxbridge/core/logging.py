"""Logging to standard error: one line an event, for people or as JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, Literal, TextIO

from wxbridge.core.lean_imports import stand_ins
from wxbridge.core.text.error_words import tell_sentence
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, Language, load_texts

# rich is for tracebacks with local variables, which may hold secrets: never printed here, and 6 MB. Nothing here is a
# greenlet, and the library of C++ that its package brings is 2 MB.
with stand_ins({"rich": None, "greenlet": None} if "structlog" not in sys.modules else {}):
    import structlog

_HIDDEN_FIELDS = ("stack", "exc_info", "logger_name")
LogFormat = Literal["auto", "text", "json"]
_REASONS = ("detail", "error", "why")
"""Fields that hold a sentence of ours."""
_words: dict[str, str] = {}
"""Our events in the reader's language, for the lines that people read; JSON keeps them as they are."""
_language: list[Language] = []
"""The reader's language where it is not the one that everything is written in."""


def speak(language: Language) -> None:
    """Write the lines for people in a language from now on."""
    is_english = language == FALLBACK_LANGUAGE
    _language[:] = [] if is_english else [language]
    _words.clear()
    if not is_english:
        english, own = load_texts(FALLBACK_LANGUAGE), load_texts(language)
        _words.update({text: own[key] for key, text in english.items() if key.startswith("log.")})


def _translate(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if not _language:
        return event
    event["event"] = _words.get(event.get("event", ""), event.get("event", ""))
    for name in _REASONS:
        if isinstance(event.get(name), str):
            event[name] = _tell(event[name])
    return event


def _tell(reason: str) -> str:
    return tell_sentence(reason, _language[0], sections=("errors",))


def _render_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """Write a line without colours, as structlog's ConsoleRenderer does behind those that stamp an event.

    All in one, as there is a line for each alert.
    """
    if event.get("exc_info"):
        event = structlog.processors.format_exc_info(logger, method, event)
    event = _translate(logger, method, event)
    now = datetime.now().isoformat()  # noqa: DTZ005 - people read it, on the machine's clock
    what, trace = event.pop("event", ""), event.pop("exception", None)
    rest = "".join([f" {name}={value!r}" for name, value in event.items() if name not in _HIDDEN_FIELDS])
    return f"{now} [{method:<8}] {what}{rest}" + (f"\n{trace}" if trace else "")


class _Writer:
    """Writes each line to a stream at once; that needs no lock, nor a flush where the stream is standard error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def debug(self, line: str) -> None:
        """Write a line."""
        self._stream.write(line + "\n")

    info = warning = error = critical = debug


def configure(log_format: LogFormat = "auto", level: str = "info", *, is_final: bool = False) -> None:
    """Send our events and those of libraries (warnings only) to standard error in one format.

    Args:
        log_format: `auto` is colours on a terminal, else plain text.
        level: The least level of our own events that is written: `debug`, `info`, `warning`, `error`.
        is_final: Whether nothing is configured again in this process; loggers are then not made anew for each line.
    """
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=log_format == "json"),
    ]
    renderer: Any
    if log_format == "text" or (log_format == "auto" and not sys.stderr.isatty()):
        shared, renderer = [], _render_line
    elif log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        shared.append(_translate)
        renderer = structlog.dev.ConsoleRenderer(
            colors=True,
            pad_event_to=0,
            repr_native_str=True,
            sort_keys=False,
            # Pretty tracebacks print local variables, and those may hold secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # Ours go the straight way: through `logging` a line costs three times as much, and there is one for each alert.
    writer = _Writer(sys.stderr)
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=lambda *_: writer,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=is_final,
    )
