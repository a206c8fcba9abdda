"""Mails of smartd, mdadm, cron, logwatch and whatever else can write one (RFC 5322, MIME).

The subject is the title, the decoded text is the body. A mail is a message, unless its subject says that something is
wrong or well again: then it is an alert, of smartd and mdadm with the severity that their warnings have.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from email.utils import getaddresses
from itertools import islice

from wxbridge.alerts.sources import short_hash
from wxbridge.alerts.sources.documents import read_document
from wxbridge.alerts.sources.robots import CompatMessage, read_robot_message
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_text, read_text
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.text.html_text import html_to_text
from wxbridge.core.text.normalise import clean_text

NAME = "mail"

MAX_HEADER_CHARS, MAX_PARAMETER_CHARS = 8000, 1000
"""Of a header, and of one with parameters (`Content-Type`), that are read: what the library makes of a longer one takes
time by the square of its length."""
MAX_PARTS = 100
"""Parts of a mail that are looked at."""
MAX_CONTAINERS, MAX_BOUNDARIES = 10, 5000
"""Parts made of others, and lines that may begin a part: a mail of more is told as its text stands, for the library
compares each line with the boundaries of all that is open."""
MAX_PICTURE_BYTES = 5 * 1024 * 1024
"""Of an attached picture."""
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*[ \t]*:")
_CONTAINER = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_REPORT = re.compile(rb"^content-type:\s*message/delivery-status", re.IGNORECASE | re.MULTILINE)
"""Of a part in which each block between blank lines is one."""
_MBOX = re.compile(rb"\s*(?:>?From [^\n]*\n)?")
_SUBJECTS = ("subject", "title")
_BODIES = ("text", "body", "body-plain", "message", "content", "html", "body-html")
_HEADERS = ("subject", "from", "to", "cc", "message-id")
_ADDRESSEES = ("to", "recipient", "tos")


@dataclass(frozen=True)
class _Warner:
    """A program whose warnings are known by their subject, which names the event, and the host or the device."""

    name: str
    subject: re.Pattern[str]
    test: str
    """The event that is only a test."""


_WARNERS = (
    _Warner(
        "smartd",
        re.compile(r"SMART error \((?P<event>\w+)\) detected on host: (?P<host>\S+)"),
        "EmailTest",
    ),
    _Warner(
        "mdadm",
        re.compile(r"(?P<event>Fail|FailSpare|DegradedArray|SparesMissing|DeviceDisappeared|TestMessage) event on "
                   r"(?P<device>[^:\s]+):(?P<host>\S+)"),
        "TestMessage",
    ),
)  # fmt: skip
_DEVICE = re.compile(r"^Device: (/dev/\S+)", re.MULTILINE)


@dataclass(frozen=True)
class _Mail:
    """A mail in plain words."""

    subject: str
    text: str
    sender: str = ""
    recipients: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    message_id: str = ""


def parse(body: bytes, headers: Mapping[str, str]) -> AlertGroup:
    """Read a mail; also a form or a JSON object with `subject` and `text`, and a text without any header.

    Raises:
        BadBody: it says nothing, or is no text.
    """
    start = _MBOX.match(body)
    # What a mailbox writes before a mail is none of its headers.
    written = body[start.end() :] if start else body
    mail = _read_mail(written) if _HEADER.match(written) else _read_fields(body, headers)
    if not mail.subject and not mail.text and not mail.pictures:
        raise BadBody("There is nothing in the mail; a subject or a text was expected.")
    if not mail.subject:
        first, _, rest = mail.text.partition("\n")
        mail = replace(mail, subject=first.strip(), text=rest.strip("\n"))
    group = _read_warning(mail) or read_robot_message(
        CompatMessage(
            NAME, mail.text, mail.subject, mail.pictures, recipients=mail.recipients,
            labels=(("from", mail.sender),) if mail.sender else (),
        )
    )  # fmt: skip
    # A mail that is handed over twice, as its first answer was lost, has the same id.
    return replace(group, dedupe=short_hash(mail.message_id)) if mail.message_id else group


def _read_warning(mail: _Mail) -> AlertGroup | None:
    for warner in _WARNERS:
        found = warner.subject.search(mail.subject)
        if not found:
            continue
        is_test = found["event"] == warner.test
        labels = {"program": warner.name, **found.groupdict(), **({} if is_test else {"severity": "critical"})}
        if "device" not in labels and (device := _DEVICE.search(mail.text)):
            labels["device"] = device[1]
        alert = Alert(
            source=NAME,
            status=AlertStatus.FIRING,
            title=mail.subject,
            labels=labels,
            annotations={"message": mail.text} if mail.text else {},
            fingerprint="" if is_test else short_hash(labels),
            is_test=is_test,
        )
        return AlertGroup(NAME, alert.fingerprint, alert.title, (alert,), recipients=mail.recipients)
    return None


# ---------------------------------------------------------------- other shapes


def _read_fields(body: bytes, headers: Mapping[str, str]) -> _Mail:
    """Read what a script or an inbound mail service posts instead of a mail: its fields, or a text alone."""
    data = read_document(body, headers)
    if not isinstance(data, dict):
        return _Mail("", as_text(data).strip())
    fields = {as_text(name).lower(): as_text(value).strip() for name, value in data.items()}
    name = next((each for each in _BODIES if fields.get(each)), "")
    subject = next((fields[each] for each in _SUBJECTS if fields.get(each)), "")
    if not subject and not name:
        return _Mail("", as_text(data))
    text = fields.get(name, "")
    addressees = next((fields[each] for each in _ADDRESSEES if fields.get(each)), "")
    return _Mail(
        subject,
        html_to_text(text) if "html" in name else text,
        next(iter(_addresses([fields.get("from", "")])), ""),
        _names([addressees]),
        message_id=fields.get("message-id", ""),
    )


# ---------------------------------------------------------------- RFC 5322


class _CutHeaders(Compat32):
    """How the library keeps headers, each at most so long: it looks into them while it reads."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[: MAX_PARAMETER_CHARS if name.lower().startswith("content-") else MAX_HEADER_CHARS]


