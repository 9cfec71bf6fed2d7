r"""Tables of fields between blanks: what fstab and crypttab have in common.

Fields are cut at spaces and tabs, as libmount does (libmount/src/tab_parse.c); a blank inside a
field is written in octal (`\040`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ..devicenames import as_path
from .edited import Edited, Translate, lines
from .linewise import Change, cut, is_comment, rewrite

_FIELD = re.compile(r"[^ \t]+")
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_OPTION = re.compile(r"(?:(?<=^)|(?<=,))([^,=/]+=)(/dev/[^,]+)")


class Entry(NamedTuple):
    """A live line: its number, from 1, and its fields."""

    line: int
    fields: tuple[str, ...]


def entries(text: str) -> list[Entry]:
    """Every line that is no comment: its number and its fields, octal escapes read."""
    return [
        Entry(number, tuple(unescape(field) for field in _FIELD.findall(body)))
        for number, body in enumerate((cut(line)[0] for line in lines(text)), 1)
        if not is_comment(body)
    ]


def edit(text: str, change: Callable[[int, str], str]) -> Edited:
    """Pass each field, with its number from 1, through `change`; comments stay."""
    return rewrite(text, lambda body: _line(body, change))


def _line(body: str, change: Callable[[int, str], str]) -> Change:
    if is_comment(body):
        return body, ()
    new, at, pairs = "", 0, []
    for number, match in enumerate(_FIELD.finditer(body), 1):
        field = change(number, match[0])
        if field != match[0]:
            pairs.append((match[0], field))
        new += body[at : match.start()] + field
        at = match.end()
    return new + body[at:], pairs


def unescape(field: str) -> str:
    r"""Read octal escapes: `\040` is a space."""
    raw = _OCTAL.sub(lambda m: bytes([int(m[1], 8)]), field.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def device(field: str, translate: Translate) -> str:
    """A field that is a device, under its new name."""
    path = unescape(field)
    return (translate(path) or field) if path.startswith("/dev/") else field


def options(field: str, translate: Translate) -> str:
    """Options such as journal_path=/dev/sda3; a path is what they take, never UUID=."""
    return _OPTION.sub(lambda m: m[1] + as_path(device(m[2], translate)), field)
