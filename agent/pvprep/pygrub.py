"""What dom0's pygrub will find on a guest's first disk, and what it will boot.

A simulation: data in, data out; nothing is run and nothing is opened but through the Volumes.
Source: Xen 4.17 tools/pygrub/src/pygrub; the tests hold this module against the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Optional, Union

from pvprep.facts import Disk, Partition
from pvprep.pygrub_config import Entry, Menu, Parser, Unreadable, integer, shown
from pvprep.pygrub_extlinux import ExtLinux
from pvprep.pygrub_grub import Grub2, Legacy

# In this order; the first one that a file system has is the only one that pygrub reads there.
CONFIG_FILES: tuple[tuple[str, type[Parser]], ...] = (
    ("/boot/grub/grub.cfg", Grub2),
    ("/grub/grub.cfg", Grub2),
    ("/boot/grub2/grub.cfg", Grub2),
    ("/grub2/grub.cfg", Grub2),
    ("/boot/isolinux/isolinux.cfg", ExtLinux),
    ("/boot/extlinux/extlinux.conf", ExtLinux),
    ("/boot/extlinux.conf", ExtLinux),
    ("/extlinux/extlinux.conf", ExtLinux),
    ("/extlinux.conf", ExtLinux),
    ("/boot/grub/menu.lst", Legacy),
    ("/boot/grub/grub.conf", Legacy),
    ("/grub/menu.lst", Legacy),
    ("/grub/grub.conf", Legacy),
)

# What libxenfsimage reads, by blkid's names; not each of their variants, see Volume.problem.
READABLE = frozenset(
    {"ext2", "ext3", "ext4", "vfat", "iso9660", "reiserfs", "ufs", "xfs", "zfs_member"}
)

READ_MAX = 1024 * 1024  # bytes of a configuration file that pygrub reads

NOTHING_FOUND = "Unable to find partition containing kernel"
BAD_DELIMITER = "simple format cannot represent delimiter-containing value"

# MBR types: pygrub looks for a Solaris label inside these, and passes over them without one.
_SOLARIS_TYPES = (0x82, 0xBF)


@dataclass(frozen=True)
class Volume:
    """A file system on the guest's first disk, as far as the guest can look into it.

    name: for people, as `/dev/sda1`. fstype: blkid's name.
    read, size: content, or size in bytes, of a regular file, by path from this file system's own
    root (links followed inside of it); None where there is none. read may stop after READ_MAX.
    known: False where it could not be looked into, then read and size are not called.
    problem: why libxenfsimage cannot read it although it knows the type (XFS v5, ext4 bigalloc).
    """

    name: str
    fstype: str
    read: Callable[[str], Optional[bytes]]
    size: Callable[[str], Optional[int]]
    known: bool = True
    problem: str = ""


@dataclass(frozen=True)
class Miss:
    """A volume on which pygrub finds nothing to boot, and why; where: `file:line`, if there is one.

    known: False where this is not certain, since nobody could look.
    """

    volume: str
    reason: str
    where: str = ""
    entries: tuple[Entry, ...] = ()
    known: bool = True


@dataclass(frozen=True)
class Pick:
    """What pygrub takes. config: path on that volume; args: the kernel's command line, exactly.

    misses: the volumes it passes over before. If one of them is not known, neither is the pick.
    needs_quiet: why only `pygrub -q` takes it, else "". Without -q pygrub shows its menu, and xl
    sets -q only with bootloader_restrict (source: tools/libs/light/libxl_bootloader.c).
    """

    volume: str
    config: str
    index: int
    title: str
    kernel: str
    initrd: str
    args: str
    entries: tuple[Entry, ...]
    misses: tuple[Miss, ...] = ()
    needs_quiet: str = ""


@dataclass(frozen=True)
class Refusal:
    """pygrub stops. message: its own; reason: in words for people; where: `file:line`, if known.

    entries: of the file that is to blame, or of the first one with any.
    """

    message: str
    reason: str
    where: str = ""
    entries: tuple[Entry, ...] = ()
    misses: tuple[Miss, ...] = ()


@dataclass(frozen=True)
class _Found:
    config: str
    menu: Menu
    index: int

    @property
    def entry(self) -> Entry:
        return self.menu.entries[self.index]


def order(disk: Disk) -> tuple[Partition, ...]:
    """The partitions of a disk in pygrub's order; number 0, the whole disk, where it has none.

    Of an MBR pygrub sees the four primaries (the flag for the active one changes nothing), of a
    GPT all, as the table has them.
    """
    by_number = sorted(disk.partitions, key=lambda partition: partition.number)
    if disk.table == "dos":
        primaries = [part for part in by_number if 1 <= part.number <= 4]
        tried = tuple(part for part in primaries if _mbr_type(part) not in _SOLARIS_TYPES)
        if tried:
            return tried
    elif disk.table == "gpt":
        return tuple(part for part in by_number if part.number > 0)
    return tuple(part for part in by_number if part.number == 0)


def choose(volumes: Iterable[Volume]) -> Union[Pick, Refusal]:
    """What `pygrub -q` does with a disk that holds these volumes, given in the order it tries."""
    misses: list[Miss] = []
    for volume in volumes:
        found = _look(volume)
        if isinstance(found, _Found):
            return _load(volume, found, tuple(misses))
        misses.append(found)
    return Refusal(
        NOTHING_FOUND,
        "; ".join(f"{miss.volume}: {miss.reason}" for miss in misses) or "there is no partition",
        next((miss.where for miss in misses if miss.where), ""),
        next((miss.entries for miss in misses if miss.entries), ()),
        tuple(misses),
    )


def _mbr_type(partition: Partition) -> int:
    try:
        return int(partition.type, 16)
    except ValueError:
        return 0


def _look(volume: Volume) -> Union[_Found, Miss]:
    """The menu on a volume and the entry to boot, if there is one with a kernel's name."""
    problem = _unreadable(volume)
    if problem:
        return Miss(volume.name, problem)
    if not volume.known:
        return Miss(volume.name, f"{volume.fstype}, nobody could look into it", known=False)
    for path, parser in CONFIG_FILES:
        content = volume.read(path)
        if content is not None:
            return _read(volume, path, content[:READ_MAX], parser())
    return Miss(volume.name, "no boot loader configuration that pygrub looks for")


