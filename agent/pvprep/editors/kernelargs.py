"""A kernel command line: devices renamed, arguments dropped and ensured, all spacing kept.

It is cut as Linux's lib/cmdline.c next_arg() does: at white space outside double quotes; what
follows a lone `--` is init's and is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..devicenames import as_path
from .edited import Translate

# One argument; text with an open quote runs to the end, as it does in Linux.
_ARG = re.compile(r'(?:[^ \t\r\n\v\f"]|"[^"]*"?)+')
# name="value": the quotes may be round the value or round the whole.
_VALUE = re.compile(r'("?[^="]+="?)([^"]*)("?)')
# A path between separators; a label may look like one and is none.
_ITEM = re.compile(r"(?<![^,:=])(?<!LABEL=)/dev/[^,:=]+(?![^,:])")
_CONSOLE = "console="
# Given more than once, the last one counts, for the kernel (init/do_mounts.c root_dev_setup(),
# kernel/power/hibernate.c resume_setup()) as for initrds: what goes before says nothing.
_LAST_COUNTS = re.compile(r'"?((?:root|resume)=)')

# Each argument with the white space before it; a list, because the editing is done in place.
_Args = list[tuple[str, str]]
_Pairs = list[tuple[str, str]]


def tokens(cmdline: str) -> list[str]:
    """The arguments as they stand, quotes included."""
    return _ARG.findall(cmdline)


def value(cmdline: str, key: str) -> str:
    """What the last `key=` gives, quotes taken off; "" where there is none."""
    bare = [token.replace('"', "") for token in tokens(cmdline)]
    found = [token for token in bare if token.startswith(f"{key}=")]
    return found[-1][len(key) + 1 :] if found else ""


def edit(
    cmdline: str,
    *,
    translate: Translate,
    remove: Callable[[str], bool] = lambda _token: False,
    last: Sequence[str] = (),
) -> tuple[str, list[tuple[str, str]]]:
    """Give the new command line and its changes as (old, new) arguments.

    translate: new names for devices (root=, resume=, cryptdevice= ...; rd.luks.* stays, and so do
    a root= and a resume= that a later one overrides).
    remove: which arguments to drop. last: arguments to append where they are missing; the last
    `console=` among them becomes the last console of the line, the one /dev/console is, and the
    others go before it, but only where the line names no other console.
    """
    found, at = [], 0
    for match in _ARG.finditer(cmdline):
        found.append((cmdline[at : match.start()], match[0]))
        at = match.end()
    tail = cmdline[at:]
    end = next((at for at, (_, token) in enumerate(found) if _ends(token)), len(found))
    args, rest = found[:end], found[end:]
    pairs: _Pairs = []
    args, rest = _drop(args, rest, lambda token: token not in last and remove(token), pairs)
    counting = _counting(args)
    args = [
        (space, _renamed(token, translate, pairs) if counts else token)
        for (space, token), counts in zip(args, counting)
    ]
    args, rest = _ensure(args, rest, last, pairs)
    return "".join(space + token for space, token in args + rest) + tail, pairs


def _ends(token: str) -> bool:
    """Nothing can be put behind `--`, nor behind a quote that is never closed."""
    return token == "--" or token.count('"') % 2 == 1


def _drop(
    args: _Args, rest: _Args, gone: Callable[[str], bool], pairs: _Pairs
) -> tuple[_Args, _Args]:
    """Take arguments out, each with the space before it; a first one with the space after it."""
    kept: _Args = []
    lead = None
    for space, token in args:
        if gone(token):
            pairs.append((token, ""))
            lead = space if not kept and lead is None else lead
        else:
            kept.append((space if lead is None or kept else lead, token))
    if lead is not None and not kept and rest:
        rest = [(lead, rest[0][1]), *rest[1:]]
    return kept, rest


def _counting(args: _Args) -> list[bool]:
    """For each argument, whether no later one overrides it."""
    seen: set[str] = set()
    found = []
    for _, token in reversed(args):
        match = _LAST_COUNTS.match(token)
        found.append(not match or match[1] not in seen)
        seen.update(match.groups() if match else ())
    return found[::-1]


def _renamed(token: str, translate: Translate, pairs: _Pairs) -> str:
    """Rename the devices in one argument's value."""
    match = _VALUE.fullmatch(token)
    if not match or token.lstrip('"').startswith("rd.luks."):
        return token
    new = match[1] + _value(match[2], translate) + match[3]
    if new != token:
        pairs.append((token, new))
    return new


def _value(value: str, translate: Translate) -> str:
    """A device as the whole value, or as an item: DEV:name, 0,DEV,DEV, or key=DEV,key=DEV."""
    if value.startswith("/dev/"):
        whole = translate(value)
        if whole:
            return whole
    return _ITEM.sub( lambda m: _path(m[0], translate), value)


def _path(path: str, translate: Translate) -> str:
    return as_path(translate(path) or path)


def _ensure(
    args: _Args, rest: _Args, last: Sequence[str], pairs: _Pairs
) -> tuple[_Args, _Args]:
    """Append what is missing of `last`."""
    consoles = [token for token in last if token.startswith(_CONSOLE)]
    for token in last:
        if token not in consoles and all(token != have for _, have in args):
            args, rest = _put(args, rest, len(args), token)
            pairs.append(("", token))
    if consoles:
        return _ensure_console(args, rest, consoles, pairs)
    return args, rest


def _ensure_console(
    args: _Args, rest: _Args, wanted: Sequence[str], pairs: _Pairs
) -> tuple[_Args, _Args]:
    main = wanted[-1]
    have = [token for _, token in args if token.startswith(_CONSOLE)]
    if not have or _device(have[-1]) != _device(main):
        args, rest = _drop(args, rest, lambda token: _device(token) == _device(main), pairs)
        # Options behind its name (a speed) are kept when it moves.
        moved = next((token for token in have if _device(token) == _device(main)), main)
        args, rest = _put(args, rest, len(args), moved)
        pairs.append(("", moved))
    if all(_device(token) == _device(main) for token in have):
        at = next(at for at, (_, token) in enumerate(args) if _device(token) == _device(main))
        for token in wanted[:-1]:
            args, rest = _put(args, rest, at, token)
            pairs.append(("", token))
            at += 1
    return args, rest


def _device(token: str) -> str:
    """`console=hvc0,115200` names the device `console=hvc0`; "" for another kind of argument."""
    return token.split(",")[0] if token.startswith(_CONSOLE) else ""


def _put(args: _Args, rest: _Args, at: int, token: str) -> tuple[_Args, _Args]:
    """Put an argument in; if it is the first, it takes the space before the one that was."""
    every = args + rest
    if at:
        new = [*every[:at], (" ", token), *every[at:]]
    elif every:
        new = [(every[0][0], token), (" ", every[0][1]), *every[1:]]
    else:
        new = [("", token)]
    return new[: len(args) + 1], new[len(args) + 1 :]
