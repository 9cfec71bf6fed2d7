"""The guest's configuration files, read once, for all steps."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import Optional

from ..errors import PvprepError
from ..facts import File
from ..guest import Guest

# Programs, libraries and boot images: that they are there matters, and they are large.
NOT_READ = ("/lib/", "/usr/lib/", "/boot/efi/", "/efi/")


def files(guest: Guest, patterns: Iterable[str]) -> dict[str, File]:
    """Every file, link and directory that matches, by the path as written."""
    found: dict[str, File] = {}
    for pattern in sorted(set(patterns)):
        for path in guest.glob(pattern):
            if path not in found:
                entry = _file(guest, path)
                if entry:
                    found[path] = entry
    return found


def boot_files(guest: Guest) -> dict[str, int]:
    """Sizes of the regular files (through links) in / and /boot: what a boot loader can load."""
    found = {}
    for directory in ("/boot", ""):
        for name in guest.names(directory or "/"):
            path = f"{directory}/{name}"
            info = guest.stat(path) if _resolves(guest, path) else None
            if info and stat.S_ISREG(info.st_mode):
                found[path] = info.st_size
    return found


def _file(guest: Guest, path: str) -> Optional[File]:
    target = guest.readlink(path)
    if not _resolves(guest, path):
        return File(path, target=target)
    real = guest.resolve(path)
    info = guest.lstat(real)
    if info is None or not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        # A link to nowhere or to a device (/dev/null: how systemd masks) is a fact too.
        return File(path, target=target) if target is not None else None
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISDIR(info.st_mode):
        return File(real, mode=mode, target=target, is_dir=True)
    content = b"" if path.startswith(NOT_READ) else guest.read(real) or b""
    return File(real, content, mode, target)


def _resolves(guest: Guest, path: str) -> bool:
    """Whether the links end somewhere: a loop of them is no file, and no reason to stop."""
    try:
        guest.resolve(path)
    except PvprepError:
        return False
    return True
