"""Helpers for editors that go through a text line by line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from .edited import Edit, Edited, lines

# What one line became: its new text (None: the line goes) and the (old, new) tokens.
Change = tuple[Optional[str], Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Partial(Edited):
    """A text after editing; leftover are (line, text) that should change but that a person must."""

    leftover: tuple[tuple[int, str], ...] = ()


def cut(line: str) -> tuple[str, str]:
    """A line's text and its end: a newline with or without a carriage return, or nothing."""
    body = line[:-1] if line.endswith("\n") else line
    body = body[:-1] if body.endswith("\r") else body
    return body, line[len(body) :]


def newline(text: str) -> str:
    """The line end that a text uses, for lines that are added to it."""
    return "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"


def rewrite(text: str, change: Callable[[str], Change]) -> Edited:
    """Pass each line, without its end, through `change`."""
    done: list[str] = []
    edits: list[Edit] = []
    for number, line in enumerate(lines(text), 1):
        body, end = cut(line)
        new, pairs = change(body)
        if new is not None:
            done.append(new + end)
        edits.extend(Edit(number, old, became) for old, became in pairs)
    return Edited("".join(done), tuple(edits))


def insert(text: str, at: int, bodies: Sequence[str]) -> Edited:
    """Put new lines before line `at` (from 0; the number of lines: at the end).

    They take the text's line end; a text without a newline at its end stays without one.
    """
    if not bodies:
        return Edited(text)
    old, end = lines(text), newline(text)
    edits = tuple(Edit(at + number, "", body) for number, body in enumerate(bodies, 1))
    new = [body + end for body in bodies]
    if at == len(old) and old and not old[-1].endswith("\n"):
        old[-1] += end
        new[-1] = bodies[-1]
    return Edited("".join(old[:at] + new + old[at:]), edits)


def is_comment(body: str, marks: str = "#") -> bool:
    """Is this a comment or an empty line?"""
    bare = body.strip(" \t\r")
    return not bare or bare[0] in marks
