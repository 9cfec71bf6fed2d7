"""Names of block devices: their grammar, and what each disk is called once the guest boots PV.

The map from disk to vdev is made once, from facts, and used for every file and for the domU config,
so that they cannot disagree. Sources: Linux Documentation/admin-guide/devices.txt and
block/genhd.c (`p` before the number where a disk's name ends in a digit), Xen's
docs/man/xen-vbd-interface(7), systemd's 60-persistent-storage.rules.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

from .facts import Disk, Partition

# Names of disks; a pattern for other modules that look for them in free text.
LETTERED = r"(?:sd|hd|vd|xvd)[a-z]+"
NUMBERED = r"(?:nvme[0-9]+n[0-9]+|mmcblk[0-9]+|(?:cciss|ida|rd)/c[0-9]+d[0-9]+)"
NAME = rf"(?:{LETTERED}(?:[1-9][0-9]*)?|{NUMBERED}(?:p[1-9][0-9]*)?)"

_SPLIT = re.compile(rf"({LETTERED})([1-9][0-9]{{0,4}})?|({NUMBERED})(?:p([1-9][0-9]{{0,4}}))?")
_LINK = re.compile(r"/dev/disk/by-(?:id|path)/.+")
_LINK_PART = re.compile(r"(.+)-part([1-9][0-9]{0,4})")
# These follow what is on the disk, not the hardware under it: they stay right under PV.
_STABLE_ID = re.compile(r"/dev/disk/by-id/(?:dm|md|lvm)-")
_UUID = re.compile(r"[0-9A-Za-z-]+")


def split(name: str) -> Optional[tuple[str, int]]:
    """`sda1` is ("sda", 1), `nvme0n1` ("nvme0n1", 0); None for what is no disk (md0, sr0 ...)."""
    match = _SPLIT.fullmatch(name)
    if not match:
        return None
    lettered, number, numbered, part = match.groups()
    return lettered or numbered, int(number or part or 0)


def join(disk: str, number: int) -> str:
    """The name of a disk's partition; of the disk itself for number 0."""
    if not number:
        return disk
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def as_path(name: str) -> str:
    """A path for a name that may be a UUID= tag: for places where only a path is understood."""
    if name.startswith("UUID="):
        return "/dev/disk/by-uuid/" + name[len("UUID=") :]
    return name


