"""A directory of kernel modules as one thing: what is in it, and what depmod(8) makes anew."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

from .synced import chunks, digest

# Made from the modules by depmod, the guest's own too; see tools/depmod.c in kmod.
GENERATED = re.compile(
    r"modules\.(?:dep|alias|symbols|softdep|weakdep|devname"
    r"|(?:dep|alias|symbols|builtin|builtin\.alias)\.bin)"
)


def listing(place: str) -> dict[str, str]:
    """Each name beneath a directory, with a hash of its content, owner and mode.

    Times do not count, nor what GENERATED matches at the top.
    """
    found: dict[str, str] = {}
    for where, directories, files in os.walk(place):
        for name in (*directories, *files):
            full = os.path.join(where, name)
            inside = full[len(place) + 1 :]
            if not GENERATED.fullmatch(inside):
                found[inside] = _print(full)
    return found


def strangers(wanted: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names that came, went or changed."""
    return sorted(name for name in {*wanted, *now} if wanted.get(name) != now.get(name))


def _print(place: str) -> str:
    info = os.lstat(place)
    what = f"{info.st_mode:o} {info.st_uid}:{info.st_gid} "
    if stat.S_ISLNK(info.st_mode):
        what += os.readlink(place)
    elif stat.S_ISREG(info.st_mode):
        what += digest(chunks(place))
    return digest([what.encode("utf-8", "surrogateescape")])[:32]
