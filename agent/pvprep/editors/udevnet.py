"""udev rules that name network interfaces: by MAC address, as udev's own generator wrote them, or
by hardware which a PV guest does not have, as YaST and people write them.

Files: z25_persistent-net.rules (Debian 4), 30-net_persistent_names.rules (SLES 10, by
rename_netiface) and 70-persistent-net.rules. Sources: udev's extras/rule_generator, udev(7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from ..facts import Nic
from .edited import Edit, Edited, lines
from .linewise import Partial, cut, is_comment

_MAC = re.compile(
    r'(?:ATTRS?|SYSFS)\{address\}\s*==?\s*"((?:[0-9a-f]{2}:){5,19}[0-9a-f]{2})"', re.IGNORECASE
)
_NAME = re.compile(r'(?:\A|[\s,])NAME\s*:?=\s*"([^"%$]+)"|rename_netiface\s+%k\s+([^\s"]+)"')
# The generator's comment: "# PCI device 0x8086:0x100e (e1000)", "# net device ()".
_GENERATED = re.compile(r"#.*\bdevice\b.*\(.*\).*")

_MATCH = re.compile(r'\b([A-Z]+(?:\{[^}"\n]*\})?)[ \t]*==?[ \t]*"([^"\n]*)"')
# What a rule asks of hardware, as the card (an empty string: nobody knows) and as a vif has it.
_HARDWARE: dict[str, tuple[Callable[[Nic], str], str]] = {
    **dict.fromkeys(("DRIVER", "DRIVERS"), (lambda nic: nic.driver, "vif")),
    **dict.fromkeys(("ID", "KERNELS"), (lambda nic: nic.path[len("pci-") :], "vif-0")),
    **dict.fromkeys(("BUS", "SUBSYSTEMS"), (lambda nic: nic.path.split("-")[0], "xen")),
    "ENV{ID_PATH}": (lambda nic: nic.path, "xen-vif-0"),
}
_PCI_IDS = re.compile(r"(?:ATTRS|SYSFS)\{(?:vendor|device|subsystem_\w+)\}")

# How the files of all eras end: z25_persistent-net.rules, 70-persistent-net.rules, and SUSE's.
FILES = ("persistent-net.rules", "net_persistent_names.rules")


def names(text: str) -> dict[str, str]:
    """The names that the rules give, by MAC address in small letters; the first rule wins."""
    found: dict[str, str] = {}
    for _, _, mac, name in _rules(lines(text)):
        found.setdefault(mac, name)
    return found


def remove(text: str, kept: Sequence[str] = ()) -> Edited:
    """Take out those rules, and above each the generator's comment about it.

    kept: MAC addresses, in small letters, whose rules stay.
    """
    every = lines(text)
    gone: set[int] = set()
    for first, after, mac, _ in _rules(every):
        if mac in kept:
            continue
        above = first - 1
        if above >= 0 and _GENERATED.fullmatch(cut(every[above])[0]):
            gone.add(above)
        gone.update(range(first, after))
    edits = tuple(Edit(at + 1, cut(every[at])[0], "") for at in sorted(gone))
    return Edited("".join(line for at, line in enumerate(every) if at not in gone), edits)


def is_empty(text: str) -> bool:
    """Are there only comments and empty lines left?"""
    return all(is_comment(cut(line)[0]) for line in lines(text))


def by_mac(text: str, nics: Sequence[Nic]) -> Partial:
    """Let rules that name by hardware name by the MAC address alone: a vif has nothing else of it.

    Only where that is one interface for sure; other such rules are left over.
    """
    every = lines(text)
    edits, leftover = [], []
    for first, after in _all(every):
        rule = "".join(every[first:after])
        name = _NAME.search(rule)
        gone = [found for found in _MATCH.finditer(rule) if _vanishes(found)]
        if not name or not gone:
            continue
        asked = _MAC.search(rule)
        new = "" if asked else _by_address(gone, nics)
        if not asked and not new:
            leftover.append((first + 1, cut(every[first])[0].strip()))
            continue
        moved = 0  # what follows stands where it did, but for what was changed before it
        for found in gone:
            start, end = found.start() + moved, found.end() + moved
            if not new:
                start, end = _with_comma(rule, start, end)
            old, line = rule[start:end], first + rule.count("\n", 0, start) + 1
            rule = rule[:start] + new + rule[end:]
            moved += len(new) - len(old)
            edits.append(Edit(line, old, new))
            new = ""
        every[first:after] = lines(rule)
    return Partial("".join(every), tuple(edits), tuple(leftover))


def _by_address(gone: Sequence[re.Match[str]], nics: Sequence[Nic]) -> str:
    """The condition that asks for the one interface that these ask for; "" if that is not sure."""
    fits = [nic for nic in nics if all(_fits(nic, found) for found in gone)]
    return f'ATTR{{address}}=="{fits[0].mac}"' if len(fits) == 1 and fits[0].mac else ""


def _vanishes(found: re.Match[str]) -> bool:
    """Does this condition not hold for a vif?"""
    key, value = found[1], found[2]
    if _PCI_IDS.fullmatch(key):
        return True
    return key in _HARDWARE and "vif" not in value and not _met(value, _HARDWARE[key][1])


def _fits(nic: Nic, found: re.Match[str]) -> bool:
    if found[1] not in _HARDWARE:
        return False
    has = _HARDWARE[found[1]][0](nic)
    return bool(has) and _met(found[2], has)


def _met(pattern: str, value: str) -> bool:
    return any(fnmatchcase(value, part) for part in pattern.split("|"))


def _with_comma(rule: str, start: int, end: int) -> tuple[int, int]:
    """Where a condition stands together with the comma that parts it from its neighbour, if any."""
    before = re.search(r"[ \t]*,[ \t]*\Z", rule[:start])
    if before:
        return before.start(), end
    behind = re.compile(r"[ \t]*,[ \t]*").match(rule, end)
    return start, behind.end() if behind else end


def _rules(every: list[str]) -> Iterator[tuple[int, int, str, str]]:
    """Each rule that names by MAC: its first line, the line after it, the MAC and the name."""
    for first, after in _all(every):
        parts = [cut(line)[0] for line in every[first:after]]
        rule = "".join(part[:-1] if part.endswith("\\") else part for part in parts)
        mac, name = _MAC.search(rule), _NAME.search(rule)
        if mac and name:
            yield first, after, mac[1].lower(), name[1] or name[2]


def _all(every: list[str]) -> Iterator[tuple[int, int]]:
    """Each rule: its first line, and the line after it."""
    at = 0
    while at < len(every):
        first = at
        at += 1
        if is_comment(cut(every[first])[0]):
            continue
        while cut(every[at - 1])[0].endswith("\\") and at < len(every):
            at += 1
        yield first, at
