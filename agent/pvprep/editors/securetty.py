"""securetty(5): the terminals on which root may log in, one a line."""

from __future__ import annotations

from .edited import Edited, lines
from .linewise import cut, insert


def add(text: str, tty: str) -> Edited:
    """Append a terminal, unless it is there."""
    every = lines(text)
    if any(cut(line)[0].strip() == tty for line in every):
        return Edited(text)
    return insert(text, len(every), [tty])
