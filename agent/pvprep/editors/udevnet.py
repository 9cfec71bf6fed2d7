"""udev rules that bind an interface's name to a MAC address, as udev's own generator wrote them.

Files: z25_persistent-net.rules (Debian 4), 30-net_persistent_names.rules (SLES 10, by
rename_netiface) and 70-persistent-net.rules. Source: udev's extras/rule_generator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .edited import Edit, Edited, lines
from .linewise import cut, is_comment

_MAC = re.compile(
    r'(?:ATTRS?|SYSFS)\{address\}\s*==?\s*"((?:[0-9a-f]{2}:){5,19}[0-9a-f]{2})"', re.IGNORECASE
)
_NAME = re.compile(r'(?:\A|[\s,])NAME\s*:?=\s*"([^"%$]+)"|rename_netiface\s+%k\s+([^\s"]+)"')
# The generator's comment: "# PCI device 0x8086:0x100e (e1000)", "# net device ()".
_GENERATED = re.compile(r"#.*\bdevice\b.*\(.*\).*")

# How the files of all eras end: z25_persistent-net.rules, 70-persistent-net.rules, and SUSE's.
FILES = ("persistent-net.rules", "net_persistent_names.rules")


def names(text: str) -> dict[str, str]:
    """The names that the rules give, by MAC address in small letters; the first rule wins."""
    found: dict[str, str] = {}
    for _, _, mac, name in _rules(lines(text)):
        found.setdefault(mac, name)
    return found


def remove(text: str) -> Edited:
    """Take out those rules, and above each the generator's comment about it."""
    every = lines(text)
    gone: set[int] = set()
    for first, after, _, _ in _rules(every):
        above = first - 1
        if above >= 0 and _GENERATED.fullmatch(cut(every[above])[0]):
            gone.add(above)
        gone.update(range(first, after))
    edits = tuple(Edit(at + 1, cut(every[at])[0], "") for at in sorted(gone))
    return Edited("".join(line for at, line in enumerate(every) if at not in gone), edits)


def is_empty(text: str) -> bool:
    """Are there only comments and empty lines left?"""
    return all(is_comment(cut(line)[0]) for line in lines(text))


def _rules(every: list[str]) -> Iterator[tuple[int, int, str, str]]:
    """Each rule that names by MAC: its first line, the line after it, the MAC and the name."""
    at = 0
    while at < len(every):
        first = at
        body = cut(every[at])[0]
        at += 1
        if is_comment(body):
            continue
        parts = [body]
        while parts[-1].endswith("\\") and at < len(every):
            parts.append(cut(every[at])[0])
            at += 1
        rule = "".join(part[:-1] if part.endswith("\\") else part for part in parts)
        mac, name = _MAC.search(rule), _NAME.search(rule)
        if mac and name:
            yield first, at, mac[1].lower(), name[1] or name[2]
