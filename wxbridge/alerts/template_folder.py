"""The folder of templates: what is in it, and what a name in jobs.yaml means."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path

from wxbridge.core.errors import WxbridgeError
from wxbridge.core.text.i18n import Language

DEFAULT_TEMPLATE = "default"
"""The template that takes the place of the built-in text for everybody, where the folder has it."""
TEMPLATE_ENDINGS = ("", ".j2", ".txt", ".txt.j2")
"""What a template's file may end in; jobs.yaml names it with or without."""
LOOK_SECONDS = 1.0
"""Between two looks whether there is one, as that is asked for every alert."""
_NAME = re.compile(r"\w[\w .-]*(?:/\w[\w .-]*)*")


class TemplateError(WxbridgeError):
    """A template cannot be used. The text says the file, the line and what is wrong."""


class TemplateFolder:
    """The templates of a folder, which need not exist, and the language and time zone of their texts.

    `clock` tells monotonic seconds.
    """

    def __init__(
        self, path: Path, language: Language, timezone: tzinfo, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self.language: Language = language
        self.timezone = timezone
        self._clock = clock
        self._look_at = 0.0
        """When to look again whether there is a default."""
        self._has_default = False

    def names(self) -> list[str]:
        """The files of the folder that jobs.yaml may name."""
        files = (path.relative_to(self.path) for path in sorted(self.path.rglob("*")) if path.is_file())
        return [str(file) for file in files if _NAME.fullmatch(str(file))]

    def find(self, name: str) -> str | None:
        """The file that a name means, relative to the folder; None where there is none."""
        if not _NAME.fullmatch(name):
            return None
        try:
            return next((name + ending for ending in TEMPLATE_ENDINGS if (self.path / (name + ending)).is_file()), None)
        except OSError:
            # A folder that may not be entered, a name that no file can have.
            return None

    def has_default(self) -> bool:
        """Whether the folder has a template for everybody, or had one within `LOOK_SECONDS`."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at, self._has_default = now + LOOK_SECONDS, self.find(DEFAULT_TEMPLATE) is not None
        return self._has_default
