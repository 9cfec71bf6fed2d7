"""Where the bytes of a partition, an array or a logical volume lie: arithmetic, no device.

A volume is cut out of what it lies on by numbers alone, down to the ranges of the guest's disks.
Only what is mounted in the end becomes a device, and most is one range then: a loop device with an
offset. So the host's udev never sees a member of LVM or of an array that it might start by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from .host import refusal

SECTOR = 512


@dataclass(frozen=True)
class Range:
    """Bytes of a file or block device of the host."""

    path: str
    start: int
    size: int


@dataclass(frozen=True)
class Segment:
    """One range; or several of a size, as stripes of `chunk` bytes, or copies where chunk is 0."""

    ranges: tuple[Range, ...]
    chunk: int = 0

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return self.ranges[0].size * (len(self.ranges) if self.chunk else 1)

    def cut(self, start: int, size: int) -> Segment:
        """A part of it. PvprepError where that begins or ends within a row of stripes."""
        if start < 0 or size <= 0 or start + size > self.size:
            raise refusal(f"{size} bytes at {start} lie beyond the {self.size} bytes of a volume")
        if self.chunk:
            row = self.chunk * len(self.ranges)
            if start % row or size % row:
                raise refusal("a volume does not lie on whole rows of stripes", GUESTFS)
            start, size = start // len(self.ranges), size // len(self.ranges)
        return Segment(
            tuple(Range(one.path, one.start + start, size) for one in self.ranges), self.chunk
        )


GUESTFS = "--attach guestfs handles it, in a kernel of its own"


@dataclass(frozen=True)
class Volume:
    """Segments, one after the other."""

    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, one: Range) -> Volume:
        """A volume that is one range."""
        return cls((Segment((one,)),))

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return sum(segment.size for segment in self.segments)

    @property
    def plain(self) -> Optional[Range]:
        """The range that it is, None where it is more than one."""
        ranges = self.segments[0].ranges
        return ranges[0] if len(self.segments) == 1 and len(ranges) == 1 else None

    def cut(self, start: int, size: int) -> Volume:
        """A part of it. PvprepError where it has no such part."""
        if start < 0 or size <= 0 or start + size > self.size:
            raise refusal(f"{size} bytes at {start} lie beyond the {self.size} bytes of a volume")
        parts = []
        for segment in self.segments:
            begin, end = max(start, 0), min(start + size, segment.size)
            if begin < end:
                parts.append(segment.cut(begin, end - begin))
            start -= segment.size
        return joined(parts)

    def read(self, start: int, size: int) -> bytes:
        """Bytes from its first copy; fewer at the end of it."""
        size = min(size, self.size - start)
        if size <= 0:
            return b""
        data = b""
        for segment in self.cut(start, size).segments:
            if segment.chunk and len(segment.ranges) > 1:
                raise refusal("what lies on stripes is not read", GUESTFS)
            data += read(segment.ranges[0])
        return data


def read(one: Range) -> bytes:
    """The bytes of a range; fewer where the file ends. PvprepError where it cannot be read."""
    try:
        fd = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, one.size, one.start)
        finally:
            os.close(fd)
    except OSError as error:
        raise refusal(f"{one.path} cannot be read: {error.strerror}") from None


def joined(segments: Iterable[Segment]) -> Volume:
    """A volume of these; what lies side by side becomes one."""
    done: list[Segment] = []
    for segment in segments:
        last = done[-1] if done else None
        if last and not last.chunk and not segment.chunk and _follows(last, segment):
            ranges = zip(last.ranges, segment.ranges)
            done[-1] = Segment(
                tuple(Range(one.path, one.start, one.size + two.size) for one, two in ranges)
            )
        else:
            done.append(segment)
    return Volume(tuple(done))


def table(volume: Volume, paths: dict[Range, str]) -> str:
    """The device-mapper table of a volume; paths: a device for each of its ranges.

    Source: Linux Documentation/admin-guide/device-mapper/{linear,striped}.rst; for mirror
    drivers/md/dm-raid1.c (a log in memory that takes the copies for equal).
    """
    lines, at = [], 0
    for segment in volume.segments:
        devices = [f"{paths[one]} 0" for one in segment.ranges]
        head = f"{at // SECTOR} {segment.size // SECTOR}"
        if len(devices) == 1:
            lines.append(f"{head} linear {devices[0]}")
        elif segment.chunk:
            count = f"{len(devices)} {segment.chunk // SECTOR}"
            lines.append(f"{head} striped {count} {' '.join(devices)}")
        else:
            mirrors = f"core 2 1024 nosync {len(devices)}"
            lines.append(f"{head} mirror {mirrors} {' '.join(devices)}")
        at += segment.size
    return "\n".join(lines)


def _follows(last: Segment, segment: Segment) -> bool:
    return len(last.ranges) == len(segment.ranges) and all(
        one.path == two.path and one.start + one.size == two.start
        for one, two in zip(last.ranges, segment.ranges)
    )