def _unreadable(volume: Volume) -> str:
    if not volume.fstype:
        return "no file system"
    if volume.fstype not in READABLE:
        return f"pygrub cannot read {volume.fstype}"
    return volume.problem


def _read(volume: Volume, path: str, content: bytes, parser: Parser) -> Union[_Found, Miss]:
    try:
        menu = parser.read(_text(content))
    except Unreadable as bad:
        where = f"{path}:{bad.line}" if bad.line else path
        return Miss(volume.name, f"{where}: {bad.reason}", where)
    if not menu.entries:
        return Miss(volume.name, f"{path} has no entry that pygrub understands", path)
    found = _Found(path, menu, menu.default if menu.default < len(menu.entries) else 0)
    if not found.entry.kernel:
        where = f"{path}:{found.entry.line}"
        reason = f"{where}: the default entry {shown(found.entry.title)} has no kernel for pygrub"
        return Miss(volume.name, reason, where, menu.entries)
    return found


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as bad:
        line = content.count(b"\n", 0, bad.start) + 1
        raise Unreadable("pygrub reads UTF-8 only, and this is none", line) from None


def _load(volume: Volume, found: _Found, misses: tuple[Miss, ...]) -> Union[Pick, Refusal]:
    """pygrub has made its choice: from here on it tries nothing else."""
    entry = found.entry
    where = f"{found.config}:{entry.line}"
    for kind, path in (("kernel", entry.kernel), ("initrd", entry.initrd)):
        if path and not _has(volume, path):
            reason = _why_missing(volume, entry, kind, path)
            message = f"Error opening {path} in guest"
            return Refusal(message, reason, where, found.menu.entries, misses)
    if "\0" in entry.args:
        reason = f"the arguments of {shown(entry.title)} hold a NUL character"
        return Refusal(BAD_DELIMITER, reason, where, found.menu.entries, misses)
    return Pick(
        volume.name,
        found.config,
        found.index,
        entry.title,
        entry.kernel,
        entry.initrd,
        entry.args,
        found.menu.entries,
        misses,
        _needs_quiet(found),
    )


def _has(volume: Volume, path: str) -> bool:
    """libext2fs, unlike Linux, takes `//` for a directory without a name."""
    if "\0" in path or (volume.fstype.startswith("ext") and "//" in path):
        return False
    return volume.size(path) is not None


def _why_missing(volume: Volume, entry: Entry, kind: str, path: str) -> str:
    if path.startswith(("'", '"')):
        why = "pygrub takes the quotes for part of the name"
    elif len(path.split()) > 1:
        why = "pygrub takes the whole line for the name of one file"
    else:
        why = "pygrub looks for it on the volume of the configuration file only"
    return (
        f"{volume.name} has no {kind} {shown(path)}, which entry {shown(entry.title)} names; {why}"
    )


def _needs_quiet(found: _Found) -> str:
    menu = found.menu
    try:
        integer(menu.timeout)
    except ValueError:
        return (
            f"{found.config}:{menu.timeout_line}: the timeout {shown(menu.timeout)} is no number,"
            " so pygrub fails where it shows its menu, as xl makes it do;"
            ' bootloader_args=["-q"] avoids that'
        )
    return ""
