"""What pygrub makes of a boot loader's configuration: menus, entries, and the words in a line.

pygrub does not run these files, it picks lines out of them, and much of what grub accepts it does
not. What it makes of a file is told here as it is, oddities included; each language has a module
of its own. Source: Xen 4.17 tools/pygrub/src/GrubConf.py; the tests hold this module against it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

# Python 3.11 refuses to make an int of more digits, and to pygrub that is just no number.
DIGITS_MAX = 4300

SHOWN_MAX = 120  # characters of the guest's text in a message


class Unreadable(Exception):
    """pygrub gives up on the whole file here. line: from 1; 0 where no line is to blame."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True)
class Entry:
    """A boot entry as pygrub sees it; paths without the device in front, "" where it has none.

    line: where the entry begins, from 1. args: the kernel's command line.
    """

    title: str
    line: int
    kernel: str = ""
    initrd: str = ""
    args: str = ""


@dataclass(frozen=True)
class Menu:
    """All entries of a file in pygrub's order (submenus are flat), and the default's index.

    default: as the file says, it may lie behind the last entry. timeout: as the file says, which
    need not be a number; timeout_line: where, 0 if nowhere.
    """

    entries: tuple[Entry, ...]
    default: int = 0
    timeout: str = "-1"
    timeout_line: int = 0


def shown(text: str) -> str:
    """The guest's text as part of a message: short, printable, in backquotes."""
    text = text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."
    return f"`{''.join(char if char.isprintable() else ascii(char)[1:-1] for char in text)}`"


def integer(text: str) -> int:
    """The number that pygrub takes this text for, or ValueError."""
    if len(text) > DIGITS_MAX:
        raise ValueError("too many digits")
    return int(text)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines with something on them; str.strip() also takes CR, tabs and odd blanks."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line


def split(text: str, limit: int) -> list[str]:
    """Cut at each "=" if the first one comes before any space or tab, else at white space."""
    equals = text.find("=")
    blanks = [at for at in (text.find(" "), text.find("\t")) if at != -1]
    if equals != -1 and (not blanks or equals < min(blanks)):
        return text.split("=", limit)
    return text.split(None, limit)


def first_word(line: str) -> tuple[str, str]:
    """The first word and the rest."""
    words = split(line, 1)
    return words[0], words[1] if len(words) > 1 else ""


def check_device(text: str) -> None:
    """A grub device as pygrub reads it: two letters and a number (hd0), or /dev/xvda; then
    perhaps a comma and a partition's number, which msdos or gpt may precede. It is read and then
    ignored, but one that cannot be read fails the whole file.
    """
    disk, *parts = text.replace("(", "").replace(")", "").split(",")
    try:
        if len(parts) > 1 or disk == "/dev/xvd":
            raise ValueError("one comma at most, and /dev/xvd wants a letter")
        if not disk.startswith("/dev/xvd"):
            integer(disk[2:])
        for part in parts:
            integer(re.sub("^(msdos)?(gpt)?", "", part))
    except ValueError:
        raise Unreadable(f"pygrub cannot parse the device name {shown(text)}") from None


def plain_path(text: str) -> str:
    """The path behind a device name in parentheses."""
    if not text.startswith("("):
        return text
    device, closing, path = text.partition(")")
    if not closing:
        raise Unreadable(f"pygrub misses the closing parenthesis in {shown(text)}")
    check_device(device)
    return path


def kernel_and_args(value: str) -> tuple[str, str]:
    """Cut behind the first word; but only a space tells pygrub that there are arguments."""
    words = value.split(None, 1) if " " in value else [value, ""]
    if len(words) != 2:
        raise Unreadable(f"pygrub cannot part kernel and arguments in {shown(value)}")
    return words[0], words[1]


class Draft:
    """An entry in the making."""

    def __init__(self, title: str, line: int) -> None:
        self.title = title.strip()
        self.line = line
        self.kernel = self.initrd = self.args = ""
        self.lines = 0

    def take(self, role: str, value: str) -> None:
        """One line of the entry, by the role that its command has for pygrub."""
        self.lines += 1
        if role == "device":
            check_device(value)
        elif role == "kernel":
            kernel, self.args = kernel_and_args(value)
            self.kernel = plain_path(kernel)
        elif role == "initrd":
            self.initrd = plain_path(value)

    def entry(self) -> Entry:
        return Entry(self.title, self.line, self.kernel, self.initrd, self.args)


class Parser(ABC):
    """Takes a file line by line; a subclass knows the language."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.draft: Optional[Draft] = None
        self.default = 0
        self.timeout = "-1"
        self.timeout_line = 0

    def read(self, text: str) -> Menu:
        """The menu in this text. Raises Unreadable where pygrub fails."""
        for number, line in _lines(text):
            try:
                self.feed(number, line)
            except Unreadable as bad:
                raise Unreadable(bad.reason, bad.line or number) from None
        return self.finish()

    @abstractmethod
    def feed(self, number: int, line: str) -> None:
        """A line without blanks around it; it is not empty and no comment."""

    def finish(self) -> Menu:
        return Menu(tuple(self.entries), self.default, self.timeout, self.timeout_line)

    def close(self) -> None:
        """The entry in the making is complete."""
        if self.draft is not None:
            self.entries.append(self.draft.entry())
        self.draft = None

    def set_timeout(self, number: int, value: str) -> None:
        self.timeout, self.timeout_line = value, number

    def set_default(self, value: str) -> None:
        """What is no number (a title, an id, a variable, `1>0`) is the first entry to pygrub."""
        try:
            self.default = integer(value)
        except ValueError:
            self.default = 0
        if self.default < 0:
            raise Unreadable(f"pygrub wants no negative default, and it is {shown(value)}")
