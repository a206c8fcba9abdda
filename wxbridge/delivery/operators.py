"""Reports what the bridge itself suffers to the person in charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from wxbridge.alerts.render import Destination, make_notification
from wxbridge.config.types import TargetSettings
from wxbridge.core.errors import StorageError
from wxbridge.core.model import NotificationSink, Priority, Text
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import Language

log = structlog.get_logger()


class OperatorReports:
    """Queues lines for the operators; what is about one of them goes to the others, or to its fallback."""

    def __init__(self, sink: NotificationSink) -> None:
        self._sink = sink
        self._operators: Sequence[str] = ()
        self._targets: Mapping[str, TargetSettings] = {}
        self._destinations: Mapping[str, Destination] = {}
        self._language: Language = "en"

    @property
    def names(self) -> Sequence[str]:
        """The targets of those in charge."""
        return self._operators

    def reconfigure(
        self,
        operators: Sequence[str],
        targets: Mapping[str, TargetSettings],
        destinations: Mapping[str, Destination],
        language: Language,
    ) -> None:
        """Report to other targets, and in another language, from now on; `operators` are among the targets."""
        self._operators = operators
        self._targets, self._destinations, self._language = targets, destinations, language

    async def tell(self, line: str, about: str | None = None) -> None:
        """Queue a line; it goes into the log where nobody is in charge.

        Args:
            line: What to tell.
            about: The target that it is about.

        Raises:
            StorageError: it could not be stored.
        """
        names: Sequence[str] = [name for name in self._operators if name != about]
        if not names and about is not None and about in self._operators and about in self._targets:
            names = self._targets[about].fallback
        told = Text(tell_error(line, self._language))
        items = [
            make_notification("wxbridge", name, [told], self._destinations[name], self._language, Priority.SYSTEM)
            for name in names
            if name in self._targets
        ]
        if not items:
            log.warning("nobody to tell", line=line)
            return
        await self._sink.put(items)

    async def tell_or_log(self, line: str) -> None:
        """Queue a line; one that cannot be stored is logged."""
        try:
            await self.tell(line)
        except StorageError as error:
            log.error("could not be told", line=line, error=str(error))  # noqa: TRY400 - a trace says no more
