"""What all services of `/compat/…` have in common: a key, a message, and an answer in the service's own words."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from wxbridge.alerts.sources.forms import is_multipart, read_form
from wxbridge.alerts.sources.robots import CompatMessage, read_robot_message
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_text, read_json_or_text
from wxbridge.web.auth import count_wrong_token
from wxbridge.web.compat.keys import COMPAT_KEYS, CompatKeys, KeyHolder
from wxbridge.web.refusals import REFUSED, Refusal
from wxbridge.web.responses import CALLER, RequestRefused, read_body, tell_refusal
from wxbridge.web.services import SERVICES

PREFIX = "/compat"


class CompatService(ABC):
    """One service's language. Handlers are `take` for every route of `routes`."""

    name: ClassVar[str]
    """Of the first part of its paths, and of the source of its alerts."""
    key_error: ClassVar[int]
    """Its number for a wrong key."""
    attempts_error: ClassVar[int]
    """Its number for too many of those."""
    message_error: ClassVar[int]
    """Its number for what cannot be read."""

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Give the service's own paths, below `PREFIX` and its name."""

    @abstractmethod
    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:
        """Read the key that a request shows; empty where it shows none."""

    @abstractmethod
    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:
        """Read what a request says. Raises `BadBody` where it says nothing."""

    async def fetch_parts(self, request: web.Request, fields: Mapping[str, Any]) -> None:  # noqa: B027 - most: nothing
        """Fetch what a request names and does not hold. Raises `StorageError`."""

    @abstractmethod
    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:
        """Say in the service's words that a message was taken: HTTP 200, compact JSON."""

    @abstractmethod
    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say in the service's words that it was not, with `key_error`, `attempts_error` or `message_error`."""

    async def read_fields(self, request: web.Request) -> dict[str, Any]:
        """Read a request's query and body as one mapping, whatever its content type says; the body's fields come first.

        Raises:
            BadBody: the body is neither a JSON object nor a form.
            RequestRefused: it did not arrive in time.
        """
        body = await read_body(request)
        fields: dict[str, Any] = dict(request.query)
        if not body.strip():
            return fields
        if is_multipart(body):
            return fields | read_form(body)
        if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
            data = read_json_or_text(body)
            if not isinstance(data, dict):
                raise BadBody("The body is no JSON object.")
            return fields | data
        if b"=" in body[:200]:
            return fields | read_form(body)
        raise BadBody("The body is neither a JSON object nor a form.")

    def find_holder(self, keys: CompatKeys, request: web.Request, fields: Mapping[str, Any]) -> KeyHolder | None:
        """Find whose key a request shows."""
        return keys.find(self.read_key(request, fields))

    async def take(self, request: web.Request) -> web.Response:
        """Store what a request says, and answer.

        Raises:
            RequestRefused: the body did not arrive in time.
            StorageError: it could not be stored.
        """
        problem = ""
        try:
            fields = await self.read_fields(request)
        except BadBody as error:
            # A key in the path or the query may be right all the same; a stranger is told nothing.
            fields, problem = dict(request.query), str(error)
        holder = self.find_holder(request.app[COMPAT_KEYS], request, fields)
        if holder is None:
            return self.refuse_key(request)
        if problem:
            return self.refuse_message(request, problem)
        request[CALLER] = holder.name
        try:
            await self.fetch_parts(request, fields)
            message = self.read_message(request, fields)
            await store_message(request, holder, message)
        except BadBody as error:
            return self.refuse_message(request, str(error))
        return self.answer(request, message)

    def refuse_key(self, request: web.Request) -> web.Response:
        """Answer to a wrong key, and count it; with 429 where too many came from there."""
        refused = request.app[SERVICES].metrics.refused
        try:
            count_wrong_token(request, f"{PREFIX}/{self.name}")
        except RequestRefused as error:
            refused.labels(error.reason).inc()
            response = self.refuse(self.attempts_error, tell_refusal(request.config_dict, str(error)))
            response.set_status(error.status)
            response.headers.update(error.headers or {})
            return response
        refused.labels("unauthorised").inc()
        sentence = tell_refusal(request.config_dict, "the key is wrong: it is none of hooks.compat")
        return self.refuse(self.key_error, sentence)

    def refuse_message(self, request: web.Request, sentence: str) -> web.Response:
        """Answer to what cannot be read; the log and the operators hear of it."""
        request.app[SERVICES].metrics.refused.labels("bad_body").inc()
        request[REFUSED] = Refusal(f"{PREFIX}/{self.name}", sentence)
        return self.refuse(self.message_error, tell_refusal(request.config_dict, sentence))


async def store_message(request: web.Request, holder: KeyHolder, message: CompatMessage) -> None:
    """Have a message told: to those whom it names and jobs.yaml knows, else to the key's targets, else by the routes.

    Raises:
        BadBody: there is nothing in it.
        StorageError: it could not be stored.
    """
    if not (message.text.strip() or message.title.strip() or message.pictures):
        raise BadBody("There is nothing in the message; a text or a picture was expected.")
    services = request.app[SERVICES]
    config = services.state.config
    theirs = find_targets_of_people(config.targets, config.people.persons, message.recipients)
    others = holder.to if not theirs or any(not theirs.get(name) for name in message.recipients) else ()
    targets = list(dict.fromkeys([*(target for some in theirs.values() for target in some), *others]))
    group = read_robot_message(message, holder.name)
    accepted = await services.alerts.accept_group(group, targets)
    services.metrics.count_accepted(message.source, accepted.queued, accepted.duplicates)


def find_targets_of_people(
    targets: Mapping[str, Any], people: Mapping[str, Mapping[str, str]], names: tuple[str, ...]
) -> dict[str, list[str]]:
    """Find the targets in personal WeChat of some people, by name, through `people:`; without those who have none.

    A target is somebody's where it names the contact, or where it sends to those whom an alert names.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        for channel, known_as in people.get(name, {}).items():
            for target, settings in targets.items():
                if settings.channel == channel and settings.reaches(known_as):
                    found.setdefault(name, []).append(target)
    return found


def part(data: Any, *path: str) -> Any:
    """Give what lies at a path of JSON objects; None where there is nothing."""
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def words(data: Any, *path: str) -> str:
    """Give the text at a path of JSON objects; empty where there is none."""
    return as_text(part(data, *path)).strip()


def items(data: Any, *path: str) -> list[dict[str, Any]]:
    """Give the objects of the list at a path; empty where there is none."""
    found = part(data, *path)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def texts(data: Any, *path: str) -> list[str]:
    """Give the texts of the list at a path; empty where there is none."""
    found = part(data, *path)
    return [as_text(one).strip() for one in found if isinstance(one, str | int)] if isinstance(found, list) else []


def join_lines(*lines: str) -> str:
    """Put what is not empty into lines, each once."""
    return "\n".join(dict.fromkeys(line for line in lines if line))


def link_line(title: str, address: str) -> str:
    """Write a link as a line: `words address`."""
    return " ".join(word for word in (title, address) if word) if address else ""


def answer_json(data: Mapping[str, Any], status: int = 200) -> web.Response:
    """Make an answer of compact JSON: some clients look for `"errcode":0` in the bytes."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return web.json_response(text=text, status=status)
