"""Files of KEY=value lines that sh reads: /etc/default/grub, conf.d/resume, /etc/default/*.

Quoting is sh's (POSIX, Shell Command Language 2.2); nothing is expanded. Only assignments that
start a line count, as in such files they do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Optional

from .edited import Edit, Edited, lines
from .linewise import Partial, cut, insert

_ASSIGN = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)(\+?=)")
# The pieces of a word. An open quote or a command substitution matches none and ends the word.
_PIECE = re.compile(
    r"""(?P<bare>(?:[^ \t\r\n"'\\`$;&|<>()]|\$(?!\())+)
      | '(?P<single>[^']*)'
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | \\(?P<escape>.)""",
    re.VERBOSE | re.DOTALL,
)
_END = re.compile(r"\r?(?:\n|\Z)|[ \t;&]")
_QUOTES = {"bare": "", "single": "'", "double": '"'}
_SAFE = re.compile(r"[\w/.,:=@%+$-]*", re.ASCII)


@dataclass(frozen=True)
class _Assignment:
    """One assignment; start and end are the places of its word in the text.

    inner: the part of the word that can be edited, inside its quotes; None where the word has
    more than one piece, is computed, runs on over lines or is not well formed.
    """

    line: int
    key: str
    add: bool
    start: int
    end: int = 0
    value: str = ""
    quote: str = ""
    inner: Optional[tuple[int, int]] = None


def get(text: str, key: str) -> Optional[str]:
    """The value after the last assignment, quotes taken off; None where there is none."""
    value = None
    for found in _assignments(text):
        if found.key == key:
            value = (value or "") + found.value if found.add else found.value
    return value


def edit(text: str, key: str, change: Callable[[str], str]) -> Partial:
    """Pass each value of `key`, as it stands inside its quotes, through `change`.

    Values made by commands, of several pieces or running over lines stay, and are left over.
    """
    every, done, at = lines(text), [], 0
    edits, leftover = [], []
    for found in _assignments(text):
        if found.key != key:
            continue
        new = _changed(text, found, change)
        if new is None:
            leftover.append((found.line, cut(every[found.line - 1])[0]))
        elif new != text[found.start : found.end]:
            edits.append(Edit(found.line, text[found.start : found.end], new))
            done.append(text[at : found.start] + new)
            at = found.end
    return Partial("".join(done) + text[at:], tuple(edits), tuple(leftover))


def append(text: str, key: str, value: str) -> Edited:
    """Add an assignment at the end, unless the text gives that value already."""
    if get(text, key) == value:
        return Edited(text)
    escaped = re.sub(r'(["\\$`])', r"\\\1", value)
    return insert(text, len(lines(text)), [f'{key}="{escaped}"'])


def _changed(text: str, found: _Assignment, change: Callable[[str], str]) -> Optional[str]:
    """The word with its new value, or None where that cannot be done in place."""
    if found.inner is None:
        return None
    start, end = found.inner
    old = text[start:end]
    value = change(old)
    if value == old:
        return text[found.start : found.end]
    quote = found.quote or ("" if _SAFE.fullmatch(value) else '"')
    new = quote + value + quote
    # A value that would end its quotes early, or that asks for a command, is no value.
    check = _word(new, replace(found, start=0, inner=None))
    return new if check.inner and check.end == len(new) else None


def _assignments(text: str) -> Iterator[_Assignment]:
    """Every assignment, in order; lines inside a quoted value are not looked at."""
    at = done = 0
    for number, line in enumerate(lines(text), 1):
        start, at = at, at + len(line)
        match = _ASSIGN.match(line)
        if match and start >= done:
            head = _Assignment(number, match[1], match[2] == "+=", start + match.end())
            found = _word(text, head)
            done = found.end
            yield found


def _word(text: str, head: _Assignment) -> _Assignment:
    """Read the word that an assignment gives."""
    at, value = head.start, ""
    pieces = []
    while True:
        match = _PIECE.match(text, at)
        if not match:
            break
        at = match.end()
        value += _read(match)
        pieces.append(match)
    if not _END.match(text, at):
        rest = cut(text[at : text.find("\n", at) + 1 or len(text)])[0]
        return replace(head, end=at + len(rest), value=value + rest)
    found = replace(head, end=at, value=value)
    if not pieces:
        return replace(found, inner=(at, at))
    kind = pieces[0].lastgroup or ""
    if len(pieces) > 1 or kind not in _QUOTES or re.search(r"\n|`|\$\(", pieces[0][kind]):
        return found
    return replace(found, quote=_QUOTES[kind], inner=pieces[0].span(kind))


def _read(piece: re.Match[str]) -> str:
    """What a piece of a word means, quotes taken off."""
    kind = piece.lastgroup or ""
    if kind == "escape":
        return "" if piece[kind] == "\n" else piece[kind]
    if kind == "double":
        return re.sub(r'\\(["\\$`\n])', lambda m: m[1].strip("\n"), piece[kind])
    return piece[kind]
