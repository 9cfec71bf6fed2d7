"""dracut, as Debian and Ubuntu package it: dracut(8), dracut.conf(5).

It keeps no record of the files that it made: the kernel's hook and the package's trigger build
/boot/initrd.img-VERSION anew without looking at the old one. It ends with status 0 also where a
driver that was asked for is missing.
"""

from __future__ import annotations

from ..guest import Guest

PROGRAM = "/usr/bin/dracut"


def command(guest: Guest, version: str, output: str) -> list[str]:
    """The builder's command line. --force: what an earlier try left at output is overwritten.

    A tree's hardware cannot be seen, and what /sys shows is the host's: then for any hardware.
    """
    generic = [] if guest.running else ["--no-hostonly"]
    return ["dracut", "--force", *generic, "--kver", version, output]


def hint(output: str) -> str:
    """What to do about a failure, from what dracut said."""
    if "No space left" in output:
        return "make room in /boot and /var/tmp"
    return "mend what it says; `dracut --force --verbose /var/tmp/try VERSION` shows more"


def finish(_guest: Guest, _version: str, _path: str) -> list[str]:
    """Nothing: no boot loader hangs on dracut in Debian."""
    return []