@dataclass(frozen=True)
class DeviceMap:
    """What each of the guest's disks is called under PV. Make it with `make`.

    vdevs: disk to vdev (`sda` to `xvda`), in guest order. aliases: by-id and by-path names
    to kernel names (`sda1`, or what is no disk: `dm-0`). uuids: partition to file system UUID.
    """

    vdevs: Mapping[str, str]
    aliases: Mapping[str, str]
    uuids: Mapping[str, str]

    @classmethod
    def make(
        cls, disks: Sequence[Disk], scheme: str = "xvd", aliases: Optional[Mapping[str, str]] = None
    ) -> DeviceMap:
        """Give every disk its vdev: `scheme` is "xvd" for pv_ops kernels, "hd" for XenLinux.

        A disk that has such a name already keeps it; the others take the free letters in order.
        """
        names = [disk.name for disk in disks if split(disk.name)]
        kept = {name for name in names if re.fullmatch(rf"{scheme}[a-z]+[0-9]*", name)}
        taken = {_disk(name) for name in kept}
        free = (vdev for vdev in vdev_names(scheme) if vdev not in taken)
        vdevs = {name: name if name in kept else next(free) for name in dict.fromkeys(names)}
        return cls(vdevs, dict(aliases or {}), _uuids(disks))

    def given(self, disk: str, by_name: Mapping[str, str]) -> Optional[str]:
        """What an operator gave for a disk: under its vdev, its own name, or as one of xvda ...

        Whether the guest's kernel is of the XenLinux line, which calls them hda ..., nobody outside
        needs to know.
        """
        vdev = self.vdevs[disk]
        names = (vdev, disk, "xvd" + vdev[2:] if vdev.startswith("hd") else vdev)
        return next((by_name[name] for name in names if name in by_name), None)

    def known(self) -> set[str]:
        """Every name that `given` looks for."""
        hds = {"xvd" + vdev[2:] for vdev in self.vdevs.values() if vdev.startswith("hd")}
        return {*self.vdevs, *self.vdevs.values(), *hds}

    def translate(self, path: str) -> Optional[str]:
        """The PV name of a device, as a path; None for what is no disk or not one of the map's.

        A name that is a vdev of the map already comes back as it is.
        """
        found = self._find(path)
        return "/dev/" + join(self.vdevs[found[0]], found[1]) if found else None

    def uuid_translate(self, path: str) -> Optional[str]:
        """`UUID=...` for a partition whose file system (or swap) has one, else as `translate`."""
        found = self._find(path)
        uuid = self.uuids.get(join(*found)) if found else None
        return f"UUID={uuid}" if uuid else self.translate(path)

    def unknown(self, path: str) -> bool:
        """Does this name a disk by its hardware, but none that the map knows?"""
        if _LINK.fullmatch(path):
            return self._alias(path) is None and not _STABLE_ID.match(path)
        if not path.startswith("/dev/") or split(path[len("/dev/") :]) is None:
            return False
        return self._find(path) is None

    def _alias(self, path: str) -> Optional[str]:
        """The kernel name behind a by-id or by-path name; a partition's follows from its disk's."""
        if path in self.aliases:
            return self.aliases[path]
        match = _LINK_PART.fullmatch(path)
        disk = self.aliases.get(match[1]) if match else None
        return join(disk, int(match[2])) if match and disk and split(disk) else None

    def _find(self, path: str) -> Optional[tuple[str, int]]:
        """The map's disk and the partition number that a path names under its old or new name."""
        name = self._alias(path) if _LINK.fullmatch(path) else None
        if name is None:
            if not path.startswith("/dev/"):
                return None
            name = path[len("/dev/") :]
        # A whole disk may be named as a partition is (vdev=xvda1): the full name goes first.
        for found in ((name, 0), split(name)):
            if found and found[0] in self.vdevs:
                return found
            if found and found[0] in self._disks:
                return self._disks[found[0]], found[1]
        return None

    @cached_property
    def _disks(self) -> dict[str, str]:
        """The other way round: vdev to disk."""
        return {vdev: disk for disk, vdev in self.vdevs.items()}


def vdev_names(scheme: str) -> Iterator[str]:
    """xvda ... xvdz, xvdaa, xvdab ...: as Linux's xen-blkfront counts."""
    return (scheme + _letters(number) for number in itertools.count())


def vdev_of(number: int) -> str:
    """What xen-vbd-interface(7) calls the virtual disk of this number; "" for a reserved one."""
    high, low = number >> 8, number & 0xFF
    if number >> 28 == 1:
        return join("xvd" + _letters(high & 0xFFFFF), low)
    if high in (202, 8):
        return join(("xvd" if high == 202 else "sd") + _letters(low >> 4), low & 15)
    if high in (3, 22) and low < 128:
        return join("hd" + _letters((low >> 6) + (2 if high == 22 else 0)), low & 63)
    return ""


def _letters(number: int) -> str:
    letters = ""
    while number >= 0:
        letters = chr(ord("a") + number % 26) + letters
        number = number // 26 - 1
    return letters


def _disk(name: str) -> str:
    found = split(name)
    return found[0] if found else name


def _uuids(disks: Sequence[Disk]) -> dict[str, str]:
    """File system UUIDs that udev makes links for and that name one partition only."""
    parts = [part for disk in disks for part in disk.partitions if _mountable(part)]
    seen = Counter(part.uuid for part in parts)
    return {part.name: part.uuid for part in parts if seen[part.uuid] == 1}


def _mountable(part: Partition) -> bool:
    """Members of LVM or RAID have a UUID too, but no by-uuid link is made from it."""
    return bool(_UUID.fullmatch(part.uuid)) and not part.fstype.endswith("_member")
