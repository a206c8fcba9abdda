"""The file systems of this machine, as figures.

Every function may hang where a file system does (an NFS server that is gone): call them by `TimedCalls`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil

from wxbridge.hosts.timed_calls import TimedCalls

_NO_FILES = ("squashfs", "iso9660", "udf", "cramfs", "erofs")
"""File systems that are always full."""

Figures = dict[str, float]


def measure_disk(mount: str) -> Figures:
    """Measure a file system: what is used of it and of its inodes (percent, as `df` and `df -i`), and bytes free."""
    usage = psutil.disk_usage(mount)
    if not usage.total:
        return {}  # an automounter's place, where nothing is mounted now
    figures = {f"disk:{mount}": float(usage.percent), f"disk_free:{mount}": float(usage.free)}
    if hasattr(os, "statvfs"):
        told = os.statvfs(mount)
        used = told.f_files - told.f_ffree
        # btrfs and others have no table of inodes, and tell 0.
        if told.f_files and used + told.f_favail > 0:
            figures[f"inodes:{mount}"] = 100 * used / (used + told.f_favail)
    return figures


def measure_named_disk(mount: str) -> Figures:
    """Measure a file system that the configuration names; `disk_missing:MOUNT` where nothing is mounted there.

    Without that look the file system below (the root's, mostly) would answer in its place.
    """
    return measure_disk(mount) if _is_mounted(mount) else {f"disk_missing:{mount}": 1.0}


def _is_mounted(mount: str) -> bool:
    real = os.path.realpath(mount)
    # A directory that is mounted to another place of its own file system is in the table only.
    return os.path.ismount(real) or real in {part.mountpoint for part in psutil.disk_partitions(all=True)}


def list_mounts(calls: TimedCalls[bool], limit: float) -> tuple[str, ...]:
    """List the file systems on disks of this machine, each once: by the shortest of its mount points.

    In a container single files are mounted from the machine's disks, and the root is none of them. What does not say
    within `limit` seconds whether it is a directory counts as one.
    """
    parts = [
        part
        for part in psutil.disk_partitions(all=False)
        if part.fstype not in _NO_FILES and not part.device.startswith("/dev/loop")
    ]
    looks: dict[str, Callable[[], bool]] = {part.mountpoint: Path(part.mountpoint).is_dir for part in parts}
    told = calls.run(looks, limit)
    chosen: dict[str, str] = {}
    for part in parts:
        look = told.get(part.mountpoint)
        is_directory = look is None or (look.exception() is None and look.result())
        if is_directory and (part.device not in chosen or len(part.mountpoint) < len(chosen[part.device])):
            chosen[part.device] = part.mountpoint
    mounts = set(chosen.values())
    if os.name == "posix":
        mounts.add("/")
    return tuple(sorted(mounts))
