"""Partition tables and what lies on a partition: sfdisk(8) and blkid(8), which need no device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..devicenames import join
from ..facts import Disk, Partition
from ..survey import storage
from .host import document, must, refusal, run
from .volumes import Range, Volume, read

_EXTENDED = ("5", "f", "85", "c5")  # of MBR: only a frame for the logical ones
_AMBIVALENT = 8  # blkid(8): its exit status
_QUOTED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Content:
    """What blkid finds in a range of bytes, under its own names; "" for what is not there."""

    fstype: str = ""
    uuid: str = ""
    label: str = ""
    table: str = ""


@dataclass(frozen=True)
class Slot:
    """A partition as the facts have it, where its bytes lie, and its name in a GPT."""

    part: Partition
    volume: Volume
    name: str = ""


def content(one: Range) -> Content:
    """What is in a range. PvprepError where it looks like several things at once."""
    where = ["-O", str(one.start), "-S", str(one.size), one.path]
    done = run(["blkid", "-p", "-o", "export", *where])
    if done.status == _AMBIVALENT:
        raise refusal(
            f"{one.path} at {one.start}: it has marks of several file systems",
            f"look with `wipefs -o {one.start} {one.path}`, and erase the one that is wrong",
        )
    rows = (line.partition("=") for line in done.output.splitlines())
    found = {key: _QUOTED.sub(r"\1", value) for key, _, value in rows}
    uuid = found.get("UUID", "")
    return Content(found.get("TYPE", ""), uuid, found.get("LABEL", ""), found.get("PTTYPE", ""))


def partitions(path: str, size: int, number: int) -> tuple[Disk, tuple[Slot, ...]]:
    """A disk and its partitions; one of number 0 where it has a file system and no table.

    path, size: where the disk is, in bytes; number: of the disk. PvprepError where it is neither.
    """
    name = f"disk{number}"
    all_of_it = Range(path, 0, size)
    found = content(all_of_it)
    slots: tuple[Slot, ...] = ()
    if found.fstype and not found.table:
        slots = (Slot(_partition(name, 0, all_of_it, found), Volume.of(all_of_it)),)
    elif found.table in ("dos", "gpt"):
        said = must(["sfdisk", "--json", path], f"the partition table of {path} cannot be read")
        try:
            slots = _slots(document(said)["partitiontable"], path, size, name)
        except (ValueError, KeyError) as error:
            raise refusal(f"sfdisk's output for {path} cannot be read: {error!r}") from None
    elif found.table:
        raise refusal(f"{path} has a partition table of type {found.table}, not MBR or GPT")
    disk = Disk(name, size, found.table, tuple(slot.part for slot in slots))
    return disk, slots


def _slots(table: Mapping[str, Any], path: str, size: int, name: str) -> tuple[Slot, ...]:
    sector = int(table.get("sectorsize", 512))
    slots = []
    for row in table.get("partitions", ()):
        # sfdisk names them as the kernel would: the path, `p` after a digit, the number.
        digits = re.search(r"\d+$", str(row["node"])[len(path) :])
        one = Range(path, int(row["start"]) * sector, int(row["size"]) * sector)
        if digits is None or (table["label"] == "dos" and str(row["type"]) in _EXTENDED):
            continue
        if one.size <= 0 or one.start + one.size > size:
            raise refusal(
                f"partition {digits[0]} of {path} ends at {one.start + one.size}, behind the end",
                "the image is cut short, or its table damaged: look with `sfdisk --verify`",
            )
        number = int(digits[0])
        kind, partuuid = str(row["type"]).lower(), str(row.get("uuid", "")).lower()
        if table["label"] == "dos":
            kind = f"0x{kind}"
            partuuid = f"{int(str(table['id']), 16):08x}-{number:02x}"
        part = replace(_partition(name, number, one, content(one)), partuuid=partuuid, type=kind)
        volume = Volume.of(one)
        slots.append(Slot(part, volume, str(row.get("name", ""))))
    return tuple(sorted(slots, key=lambda slot: slot.part.number))


def _partition(disk: str, number: int, one: Range, found: Content) -> Partition:
    return Partition(
        join(disk, number),
        number,
        one.start,
        one.size,
        fstype=found.fstype,
        uuid=found.uuid,
        label=found.label,
        quirk=quirk(one, found.fstype),
    )


def quirk(one: Range, fstype: str) -> str:
    """What keeps pygrub from reading a file system, as the survey of a running guest says it."""
    return storage.quirk(read(Range(one.path, one.start, min(one.size, 2048))), fstype)
