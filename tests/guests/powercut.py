"""Cuts of the power, after the fact: what a disk with a volatile cache may hold at any instant.

QEMU logs every write and flush of a machine (its driver blklogwrites). A disk keeps all that was
written before the last flush that it has answered; of what came after, in no order, any part.
Format of the log: the kernel's Documentation/admin-guide/device-mapper/log-writes.rst and
drivers/md/dm-log-writes.c.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
PIECE = 4096  # bytes that get to the disk together, if at all: a page of the guest's cache
_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")  # magic, version, entries, bytes of a sector
_ENTRY = struct.Struct("<QQQQ")  # first sector, sectors, flags, bytes of further data
_FLUSH, _FUA, _DISCARD = 1, 2, 4


@dataclass(frozen=True)
class Write:
    """A write: where on the disk, and where in the log its data are. size in bytes; 0: a flush."""

    offset: int
    size: int
    data: int
    through: bool  # to the disk itself, as FUA asks


class Log:
    """All writes to a disk, in their order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes = list(self._read())

    def find(self, words: bytes) -> int:
        """The number of the first write that has these words in it."""
        with self.path.open("rb") as file:
            for number, write in enumerate(self.writes):
                if words in os.pread(file.fileno(), write.size, write.data):
                    return number
        raise LookupError(f"no write has {words!r}")

    def replay(self, before: Path, after: Path, cut: int, chance: random.Random) -> None:
        """Make the disk as it may be when the power is cut ahead of the write number `cut`.

        before: the disk when the log began. chance: decides what of the cache got to the disk.
        """
        subprocess.run(["cp", "--sparse=always", before, after], check=True)
        flushes = (number for number, write in enumerate(self.writes[:cut]) if not write.size)
        safe = max(flushes, default=0)
        with self.path.open("rb") as log, after.open("r+b") as disk:
            for number, write in enumerate(self.writes[:cut]):
                for start in range(0, write.size, PIECE):
                    if number > safe and not write.through and chance.random() < 0.5:
                        continue
                    size = min(PIECE, write.size - start)
                    piece = os.pread(log.fileno(), size, write.data + start)
                    os.pwrite(disk.fileno(), piece, write.offset + start)

    def _read(self) -> Iterator[Write]:
        with self.path.open("rb") as file:
            magic, version, entries, sector = _SUPER.unpack(file.read(_SUPER.size))
            if (magic, version, sector) != (_MAGIC, 1, SECTOR):
                raise ValueError(f"{self.path} is no log of blklogwrites")
            place = SECTOR
            for _ in range(entries):
                file.seek(place)
                start, sectors, flags, _more = _ENTRY.unpack(file.read(_ENTRY.size))
                place += SECTOR
                if flags & _FLUSH:
                    yield Write(0, 0, 0, False)
                if flags & _DISCARD or not sectors:
                    continue
                size = sectors * SECTOR
                yield Write(start * SECTOR, size, place, bool(flags & _FUA))
                place += size
