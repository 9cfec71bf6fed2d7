"""The init script that Red Hat's mkinitrd writes for nash: modules loaded first, devices renamed.

Source: mkinitrd(8) and nash(8) of mkinitrd 4.2 and 5.1. One command a line, no conditions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional

from . import tokens
from .edited import Translate, lines

_LOAD = re.compile(r"\s*insmod\s+\S*?([^/\s]+)\.ko\b")
_SAYS = re.compile(r"\s*echo\s.*Loading ")
# What needs the disk. Where no module is loaded at all, the first of these is the place.
_NEEDS = re.compile(
    r"\s*(?:mkblkdevs|mkdmnod|mkrootdev|resume|lvm|dm|raidautorun|stabilized|mount\s.*/sysroot)\b"
)
_NAMES_DEVICE = re.compile(r"\s*(?:mkrootdev|resume)\s")
_BARE = re.compile(r"(\s)([a-z][\w/]*)(\s*)$")


def load_first(text: str, wanted: Sequence[str]) -> Optional[str]:
    """Have these modules loaded, in this order, before any other, as mkinitrd's --preload does.

    None where the script has no place that is known to be early enough.
    """
    names = [name.replace("-", "_") for name in wanted]
    kept: list[str] = []
    for line in lines(text):
        load = _LOAD.match(line)
        if load and load[1].replace("-", "_") in names:
            if kept and _SAYS.match(kept[-1]):
                kept.pop()
            continue
        kept.append(line)
    at = next((at for at, line in enumerate(kept) if _LOAD.match(line)), None)
    if at is None:
        at = next((at for at, line in enumerate(kept) if _NEEDS.match(line)), None)
    if at is None:
        return None
    if at and _SAYS.match(kept[at - 1]):
        at -= 1
    added = [f'echo "Loading {name}.ko module"\ninsmod /lib/{name}.ko\n' for name in wanted]
    return "".join([*kept[:at], *added, *kept[at:]])


def rename_devices(text: str, translate: Translate) -> str:
    """Give root and swap their new names; both are written with and without /dev/."""

    def change(line: str) -> str:
        if not _NAMES_DEVICE.match(line):
            return line
        return _BARE.sub(bare, tokens.rename_devices(line, translate).text)

    def bare(match: re.Match[str]) -> str:
        new = translate(f"/dev/{match[2]}")
        return f"{match[1]}{new.replace('/dev/', '', 1)}{match[3]}" if new else match[0]

    return "".join(map(change, lines(text)))
