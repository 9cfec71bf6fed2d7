"""Device names in files of free syntax: device.map, mdadm.conf, lvm.conf, systemd units ...

A name counts only as a whole: /dev/sda1 is neither in /dev/sda11 nor in /mnt/dev/sda1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ..devicenames import NAME, as_path
from .edited import Edited, Translate, lines
from .linewise import Change, cut, is_comment, rewrite

# by-path names contain colons, and nothing else that could end them in such files.
_LINK = r"disk/by-(?:id|path)/[^\s\"'|,;()\[\]{}*?<>$^\\]+"
_TOKEN = re.compile(rf"(?<![\w./@-])/dev/(?:{NAME}(?![\w/-]|\.\w)|{_LINK})")


def rename_devices(text: str, translate: Translate, comment: str = "#") -> Edited:
    """Rename every device name outside lines that start with one of the `comment` characters."""
    return _rename(text, _TOKEN, lambda name: as_path(translate(name) or name), comment)


def rename_prefixes(text: str, disks: Mapping[str, str], comment: str = "#") -> Edited:
    """Rename disks where a partition number or the rest of a regular expression follows.

    For lvm.conf: `a|^/dev/sda[0-9]*$|` and `r|/dev/nvme0n1p.*|`. disks: old name to new.
    """
    names = {_prefix(disk): vdev for disk, vdev in disks.items()}
    if not names:
        return Edited(text)
    either = "|".join(f"(?:{pattern})" for pattern in names)
    token = re.compile(rf"(?<![\w./@-])/dev/(?:{either})(?![A-Za-z_/-])")

    def renamed(name: str) -> str:
        disk = name[len("/dev/") :]
        return next(f"/dev/{new}" for old, new in names.items() if re.fullmatch(old, disk))

    return _rename(text, token, renamed, comment)


def mentions(text: str, names: Collection[str], comment: str = "#") -> list[tuple[int, str]]:
    """Lines, by number, that name one of these disks or a partition of it, /dev/ or not: the name.

    Not the line: such files have commands, and these passwords.
    """
    if not names:
        return []
    either = "|".join(re.escape(name) for name in names)
    word = re.compile(rf"(?:/dev/|(?<![\w-]))(?:{either})(?:p?[0-9]+)?(?!\w)")
    bodies = (cut(line)[0] for line in lines(text))
    found = ((number, body, word.search(body)) for number, body in enumerate(bodies, 1))
    return [(number, at[0]) for number, body, at in found if at and not is_comment(body, comment)]


def _prefix(disk: str) -> str:
    """A disk at the start of a longer name; a `p` goes with it if a number or pattern follows."""
    return re.escape(disk) + (r"(?:p(?![A-Za-z_/-])|(?![0-9p]))" if disk[-1].isdigit() else "")


def _rename(text: str, token: re.Pattern[str], new: Translate, comment: str) -> Edited:
    def change(body: str) -> Change:
        if is_comment(body, comment):
            return body, ()
        pairs = []

        def one(match: re.Match[str]) -> str:
            name = new(match[0]) or match[0]
            if name != match[0]:
                pairs.append((match[0], name))
            return name

        return token.sub(one, body), pairs

    return rewrite(text, change)
