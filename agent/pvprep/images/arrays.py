"""Arrays of Linux' MD driver as ranges of the disks, from the superblocks of all their members.

mdadm(8) would start them under a name of the host's and count every start in the superblocks; the
host's udev would start them by itself as soon as it saw a member (64-md-raid-assembly.rules). The
data of a mirror or a stripe set lie at known places: they are used as what they are, and the
superblocks stay as they were. Source: Linux include/uapi/linux/raid/md_p.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Optional

from .host import refusal
from .volumes import GUESTFS, Segment, Volume

_MAGIC = 0xA92B4EFC
_SECTOR = 512
_CLEAN, _FAULTY, _ACTIVE, _SYNC = 1 << 0, 1 << 0, 1 << 1, 1 << 2
_RESERVED = 64 << 10  # MD_RESERVED_BYTES: version 0.90 lies in the last aligned 64 KiB
_RUNNING = 0xFFFFFFFFFFFFFFFF  # MaxSector: a resync has come to its end
_LEVELS = {-1: "linear", 0: "RAID 0", 1: "RAID 1", 4: "RAID 4", 5: "RAID 5", 6: "RAID 6",
           10: "RAID 10"}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One member, as its superblock has it. role: its place in the array, None for a spare.

    uuid: as mdadm writes it in a configuration. data: its share of the content. chunk: bytes.
    """

    uuid: str
    name: str
    level: int
    disks: int
    role: Optional[int]
    events: int
    clean: bool
    chunk: int
    data: Volume
    part: str


@dataclass(frozen=True)
class Array:
    """An array. names: what a guest calls it. problem: why it cannot be used (no volume then)."""

    uuid: str
    names: tuple[str, ...]
    volume: Optional[Volume]
    parts: tuple[str, ...]
    kind: str
    problem: str = ""


def member(volume: Volume, part: str) -> Member:
    """What a member's superblock says. PvprepError where there is none that is known."""
    size = volume.size
    # Versions 1.1, 1.2 and 1.0 (md_p.h, "where the superblock is"), then 0.90.
    for at in (0, 4096, ((size // _SECTOR - 16) & ~7) * _SECTOR):
        block = volume.read(at, 4096)
        if len(block) >= 256 and struct.unpack_from("<II", block) == (_MAGIC, 1):
            return _version_1(block, volume, part)
    at = (size & ~(_RESERVED - 1)) - _RESERVED
    block = volume.read(at, 4096) if at >= 0 else b""
    if len(block) == 4096 and struct.unpack_from("<II", block) == (_MAGIC, 0):
        return _version_0(block, volume, part)
    raise refusal(
        f"{part}: it is marked as a member of an array, of a kind not known here", GUESTFS
    )


def arrays(members: Iterable[Member]) -> list[Array]:
    """The arrays that these members make up."""
    by_uuid: dict[str, list[Member]] = {}
    for one in members:
        by_uuid.setdefault(one.uuid, []).append(one)
    return [_array(uuid, group) for uuid, group in by_uuid.items()]


def _array(uuid: str, group: Sequence[Member]) -> Array:
    first = max(group, key=lambda one: one.events)
    kind = _LEVELS.get(first.level, f"level {first.level}")
    names: tuple[str, ...] = (f"/dev/md/{first.name}",) if first.name else ()
    if first.name.isdigit():
        names += (f"/dev/md{first.name}",)
    parts = tuple(one.part for one in group)
    active = sorted((one for one in group if one.role is not None), key=lambda one: one.role or 0)
    problem, volume = "", None
    if first.level not in (0, 1):
        problem = f"it is of {kind}"
    elif len(active) != first.disks or [one.role for one in active] != list(range(len(active))):
        problem = f"{len(active)} of its {first.disks} members are on these disks"
    elif not all(one.clean and one.events == first.events for one in active):
        problem = "its members are not the same: it was not stopped, or one of them is old"
    else:
        sizes = {one.data.size for one in active}
        ranges = [one.data.plain for one in active]
        known = tuple(one for one in ranges if one)
        if not active or (first.level == 0 and not first.chunk):
            problem = "its superblock is damaged"
        elif first.level == 0 and len(sizes) > 1:
            problem = "its members differ in size"
        elif len(known) < len(ranges):
            problem = "it lies on another array"
        else:
            least = min(sizes)
            cut = tuple(Segment((one,)).cut(0, least).ranges[0] for one in known)
            volume = Volume((Segment(cut, first.chunk if first.level == 0 else 0),))
    return Array(uuid, names, volume, parts, f"raid{first.level}", problem)


def _version_1(block: bytes, volume: Volume, part: str) -> Member:
    feature, raw, name, level, _layout = struct.unpack_from("<I4x16s32s8xII", block, 8)
    size, chunk, disks = struct.unpack_from("<QII", block, 80)
    offset, data_size = struct.unpack_from("<QQ", block, 128)
    (number,) = struct.unpack_from("<I", block, 160)
    events, resync = struct.unpack_from("<QQ", block, 200)
    (count,) = struct.unpack_from("<I", block, 220)
    role = 0xFFFF
    if number < min(count, (len(block) - 256) // 2):
        (role,) = struct.unpack_from("<H", block, 256 + 2 * number)
    if feature & ~0x1:  # a bitmap alone changes nothing; a reshape, a journal, a replacement do
        role = 0xFFFF
    level = level - (1 << 32) if level >> 31 else level
    length = (size if level > 0 else data_size) * _SECTOR
    if level == 0 and chunk:
        length -= length % (chunk * _SECTOR)
    text = name.split(b"\0")[0].decode("utf-8", "replace")
    return Member(
        uuid=_colons(raw.hex()),
        name=text.rpartition(":")[2],
        level=level,
        disks=disks,
        role=role if role < 0xFF00 else None,
        events=events,
        clean=level <= 0 or resync == _RUNNING,
        chunk=chunk * _SECTOR,
        data=volume.cut(offset * _SECTOR, length),
        part=part,
    )


def _version_0(block: bytes, volume: Volume, part: str) -> Member:
    words = struct.unpack("<1024I", block)
    level, kib, disks, minor = words[7] - ((words[7] >> 31) << 32), words[8], words[10], words[11]
    uuid = "".join(f"{words[at]:08x}" for at in (5, 13, 14, 15))
    state = words[33]
    events = words[39] | words[40] << 32
    number, role, flags = words[992], words[995], words[996]
    length = kib * 1024
    chunk = words[65]
    if level == 0:
        length = (volume.size & ~(_RESERVED - 1)) - _RESERVED
        length -= length % chunk if chunk else 0
    good = flags & (_ACTIVE | _SYNC) == _ACTIVE | _SYNC and not flags & _FAULTY
    return Member(
        uuid=_colons(uuid),
        name=str(minor),
        level=level,
        disks=disks,
        role=role if good and number < 27 else None,
        events=events,
        clean=level <= 0 or bool(state & _CLEAN),
        chunk=chunk,
        data=volume.cut(0, length),
        part=part,
    )


def _colons(digits: str) -> str:
    return ":".join(digits[at : at + 8] for at in range(0, 32, 8))
