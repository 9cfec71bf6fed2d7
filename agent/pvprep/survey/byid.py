"""The names of udev's that describe hardware, in a tree: which disk each of them means.

SUSE writes /dev/disk/by-id names into fstab and the boot menu. Nobody can follow such a link where
the guest does not run; but QEMU numbers its disks (QM00001, QM00002 ...), the BIOS does (dev80,
dev81 ...), and a path along the bus sorts as the kernel counts.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence

from ..devicenames import join
from ..facts import Disk, Partition
from .storage import NAMING

_NAME = re.compile(r"/dev/disk/(by-id|by-path)/([^\s\"',;#()]+)")
_PART = re.compile(r"(.+?)(?:-part([1-9]\d*))?")
# What follows the content of a disk, and what is no disk of the domU's.
_OTHERS = re.compile(r"(?:dm|md|lvm|usb)-.*|.*(?:DVD|CD|CDRW)[-_]?ROM.*|.*-(?:usb|fdc)-.*", re.I)


def disks(texts: Mapping[str, str]) -> tuple[Disk, ...]:
    """The disks of a tree that names them in this way alone; called as a SCSI disk is."""
    groups = _groups(texts)
    count = max(map(len, groups.values()), default=0)
    parts: list[set[int]] = [set() for _ in range(count)]
    for group in groups.values():
        if len(group) == count:
            for at, names in enumerate(group):
                parts[at].update(number for _, number in names if number)
    return tuple(
        Disk(f"sd{letter}", partitions=tuple(
            Partition(join(f"sd{letter}", number), number) for number in sorted(numbers)
        ))
        for letter, numbers in zip(string.ascii_lowercase, parts)
    )  # fmt: skip


def aliases(texts: Mapping[str, str], known: Sequence[Disk]) -> dict[str, str]:
    """Each such path, without -partN, and the disk that it means, where that is certain."""
    found = {}
    for group in _groups(texts).values():
        if len(group) == len(known):
            for disk, names in zip(known, group):
                found.update({path: disk.name for path, _ in names})
    return found


def _groups(texts: Mapping[str, str]) -> dict[str, list[set[tuple[str, int]]]]:
    """By kind of name: for each disk, in order, its names and the partitions that they have."""
    kinds: dict[str, dict[str, set[tuple[str, int]]]] = {}
    for directory, name in _names(texts):
        found = _PART.fullmatch(name)
        if found is None or _OTHERS.fullmatch(name):
            continue
        kind = "edd" if name.startswith("edd-") else directory
        # ata-QEMU_HARDDISK_QM00001 and scsi-SATA_QEMU_HARDDISK_QM00001 are one disk.
        key = found[1] if kind == "by-path" else found[1].rsplit("_", 1)[-1]
        path = f"/dev/disk/{directory}/{found[1]}"
        kinds.setdefault(kind, {}).setdefault(key, set()).add((path, int(found[2] or 0)))
    return {kind: [keys[key] for key in sorted(keys)] for kind, keys in kinds.items()}


def _names(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path, text in texts.items():
        for line in text.split("\n") if path.startswith(NAMING) else ():
            # The options of update-grub are comments to GRUB.
            if not line.lstrip().startswith("#") or line.startswith("# kopt"):
                yield from _NAME.findall(line)
