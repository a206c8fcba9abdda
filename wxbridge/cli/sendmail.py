"""`sendmail`: hand a mail to the bridge, where cron, smartd, mdadm and others expect `/usr/sbin/sendmail`.

Runs on machines that have no jobs.yaml and must not fail for want of one: an address and a token are enough, from the
command line, the environment, or a small file. The options and the exit codes are sendmail's.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import HTTPException, InvalidURL
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import typer

from wxbridge.cli.common import config_path, reach_here, read_config, say
from wxbridge.cli.reader import tell
from wxbridge.config.types import reveal
from wxbridge.core.errors import WxbridgeError

EX_OK, EX_USAGE, EX_DATAERR, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 0, 64, 65, 75, 77, 78
"""Exit codes, of sysexits.h: what sendmail's callers know."""

SETTINGS_FILE = Path("/etc/wxbridge/sendmail.env")
"""Lines `WXBRIDGE_URL=…` and `WXBRIDGE_TOKEN=…`, for callers that pass no environment on (cron)."""
TIMEOUT_SECONDS = 20.0
"""For one try."""
PAUSES_SECONDS = (1.0, 4.0)
"""Before the second try and the third: a bridge that starts anew is back by then, and few callers try again."""
_WITH_VALUE = "fFrhbBCNoOpRXVLAD"
"""Sendmail's options that have a value: in the same word, or in the next."""
_GLUED = "oBbhdq"
"""Those of them that have it in the same word only."""
_MODES = {
    "bs": "there is no SMTP here; hand a mail over with `-t`, or with recipients as arguments",
    "bd": "there is no daemon to start: the bridge is `wxbridge run`",
    "bD": "there is no daemon to start: the bridge is `wxbridge run`",
    "bh": "there is no host status",
    "bt": "there are no addresses to test",
    "bv": "addresses are not verified: the bridge knows rooms and people",
}
"""What sendmail can do and this cannot, and what to do instead."""
_TARGET_QUERY = re.compile(r"(?:^|&)to=")


class SendmailError(WxbridgeError):
    """A mail could not be handed over; `code` is what sendmail's callers are told."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class MailOptions:
    """What was said on the command line."""

    url: str = ""
    token: str = ""
    to: str = ""
    """Targets of jobs.yaml, instead of the routes."""
    config: Path | None = None
    sender: str = ""
    name: str = ""
    """The sender's full name."""
    recipients: list[str] = field(default_factory=list)
    dot_ends: bool = True
    """Whether a line with a dot alone ends the mail."""
    is_done: bool = False
    """Whether there is nothing to do: a look at the queue, which is always empty."""


def read_options(arguments: Sequence[str]) -> MailOptions:
    """Read sendmail's options, in all the ways that its callers write them, and our own (`--url`, `--token`, …).

    Raises:
        SendmailError: something is asked for that there is not.
    """
    options = MailOptions()
    words = iter(arguments)
    for word in words:
        if word == "--":
            options.recipients += words
        elif word.startswith("--"):
            _read_own(word, words, options)
        elif not word.startswith("-") or word == "-":
            options.recipients.append(word)
        else:
            _read_short(word[1], word[2:], words, options)
    return options


def _read_own(word: str, words: Iterator[str], options: MailOptions) -> None:
    name, sign, value = word[2:].partition("=")
    if name not in ("url", "token", "to", "config"):
        raise SendmailError(f"there is no option {word}; there are --url, --token, --to and --config", EX_USAGE)
    value = value if sign else next(words, "")
    if name == "config":
        options.config = Path(value)
    else:
        setattr(options, name, value)


def _read_short(letter: str, rest: str, words: Iterator[str], options: MailOptions) -> None:
    if letter == "c":
        options.config = Path(rest or next(words, ""))
        return
    value = rest
    if letter in _WITH_VALUE and not rest and letter not in _GLUED:
        value = next(words, "")
    if letter == "b" and f"b{value[:1]}" in _MODES:
        raise SendmailError(_MODES[f"b{value[:1]}"], EX_USAGE)
    if letter in "fr":
        options.sender = value
    elif letter == "F":
        options.name = value
    elif letter == "i" or (letter == "o" and value.startswith("i")):
        options.dot_ends = False
    elif letter == "q" or (letter == "b" and value[:1] in ("p", "i")):
        options.is_done = True
    # What else there is says how a mail is delivered, which here is the bridge's.


# ---------------------------------------------------------------- the bridge


def find_bridge(options: MailOptions, environment: Mapping[str, str]) -> None:
    """Complete the address and the token: the command line, the environment, the settings file, jobs.yaml.

    Raises:
        SendmailError: there is no address, or a token that cannot be sent.
    """
    given = {**_read_settings(SETTINGS_FILE), **{name: text for name, text in environment.items() if text}}
    options.url = options.url or given.get("WXBRIDGE_URL", "")
    options.token = options.token or given.get("WXBRIDGE_TOKEN", "")
    path = options.config or config_path(None)
    if not options.url and (options.config or path.exists()):
        try:
            settings = read_config(path)
        except WxbridgeError as error:
            raise SendmailError(f"{path} cannot be read: {error}", EX_CONFIG) from None
        options.url = reach_here(f"http://{settings.server.listen}")
        for token in (settings.hooks.mail.token, settings.server.token):
            options.token = options.token or reveal(token)
    if not options.url:
        raise SendmailError(
            f"there is no address of a bridge; set WXBRIDGE_URL and WXBRIDGE_TOKEN, here or in {SETTINGS_FILE}",
            EX_CONFIG,
        )
    if not options.token.isprintable():
        raise SendmailError(
            "the token has signs in it that cannot be sent; look at --token and WXBRIDGE_TOKEN, here and in "
            f"{SETTINGS_FILE}",
            EX_CONFIG,
        )


