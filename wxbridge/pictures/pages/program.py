"""Which browser there is: a Chromium, Chrome or Edge of the system's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

INSTALL = "apt install chromium-headless-shell libatomic1"
"""The one line that brings a browser (Debian, Ubuntu)."""

_BROWSER_NAMES = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "google-chrome-beta",
    "google-chrome-unstable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "brave-browser",
)
_DEBIANS_BROWSER = "/usr/lib/chromium/chromium-headless-shell"
"""The program itself: Debian's command of that name is a shell script which would stay beside it."""
_BROWSER_PATHS = (
    "/usr/lib/chromium/headless_shell",
    "/usr/lib64/chromium-browser/headless_shell",
    "/snap/bin/chromium",
    "/opt/google/chrome/chrome",
    "/opt/microsoft/msedge/msedge",
    "/opt/chromium.org/chromium/chromium",
)


def find_browser(setting: Path | None = None) -> Path | None:
    """Find a Chromium, Chrome or Edge: the setting, $WXBRIDGE_BROWSER, then what the system has.

    chromium-headless-shell is preferred: a shot with it takes half the time (shared/facts/rendering.md).

    Returns:
        Its path; None where there is none, or where what was named does not exist.
    """
    named = str(setting) if setting else os.environ.get("WXBRIDGE_BROWSER")
    if named:
        found = shutil.which(Path(named).expanduser())
        return Path(found) if found else None
    for name in (_DEBIANS_BROWSER, *_BROWSER_NAMES, *_BROWSER_PATHS):
        found = shutil.which(name)
        if found:
            return Path(found)
    return None
