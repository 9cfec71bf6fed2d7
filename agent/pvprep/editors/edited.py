"""What an editor gives back, and how a text is cut into lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

# Gives the new name of a device that a file names, or None to leave it as it is.
Translate = Callable[[str], Optional[str]]


@dataclass(frozen=True)
class Edit:
    """One change: in this line (from 1), this became that; new "" means that the line went."""

    line: int
    old: str
    new: str


@dataclass(frozen=True)
class Edited:
    """A text after editing; without edits it is the text that came in."""

    text: str
    edits: tuple[Edit, ...] = ()


def lines(text: str) -> list[str]:
    """Cut into lines with their ends; only a newline ends one, as for the tools that read them."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