def _read_settings(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, sign, value in pairs if sign}


def hook_url(options: MailOptions) -> str:
    """The address of the hook: the bridge's own is enough, and a query stays.

    Raises:
        SendmailError: it is no web address.
    """
    try:
        parts = urlsplit(options.url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SendmailError(f"{options.url!r} is no address; write one like http://bridge:8080", EX_CONFIG)
    path = parts.path.rstrip("/")
    query = parts.query
    if options.to and not _TARGET_QUERY.search(query):
        query = "&".join(filter(None, (query, f"to={quote(options.to, safe=',', errors='replace')}")))
    return parts._replace(path=path if "/hooks/" in path else f"{path}/hooks/mail", query=query, fragment="").geturl()


def post(url: str, token: str, mail: bytes) -> None:
    """Hand a mail over, once.

    Raises:
        SendmailError: the bridge did not take it; `EX_TEMPFAIL` where it may later.
    """
    headers = {"Content-Type": "message/rfc822"}
    if token:
        # As UTF-8, which the bridge compares; by itself a text goes as Latin-1.
        headers["Authorization"] = f"Bearer {token}".encode().decode("latin-1")
    try:
        with urlopen(Request(url, mail, headers, method="POST"), timeout=TIMEOUT_SECONDS):  # noqa: S310 - http(s) alone
            return
    except HTTPError as error:
        words = " ".join(error.read(500).decode(errors="replace").split())
        where = url.partition("?")[0]
        code = {400: EX_DATAERR, 413: EX_DATAERR, 401: EX_NOPERM, 403: EX_NOPERM, 404: EX_CONFIG}.get(
            error.code, EX_TEMPFAIL
        )
        raise SendmailError(f"{where} answered {error.code}: {words}", code) from None
    except (InvalidURL, ValueError) as error:
        raise SendmailError(f"{url.partition('?')[0]} cannot be asked: {error}", EX_CONFIG) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise SendmailError(f"{url.partition('?')[0]} cannot be reached: {reason}", EX_TEMPFAIL) from None


# ---------------------------------------------------------------- the mail


def read_mail(stream: BinaryIO, *, dot_ends: bool) -> bytes:
    """Read a mail to its end, which may be a line with a dot alone.

    Raises:
        SendmailError: there is none.
    """
    lines = iter(stream)
    if dot_ends:
        lines = takewhile(lambda line: line.rstrip(b"\r\n") != b".", lines)
    mail = b"".join(lines)
    if not mail.strip():
        raise SendmailError("there is no mail on standard input", EX_DATAERR)
    return mail


def complete_mail(mail: bytes, options: MailOptions) -> bytes:
    """Add the headers that a mail lacks: whom it is to, who sends it, when, and the id that tells it from others."""
    match = re.match(rb"(?:From [^\n]*\n)?((?:[!-9;-~]+[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*)", mail + b"\n")
    headers = match[1] if match else b""
    there = {line.partition(b":")[0].strip().lower() for line in headers.splitlines() if b":" in line}
    sender = options.sender or f"{_user()}@{socket.gethostname()}"
    wanted = {
        "From": f"{options.name} <{sender}>" if options.name else sender,
        "To": ", ".join(options.recipients),
        "Date": formatdate(localtime=True),
        "Message-ID": f"<{uuid.uuid4().hex}@{socket.gethostname()}>",
    }
    added = [
        f"{name}: {' '.join(text.split())}\n".encode(errors="replace")
        for name, text in wanted.items()
        if text and name.lower().encode() not in there
    ]
    # A text without headers begins after an empty line.
    return b"".join([*added, b"" if headers or mail.startswith((b"\n", b"\r\n")) else b"\n", mail])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


# ---------------------------------------------------------------- the command


def run_sendmail(arguments: Sequence[str], stream: BinaryIO, environment: Mapping[str, str]) -> int:
    """Do what sendmail does with a mail; the exit code is its own."""
    try:
        options = read_options(arguments)
        if options.is_done:
            say("the queue is empty: mails are handed to the bridge at once")
            return EX_OK
        find_bridge(options, environment)
        url = hook_url(options)
        mail = read_mail(stream, dot_ends=options.dot_ends)
        _hand_over(url, options.token, complete_mail(mail, options))
    except SendmailError as error:
        say(f"wxbridge sendmail: {tell(str(error))}")
        return error.code
    return EX_OK


def _hand_over(url: str, token: str, mail: bytes) -> None:
    for pause in (*PAUSES_SECONDS, None):
        try:
            post(url, token, mail)
        except SendmailError as error:
            if error.code != EX_TEMPFAIL or pause is None:
                raise
            time.sleep(pause)
        else:
            return


def sendmail(context: typer.Context) -> None:
    """Hand a mail on standard input to the bridge, in the place of `/usr/sbin/sendmail -t`.

    Options of sendmail's are understood (`-t -i -oi -f SENDER -F NAME`), and these:

    --url URL      the bridge's address   (else $WXBRIDGE_URL, /etc/wxbridge/sendmail.env, jobs.yaml)

    --token TOKEN  what it wants to be shown   (else $WXBRIDGE_TOKEN, the same)

    --to ops,boss  targets, instead of the routes

    -c FILE        the configuration file of a bridge on this machine

    Exit codes are sendmail's: 0, 64 (usage), 65 (no mail), 75 (try again later), 77 (wrong token), 78 (no address).
    """
    raise typer.Exit(run_sendmail(context.args, sys.stdin.buffer, os.environ))
