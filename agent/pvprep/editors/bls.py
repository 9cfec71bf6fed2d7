"""Boot Loader Specification, type 1: one file for each entry of the menu.

A line is a key and a value; a key may come more than once. Source: the specification of the UAPI
group, https://uapi-group.org/specifications/specs/boot_loader_specification/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Optional

from . import kernelargs
from .edited import Edited, Translate, lines
from .linewise import Change, cut, is_comment, rewrite

_LINE = re.compile(r"([ \t]*([^ \t]+)[ \t]+)(.*)", re.DOTALL)


def values(text: str, key: str) -> list[str]:
    """What a key is given, in order."""
    found = (_match(cut(line)[0]) for line in lines(text))
    return [match[3].rstrip(" \t") for match in found if match and match[2] == key]


def edit(
    text: str,
    *,
    translate: Translate,
    remove: Callable[[str], bool] = lambda _token: False,
    last: Sequence[str] = (),
) -> Edited:
    """Edit the kernel's arguments as kernelargs.edit does; what lacks goes into their last line."""
    left = len(values(text, "options"))

    def change(body: str) -> Change:
        nonlocal left
        match = _match(body)
        if not match or match[2] != "options":
            return body, ()
        left -= 1
        wanted = () if left else last
        new, pairs = kernelargs.edit(match[3], translate=translate, remove=remove, last=wanted)
        return match[1] + new, pairs

    return rewrite(text, change)


def _match(body: str) -> Optional[re.Match[str]]:
    return None if is_comment(body) else _LINE.fullmatch(body)
