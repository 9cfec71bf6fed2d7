"""How pygrub reads grub's configuration: grub.cfg of grub 2, menu.lst and grub.conf of grub legacy.

Source: Xen 4.17 tools/pygrub/src/GrubConf.py; the tests hold this module against it.
"""

from __future__ import annotations

import re
from typing import Optional

from pvprep.pygrub_config import (
    Draft,
    Menu,
    Parser,
    Unreadable,
    first_word,
    plain_path,
    shown,
    split,
)

_GRUB2_ROLES = {
    "set:root": "device",
    "linux": "kernel",
    "linux16": "kernel",
    "initrd": "initrd",
    "initrd16": "initrd",
}
_LEGACY_ROLES = {
    "root": "device",
    "rootnoverify": "device",
    "kernel": "kernel",
    "initrd": "initrd",
}


class Grub2(Parser):
    """grub.cfg: entries are what stands between `menuentry '...' ... {` and a line with `}`."""

    def __init__(self) -> None:
        super().__init__()
        self.in_function = False
        self.submenus = 0

    def feed(self, number: int, line: str) -> None:
        title = _grub2_title(line)
        if line.startswith("function"):
            self.in_function = True
        elif self.in_function:
            self.in_function = not line.startswith("}")
        elif title is not None:
            self.open(number, title)
        elif line.startswith("submenu"):
            self.submenus += 1
        elif line.startswith("}"):
            self.brace()
        else:
            self.command(number, line)

    def finish(self) -> Menu:
        if self.draft is not None:
            raise Unreadable("pygrub misses the `}` of this menuentry", self.draft.line)
        return super().finish()

    def open(self, number: int, title: str) -> None:
        if self.draft is not None:
            raise Unreadable("pygrub sees a menuentry inside of another one")
        self.draft = Draft(title, number)

    def brace(self) -> None:
        if self.draft is not None:
            self.close()
        elif self.submenus:
            self.submenus -= 1
        else:
            raise Unreadable(
                "pygrub sees a `}` without a menuentry, which it knows only as"
                " `menuentry 'TITLE' {` with quotes, on one line"
            )

    def command(self, number: int, line: str) -> None:
        name, value = _grub2_command(line)
        if self.draft is not None:
            self.draft.take(_GRUB2_ROLES.get(name, ""), value)
            return
        if value in ("${saved_entry}", "${next_entry}"):
            value = "0"
        if name == "set:default":
            self.set_default(value)
        elif name == "set:timeout":
            self.set_timeout(number, value)


def _grub2_title(line: str) -> Optional[str]:
    """The title, if the line opens an entry: it ends at the first quote that a space follows, of
    either kind, and a `{` has to come later.
    """
    if not line.startswith(("menuentry '", 'menuentry "')):
        return None
    start = len("menuentry '")
    end = re.compile("[\"'] ").search(line, start)
    if end is None or line.rfind("{") < end.end():
        return None
    return line[start : end.start()]


class Legacy(Parser):
    """menu.lst or grub.conf: an entry goes from its title to the next one."""

    def feed(self, number: int, line: str) -> None:
        if line.startswith("title"):
            self.close()
            self.draft = Draft(line[len("title ") :], number)
            return
        name, value = first_word(line)
        value = value.strip()
        if self.draft is not None:
            self.draft.take(_LEGACY_ROLES.get(name, ""), value)
        elif name == "default":
            # grub-set-default(8) keeps its choice in a file that pygrub does not read.
            self.set_default(value)
        elif name == "timeout":
            self.set_timeout(number, value)
        elif name == "splashimage":
            plain_path(value)

    def finish(self) -> Menu:
        if self.draft is not None and self.draft.lines:
            self.close()  # a last title with nothing behind it is no entry
        return super().finish()


def _grub2_command(line: str) -> tuple[str, str]:
    """As first_word; an assignment `set name=value` becomes `set:name` and the value unquoted."""
    name, value = first_word(line)
    if name == "set":
        name, value = _assignment(value)
    return name, value.strip()


def _assignment(text: str) -> tuple[str, str]:
    """Name and value of what stands behind `set`; pygrub wants to see exactly two parts."""
    parts = split(text, 2)
    if len(parts) > 2:
        raise Unreadable(
            f"pygrub cannot parse {shown(f'set {text}')}: only one `=` may stand in it"
        )
    if len(parts) < 2:
        raise Unreadable(f"pygrub cannot parse {shown(f'set {text}'.strip())}: there is no value")
    name, value = parts
    last = value.rfind(value[0]) if value.startswith(("'", '"')) else 0
    return f"set:{name}", value[1:last] if last else value
