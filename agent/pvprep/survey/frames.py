"""Where a compressed stream ends, found by stepping over its blocks without decompressing them.

An initrd may go on after a compressed archive; the programs zstd, lz4 and lzop do not tell where
they stopped, so they are given exactly the bytes of one stream. Sources: RFC 8878 (zstd), the lz4
project's doc/lz4_Frame_format.md (legacy frame), Linux lib/decompress_unlz4.c and
lib/decompress_unlzo.c.

One thing cannot be told apart: a gzip stream without flags behind an lz4 stream looks like one
more block of it. The kernel reads it that way, too.
"""

from __future__ import annotations

import os
import struct

_LZ4_MAGIC = b"\x02\x21\x4c\x18"
_LZ4_BLOCK_MAX = 8421520  # what 8 MiB, the block size of the legacy format, can grow to


class FrameError(Exception):
    """The stream is cut off or is not what its first bytes say."""


def end_of_zstd(fd: int, start: int, limit: int) -> int:
    """The offset behind the zstd frame at `start`; it must not pass `limit`."""
    descriptor = _bytes(fd, start + 4, 1, limit)[0]
    single_segment = descriptor & 0x20
    content_size = (0 if not single_segment else 1, 2, 4, 8)[descriptor >> 6]
    dictionary_id = (0, 1, 2, 4)[descriptor & 3]
    offset = start + 5 + (0 if single_segment else 1) + dictionary_id + content_size
    last = 0
    while not last:
        header = int.from_bytes(_bytes(fd, offset, 3, limit), "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        if kind == 3:
            raise FrameError(f"a zstd block at byte {offset} is of no known type")
        offset += 3 + (1 if kind == 1 else size)
    if descriptor & 4:
        offset += 4
    return _within(offset, limit)


def end_of_lz4(fd: int, start: int, limit: int) -> int:
    """The offset behind the lz4 blocks at `start`: at a zero, another magic number or `limit`.

    A kernel image puts the unpacked size there, which ends the stream as well.
    """
    offset = start + 4
    while limit - offset >= 4:
        word = _bytes(fd, offset, 4, limit)
        size = int.from_bytes(word, "little")
        if word == _LZ4_MAGIC:
            size = 0
        elif size == 0 or size > _LZ4_BLOCK_MAX:
            return offset
        if offset + 4 + size > limit:
            raise FrameError(f"the lz4 block at byte {offset} is cut off")
        offset += 4 + size
    return offset


def end_of_lzop(fd: int, start: int, limit: int) -> int:
    """The offset behind the lzop stream at `start`, which a block of length 0 ends."""
    header = _bytes(fd, start + 9, 38, limit, short=True).ljust(38, b"\0")
    version = struct.unpack_from(">H", header)[0]
    modern = version >= 0x0940
    flags_at = 8 if modern else 5
    flags = struct.unpack_from(">I", header, flags_at)[0]
    name_at = flags_at + 4 + (4 if flags & 0x800 else 0) + (12 if modern else 8)
    offset = start + 9 + name_at + 1 + header[name_at] + 4
    of_content = 4 * bool(flags & 0x1) + 4 * bool(flags & 0x100)
    of_packed = 4 * bool(flags & 0x2) + 4 * bool(flags & 0x200)
    while True:
        unpacked = struct.unpack(">I", _bytes(fd, offset, 4, limit))[0]
        if unpacked == 0:
            return offset + 4
        packed = struct.unpack(">I", _bytes(fd, offset + 4, 4, limit))[0]
        if not 0 < packed <= unpacked:
            raise FrameError(f"the lzop block at byte {offset} has a wrong length")
        offset += 8 + of_content + (of_packed if packed < unpacked else 0) + packed


def _bytes(fd: int, offset: int, count: int, limit: int, short: bool = False) -> bytes:
    found = os.pread(fd, max(0, min(count, limit - offset)), offset)
    if len(found) < count and not short:
        raise FrameError(f"it is cut off at byte {min(offset + len(found), limit)}")
    return found


def _within(offset: int, limit: int) -> int:
    if offset > limit:
        raise FrameError(f"it is cut off at byte {limit}")
    return offset
