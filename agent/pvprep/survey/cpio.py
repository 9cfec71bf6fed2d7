"""The members of a cpio archive in the form that the kernel unpacks ("newc").

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .streams import PayloadError, Stream

MAGIC = (b"070701", b"070702")  # without and with a checksum, which the kernel does not look at
_HEADER = 110  # the magic number and 13 fields of 8 hexadecimal digits
_NAME_MAX = 4096  # PATH_MAX, as in init/initramfs.c
_FIELDS = struct.Struct(">13I")


@dataclass(frozen=True)
class Member:
    """A file, directory or link. inode: what hard links to one file have in common.

    mtime: seconds.
    """

    name: str
    mode: int
    links: int
    size: int
    inode: tuple[int, int, int]
    mtime: int = 0


def members(stream: Stream) -> Iterator[Member]:
    """Step through one archive, up to and with its trailer. Raises PayloadError.

    After each member the stream stands at its content, of which the caller may take any part.
    """
    while True:
        at = stream.position
        fields = _fields(stream.take(_HEADER), at)
        name_size, size = fields[11], fields[6]
        if not 0 < name_size <= _NAME_MAX:
            raise PayloadError(f"the cpio member at byte {at} has a name of {name_size} bytes")
        name = stream.take(name_size).split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        stream.skip(-(_HEADER + name_size) % 4)
        end = stream.position + size + -size % 4
        if name == "TRAILER!!!":
            stream.skip(end - stream.position)
            return
        inode = (fields[0], fields[7], fields[8])
        yield Member(name, fields[1], fields[4], size, inode, fields[5])
        if not stream.skip(end - stream.position):
            raise PayloadError(f"the cpio archive is cut off in {name!r}")


def _fields(header: bytes, at: int) -> tuple[int, ...]:
    if len(header) > 5 and header[:6] not in MAGIC:
        raise PayloadError(f"byte {at} should begin a cpio member, but there is {header[:8]!r}")
    if len(header) < _HEADER:
        raise PayloadError(f"the cpio archive is cut off at byte {at + len(header)}")
    try:
        # Unlike int(), it takes no sign, space or underscore for part of a number.
        return _FIELDS.unpack(binascii.unhexlify(header[6:]))
    except binascii.Error:
        raise PayloadError(f"the cpio header at byte {at} is damaged: {header!r}") from None