def _read_mail(body: bytes) -> _Mail:
    message = BytesParser(policy=_CutHeaders()).parsebytes(body, headersonly=_has_too_many_parts(body))
    plain: list[str] = []
    html: list[str] = []
    pictures: list[str] = []
    names: list[str] = []
    for part in _parts(message):
        kind, name = part.get_content_type(), _decode_words(part.get_filename() or "")
        if kind.startswith("image/") and len(_payload(part)) <= MAX_PICTURE_BYTES:
            pictures.append(f"data:{kind};base64,{base64.b64encode(_payload(part)).decode()}")
        elif name or part.get_content_disposition() == "attachment":
            names.append(f"📎 {name or kind}")
        elif kind == "text/html":
            html.append(html_to_text(_decode_part(part)))
        elif kind.startswith(("text/", "multipart/", "message/")):
            # Parts that are not taken apart are told as they stand.
            plain.append(_decode_part(part))
    texts = [text for text in plain if text.strip()] or html
    # The first of each name counts.
    raw = {name.lower(): str(value) for name, value in [*message.raw_items()][::-1]}
    header = {name: _decode_words(raw[name]) for name in _HEADERS if name in raw}
    return _Mail(
        " ".join(header.get("subject", "").split()),
        clean_text("\n".join([*(text.strip("\n") for text in texts), *names]).strip()),
        next(iter(_addresses([header.get("from", "")])), ""),
        _names([header.get(name, "") for name in ("to", "cc")]),
        tuple(pictures),
        header.get("message-id", "").strip(),
    )


def _has_too_many_parts(body: bytes) -> bool:
    blocks = body.count(b"\n\n") + body.count(b"\n\r\n") if _REPORT.search(body) else 0
    containers = sum(1 for _ in islice(_CONTAINER.finditer(body), MAX_CONTAINERS + 1))
    return containers > MAX_CONTAINERS or max(blocks, body.count(b"\n--")) > MAX_BOUNDARIES


def _parts(message: Message) -> Iterator[Message]:
    """The parts that are not made of others."""
    for index, part in enumerate(message.walk()):
        if index == MAX_PARTS:
            break
        if not part.is_multipart():
            yield part


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _decode_part(part: Message) -> str:
    return _decode(_payload(part), part.get_content_charset() or "").replace("\r\n", "\n")


def _decode(data: bytes, charset: str) -> str:
    """Decode bytes as their mail says, else as they look."""
    if charset.lower() in ("gb2312", "gbk", "gb_2312-80", "x-gbk", "cp936"):
        charset = "gb18030"  # what calls itself the smaller set often is of the larger
    if charset and charset.lower() not in ("us-ascii", "unknown-8bit"):
        try:
            return data.decode(charset)
        except (UnicodeDecodeError, LookupError, ValueError):
            pass
    try:
        return read_text(data)
    except BadBody:
        return data.decode(errors="replace")


def _decode_words(header: str) -> str:
    """Decode a header: encoded words (RFC 2047), and bytes that are none."""
    try:
        raw = header.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        raw = header.encode(errors="replace")
    text = re.sub(r"\r?\n(?=[ \t])", "", _decode(raw, ""))
    try:
        words = decode_header(text)
    except (MessageError, binascii.Error, ValueError):
        return clean_text(text)
    return clean_text("".join(_decode_word(word, charset) for word, charset in words))


def _decode_word(word: str | bytes, charset: str | None) -> str:
    if isinstance(word, str):
        return word
    if charset is not None:
        return _decode(word, charset)
    try:
        # How the library hands over what stands between encoded words.
        return word.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        return word.decode("latin-1")


def _names(headers: list[str]) -> tuple[str, ...]:
    """Whom a mail is to, by the part of the address before its @, each once."""
    found = (address.partition("@")[0].strip() for address in _addresses(headers))
    return tuple(dict.fromkeys(name for name in found if name))


def _addresses(headers: list[str]) -> list[str]:
    try:
        return [address for _, address in getaddresses([header[:MAX_HEADER_CHARS] for header in headers])]
    except RecursionError:
        # Of brackets within brackets.
        return []
