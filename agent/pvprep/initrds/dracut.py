"""dracut, of version 004 (EL 6) and later: dracut(8), dracut.conf(5).

It keeps no record of the files that it made: the kernel's hook and the package's trigger build
the initrd anew without looking at the old one. It ends with status 0 also where a driver that was
asked for is missing.
"""

from __future__ import annotations

import re

from ..guest import Guest

_PROGRAMS = ("/usr/bin/dracut", "/sbin/dracut")
# What not every version has; distributions have brought some of it to older ones.
_OPTIONS = (
    "force_drivers",
    "hostonly_mode",
    "hostonly_cmdline",
    "install_items",
    "install_optional_items",
    "no-hostonly",
)


def found(guest: Guest) -> bool:
    """Whether it is installed."""
    return any(guest.is_file(path) for path in _PROGRAMS)


def options(guest: Guest) -> frozenset[str]:
    """Which of _OPTIONS this one knows: it is a shell script in all its versions."""
    text = next((guest.text(path) for path in _PROGRAMS if guest.is_file(path)), "")
    return frozenset(name for name in _OPTIONS if re.search(rf"(?<!\w){name}(?![\w-])", text))


def command(guest: Guest, version: str, output: str) -> list[str]:
    """The builder's command line. --force: what an earlier try left at output is overwritten.

    A tree's hardware cannot be seen, and what /sys shows is the host's: then for any hardware.
    Versions that cannot be told to do so do it anyway.
    """
    generic = not guest.running and "no-hostonly" in options(guest)
    return ["dracut", "--force", *(["--no-hostonly"] if generic else []), output, version]


def hint(output: str) -> str:
    """What to do about a failure, from what dracut said."""
    if "No space left" in output:
        return "make room in /boot and /var/tmp"
    return "mend what it says; `dracut --force --verbose /var/tmp/try VERSION` shows more"


def finish(_guest: Guest, _version: str, _path: str) -> list[str]:
    """Nothing: a boot loader reads the file by its path."""
    return []
