"""The language of the environment, for who reads where no configuration names one."""

from __future__ import annotations

import os


def language_of_environment() -> str:
    """Tell the language of `$LC_ALL`, `$LC_MESSAGES` or `$LANG`, the first that is set; no locale need be installed."""
    words = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if next((word for word in words if word), "").lower().startswith("zh") else "en"
