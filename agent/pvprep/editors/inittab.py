"""inittab(5): a login on one more console.

The line is `id:runlevels:action:process`; an id has at most four characters (utmp(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .edited import Edited, lines
from .linewise import cut, insert, is_comment

# For a getty on a device that is not there; init stops a line that respawns faster than this.
_WAIT = 3600


def add_getty(text: str, tty: str) -> Edited:
    """Add a getty on `tty`, unless a line has one.

    Where the device does not exist (the same guest booted as HVM) the line only waits: init would
    complain about a line that respawns too fast. Runlevels and getty are those of the others.
    """
    entries = list(_entries(text))
    gettys = [(levels, process) for _, levels, _, process in entries if "getty" in process]
    if any(re.search(rf"(?<![\w-]){re.escape(tty)}(?![\w-])", process) for _, process in gettys):
        return Edited(text)
    levels = next((levels for levels, process in gettys if "tty1" in process), "2345")
    own = any(re.match(r"/sbin/getty\b", process) for _, process in gettys)
    getty = "/sbin/getty" if own else "/sbin/agetty"
    id_ = _free({entry[0] for entry in entries}, tty)
    login = f"test -c /dev/{tty} && exec {getty} 38400 {tty} linux; exec sleep {_WAIT}"
    return insert(text, len(lines(text)), [f"{id_}:{levels}:respawn:/bin/sh -c '{login}'"])


def _entries(text: str) -> Iterator[tuple[str, str, str, str]]:
    for line in lines(text):
        body = cut(line)[0]
        parts = body.strip().split(":", 3)
        if not is_comment(body) and len(parts) == 4:
            yield parts[0], parts[1], parts[2], parts[3]


def _free(taken: set[str], tty: str) -> str:
    """An id that no line has."""
    wanted = (tty[:4], tty[-2:], *(f"x{number:03}" for number in range(1000)))
    return next((id_ for id_ in wanted if id_ not in taken), "xxxx")
