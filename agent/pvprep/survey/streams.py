"""Files opened without surprises, and bytes read forward, once, a piece at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Union

from ..beneath import open_regular

Piece = Union[bytes, memoryview]
Pieces = Generator[Piece, None, None]


class PayloadError(Exception):
    """A file, or something in it, cannot be read; the text says why, for a person."""


@dataclass
class Part:
    """A range of bytes in an open file.

    What unpacks a part moves `end` back to where the compressed stream really ended.
    """

    fd: int
    start: int
    end: int


def open_file(path: str) -> Part:
    """Open a regular file for reading, whole; a FIFO or a device does not make it hang."""
    try:
        fd = open_regular(path)
    except OSError as error:
        before = "" if error.errno == errno.EINVAL else "it cannot be opened: "
        raise PayloadError(f"{before}{error.strerror}") from None
    except ValueError as error:
        raise PayloadError(f"it cannot be opened: {error}") from None
    status = os.fstat(fd)
    if status.st_size == 0:
        os.close(fd)
        raise PayloadError("the file is empty")
    return Part(fd, 0, status.st_size)


class Stream:
    """Bytes read forward, once. `position` counts those taken and skipped."""

    def __init__(self, pieces: Pieces) -> None:
        self.position = 0
        self._pieces = pieces
        self._piece = memoryview(b"")

    def take(self, count: int) -> bytes:
        """The next `count` bytes; fewer at the end."""
        parts = []
        missing = count
        while missing and (len(self._piece) or self._next()):
            parts.append(bytes(self._piece[:missing]))
            self._piece = self._piece[missing:]
            missing -= len(parts[-1])
        self.position += count - missing
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset`, which must lie ahead. Raises PayloadError."""
        if offset < self.position:
            raise PayloadError(f"what should follow lies back at byte {offset}")
        found = self.take(count) if self.skip(offset - self.position) else b""
        if len(found) < count:
            raise PayloadError(f"it ends at byte {self.position}, before {offset + count}")
        return found

    def skip(self, count: int) -> bool:
        """Go forward; False if the stream ends sooner."""
        self.position += count
        while count > len(self._piece):
            count -= len(self._piece)
            if not self._next():
                self.position -= count
                return False
        self._piece = self._piece[count:]
        return True

    def skip_zeros(self) -> bool:
        """Go to the next byte that is not 0; False if there is none."""
        while len(self._piece) or self._next():
            rest = bytes(self._piece).lstrip(b"\0")
            self.position += len(self._piece) - len(rest)
            self._piece = memoryview(rest)
            if rest:
                return True
        return False

    def close(self) -> None:
        """Stop whatever makes the bytes."""
        self._piece = memoryview(b"")
        self._pieces.close()

    def _next(self) -> bool:
        self._piece = memoryview(next(self._pieces, b""))
        return len(self._piece) > 0


class PlainStream(Stream):
    """The bytes of a part as they are; what is skipped is never read."""

    def __init__(self, part: Part) -> None:
        super().__init__(_no_pieces())
        self._offset = part.start
        self._part = part

    def skip(self, count: int) -> bool:
        """Go forward; False if the part ends sooner."""
        inside = min(count, len(self._piece))
        beyond = min(count - inside, self._part.end - self._offset)
        self._piece = self._piece[inside:]
        self._offset += beyond
        self.position += inside + beyond
        return inside + beyond == count

    def _next(self) -> bool:
        # A small piece: what follows the next header is mostly skipped.
        count = min(4096, self._part.end - self._offset)
        self._piece = memoryview(os.pread(self._part.fd, count, self._offset))
        self._offset += len(self._piece)
        return len(self._piece) > 0


def _no_pieces() -> Pieces:
    yield from ()
