"""All archives of an initrd, one after the other, as the kernel unpacks them.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from .streams import Part, PayloadError, PlainStream, Stream

_SIZE_MAX = 2 << 30  # bytes of an image; boot loaders and 32-bit kernels take less
_ARCHIVES = 64
_MEMBERS = 500_000
_ROOT = re.compile(r"^(?:\.?/)+")

if TYPE_CHECKING:
    from .cpio import Member


class Walk:
    """Steps through every member of every archive; zeros may lie between archives.

    compression and starts: of each stream so far (one may hold several archives), as payload.sniff
    names it, and the byte at which it begins.
    """

    def __init__(self, whole: Part) -> None:
        self.compression: list[str] = []
        self.starts: list[int] = []
        self._whole = whole
        self._members = 0

    def __iter__(self) -> Iterator[tuple[Member, Stream]]:
        """Members, their names relative to the root, each with the stream at its content.

        PayloadError where it goes no further.
        """
        whole, offset = self._whole, 0
        if whole.end > _SIZE_MAX:
            raise PayloadError(f"it has {whole.end} bytes: no initrd is that large")
        while True:
            gap = PlainStream(Part(whole.fd, offset, whole.end))
            if not gap.skip_zeros():
                break
            if len(self.compression) >= _ARCHIVES:
                raise PayloadError(f"it has more than {_ARCHIVES} archives")
            part = Part(whole.fd, offset + gap.position, whole.end)
            yield from self._stream(part)
            offset = part.end
        if not self.compression:
            raise PayloadError("it holds nothing but zeros")

    def _stream(self, part: Part) -> Iterator[tuple[Member, Stream]]:
        """Read the archive, or compressed stream of archives, there; part.end is where it ends."""
        from .cpio import MAGIC
        from .payload import open_stream, sniff

        head = os.pread(part.fd, 8, part.start)
        compression = "none" if head[:6] in MAGIC else sniff(head)
        if not compression:
            raise PayloadError(
                f"at byte {part.start} begins {head!r}: neither a cpio archive that the kernel "
                "unpacks nor a compression that it knows"
            )
        self.compression.append(compression)
        self.starts.append(part.start)
        stream = open_stream(part, compression)
        try:
            if compression == "none":
                yield from self._archive(stream)
                part.end = part.start + stream.position
            else:
                while stream.skip_zeros():
                    yield from self._archive(stream)
        except PayloadError as error:
            place = f"in the {compression} part at byte {part.start}"
            raise PayloadError(f"{place}: {error}") from None
        finally:
            stream.close()

    def _archive(self, stream: Stream) -> Iterator[tuple[Member, Stream]]:
        from .cpio import members

        for member in members(stream):
            self._members += 1
            if self._members > _MEMBERS:
                raise PayloadError(f"more than {_MEMBERS} members")
            yield replace(member, name=_ROOT.sub("", member.name)), stream
