"""A generated grub.cfg of GRUB 2: kernel arguments, a section of our own, the default entry.

Nothing else changes, so that the file stays what grub-mkconfig wrote. Source: GRUB manual,
"Shell-like scripting" and "menuentry".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Optional

from . import kernelargs
from .edited import Edit, Edited, Translate, lines
from .linewise import Change, cut, insert, newline, rewrite

_LINUX = re.compile(r"([ \t]*linux(?:16|efi)?[ \t]+([^ \t\r\n]+))([ \t]*)(.*)", re.DOTALL)
_ENTRY = re.compile(r"[ \t]*menuentry[ \t]")
_MENU = re.compile(r"[ \t]*(?:menuentry|submenu)[ \t]")
_DEFAULT = re.compile(r"""([ \t]*set[ \t]+default=)("[^"]*"|'[^']*'|[^ \t\r;]*)(.*)""", re.DOTALL)
_BLS = re.compile(r"[ \t]*blscfg(?:[ \t;].*)?", re.DOTALL)
# An assignment with a second `=` in it, which pygrub cannot read.
_SET = re.compile(r"([ \t]*)(set[ \t]+)([A-Za-z_][A-Za-z0-9_]*=)([^=]*=.*)", re.DOTALL)
_VALUE = re.compile(
    r"""[ \t]*(?:set[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|[^ \t\r;]*)[ \t]*"""
)
_FIRST_SECTION = "### BEGIN /etc/grub.d/10_linux ###"


def kernels(text: str) -> list[tuple[str, str]]:
    """The kernel and its arguments of every `linux` line."""
    found = (_LINUX.fullmatch(cut(line)[0]) for line in lines(text))
    return [(match[2], match[4]) for match in found if match]


def has_bls(text: str) -> bool:
    """Does it take its entries from the Boot Loader Specification's files?"""
    return any(_BLS.fullmatch(cut(line)[0]) for line in lines(text))


def variable(text: str, name: str) -> Optional[str]:
    """The value that a variable is last set to, as it is written; None where it is not set."""
    found = (_VALUE.fullmatch(cut(line)[0]) for line in lines(text))
    given = [match[2] for match in found if match and match[1] == name]
    return re.sub(r"""^(["'])(.*)\1$""", r"\2", given[-1]) if given else None


def drop_set(text: str) -> Edited:
    """Write `set name=a=b` as `name=a=b`, which is the same to GRUB, and nothing to pygrub.

    pygrub would give up on the whole file.
    """

    def change(body: str) -> Change:
        match = _SET.fullmatch(body)
        if not match:
            return body, ()
        return match[1] + match[3] + match[4], [(match[2] + match[3], match[3])]

    return rewrite(text, change)


def edit(
    text: str,
    *,
    translate: Translate,
    remove: Callable[[str], bool] = lambda _token: False,
    last: Sequence[str] = (),
    only: Callable[[str], bool] = lambda _kernel: True,
) -> Edited:
    """Edit the arguments of every `linux` line of a menuentry whose kernel is one of `only`.

    The rest as kernelargs.edit.
    """

    def change(body: str) -> Change:
        match = _LINUX.fullmatch(body)
        if not match or not only(match[2]):
            return body, ()
        args, pairs = kernelargs.edit(match[4], translate=translate, remove=remove, last=last)
        return match[1] + (match[3] or (" " if args else "")) + args, pairs

    return _in_entries(text, change, outside=lambda body: (body, ()))


def set_default(text: str, index: int) -> Edited:
    """Make entry `index`, from 0 and counted through submenus, the default.

    What `next_entry` asks for once is left: it is read before and is no default.
    """
    found = False

    def change(body: str) -> Change:
        nonlocal found
        match = _DEFAULT.fullmatch(body)
        if not match or "next_entry" in match[2]:
            return body, ()
        found = True
        new = f'"{index}"'
        same = match[2].strip("\"'") == str(index)
        return (body, ()) if same else (match[1] + new + match[3], [(match[2], new)])

    edited = _in_entries(text, lambda body: (body, ()), outside=change)
    if found or index == 0:
        return edited
    return insert(text, 0, [f'set default="{index}"'])


def insert_section(text: str, marker: str, block: str, at_end: bool = False) -> Edited:
    """Put lines between BEGIN and END marks, before what 10_linux made; or replace what is there.

    marker: the script that would write them, such as /etc/grub.d/09_pvprep. at_end: behind all.
    """
    begin, end = f"### BEGIN {marker} ###", f"### END {marker} ###"
    bodies = [begin, *(cut(line)[0] for line in lines(block)), end]
    old = lines(text)
    bare = [cut(line)[0].strip() for line in old]
    first = None
    for number, line in enumerate(bare):
        if line == begin:
            first = number
        elif line == end and first is not None:
            return _replace(text, first, number + 1, bodies)
    places = (at for at, line in enumerate(bare) if line == _FIRST_SECTION)
    menus = (at for at, line in enumerate(old) if _MENU.match(line))
    at = len(old) if at_end else next(places, next(menus, len(old)))
    return insert(text, at, [*bodies, ""])


def _replace(text: str, first: int, after: int, bodies: Sequence[str]) -> Edited:
    """Give these lines new bodies; each line that stays the same is left as it is."""
    old, end = lines(text), newline(text)
    if [cut(line)[0] for line in old[first:after]] == list(bodies):
        return Edited(text)
    new = [body + end for body in bodies]
    new[-1] = bodies[-1] + cut(old[after - 1])[1]
    edits = [Edit(first + n, cut(line)[0], "") for n, line in enumerate(old[first:after], 1)]
    edits += [Edit(first + n, "", body) for n, body in enumerate(bodies, 1)]
    return Edited("".join(old[:first] + new + old[after:]), tuple(edits))


def _in_entries(
    text: str, inside: Callable[[str], Change], outside: Callable[[str], Change]
) -> Edited:
    """Pass lines of menuentries to one function and all others to another."""
    within = False

    def change(body: str) -> Change:
        nonlocal within
        if _ENTRY.match(body):
            within = True
        elif body.strip(" \t").startswith("}"):
            within = False
        elif within:
            return inside(body)
        return outside(body)

    return rewrite(text, change)
