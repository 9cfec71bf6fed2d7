"""The environment block of GRUB 2 (grubenv): a file of 1024 bytes, filled up with `#`.

GRUB writes it in place, block by block, so its size must stay. Source: GRUB manual, "Environment
block"; grub-core/lib/envblk.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Optional

from .edited import Edit, Edited, lines
from .linewise import cut

_FILL = re.compile(r"#*\Z")


def get(text: str, key: str) -> Optional[str]:
    """The value of a variable, None where there is none."""
    prefix = f"{key}="
    found = [line[len(prefix) :] for line in text.split("\n") if line.startswith(prefix)]
    return re.sub(r"\\(.)", r"\1", found[0]) if found else None


def edit(text: str, key: str, change: Callable[[str], str]) -> Edited:
    """Pass the value of a variable, as it is written, through `change`.

    Nothing is done where the block has no room for the new value, or where the value has a `\\` in
    it, which may mean that it runs on, or no end, so that the filling would be a part of it.
    """
    prefix = f"{key}="
    for number, line in enumerate(lines(text), 1):
        old, end = cut(line)
        old = old[len(prefix) :]
        if not line.startswith(prefix) or "\\" in old or not end:
            continue
        new = change(old)
        at = sum(map(len, lines(text)[: number - 1])) + len(prefix)
        edited = text[:at] + new + text[at + len(old) :]
        fill = _FILL.search(edited)
        room = len(fill[0]) if fill else 0
        more = _size(new) - _size(old)
        if new == old or more > room:
            break
        filled = edited[: len(edited) - room] + "#" * (room - more)
        return Edited(filled, (Edit(number, old, new),))
    return Edited(text)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
