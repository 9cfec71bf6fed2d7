"""Streams of unpacked bytes, whatever compressed them.

gzip, bzip2, lzma and xz are unpacked by Python's own modules, zstd, lz4 and lzo by the programs
zstd, lz4 and lzop. Nothing is kept but the piece in hand. Meant to run in a process of its own
(isolate.py), which also keeps these modules out of the memory of the caller.
"""

from __future__ import annotations

import os
import signal
import threading

from .frames import FrameError, end_of_lz4, end_of_lzop, end_of_zstd
from .streams import Part, PayloadError, Pieces, PlainStream, Stream

LIMIT = 4 << 30  # bytes that one stream may unpack to
_MEMORY = 512 << 20  # bytes that liblzma may use; xz -9 needs 65 MiB
_INPUT = 128 << 10
_OUTPUT = 512 << 10
_F_SETPIPE_SZ = 1031  # fcntl.h; the fcntl module names it from Python 3.10

# Linux lib/decompress.c, and Xen tools/libs/guest/xg_dom_bzimageloader.c
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x89LZO\0", "lzo"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
# The program, which is also the name of its Debian package, and what finds the stream's end.
_TOOLS = {
    "zstd": ("zstd", end_of_zstd),
    "lz4": ("lz4", end_of_lz4),
    "lzo": ("lzop", end_of_lzop),
}


def sniff(head: bytes) -> str:
    """The compression whose magic number these bytes begin with, or an empty string."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


def open_stream(part: Part, compression: str) -> Stream:
    """The unpacked bytes of the one compressed stream that `part` begins with.

    compression: as `sniff` says, or "none". Once the stream is read to its end, `part.end` is the
    offset behind it. The stream raises PayloadError where it is damaged, cut off or too large, or
    where the program that it needs is missing.
    """
    if compression == "none":
        return PlainStream(part)
    return Stream(_bounded(_unpacked(part, compression), part.start, compression))


def _bounded(pieces: Pieces, start: int, compression: str) -> Pieces:
    """The same, with damage put in words and an end to size."""
    total = 0
    stream = f"the {compression} stream at byte {start}"
    try:
        for piece in pieces:
            total += len(piece)
            if total > LIMIT:
                raise PayloadError(f"{stream} unpacks to more than {LIMIT} bytes")
            yield piece
    except (FrameError, OSError, EOFError) as error:
        raise PayloadError(f"{stream} is damaged: {error}") from None
    finally:
        pieces.close()


def _unpacked(part: Part, compression: str) -> Pieces:
    if compression == "gzip":
        return _by_zlib(part)
    if compression in _TOOLS:
        return _by_tool(part, compression)
    return _by_library(part, compression)


def _by_zlib(part: Part) -> Pieces:
    import zlib

    unpacker = zlib.decompressobj(wbits=31)
    offset = part.start
    pending = b""
    while not unpacker.eof:
        if not pending:
            pending = os.pread(part.fd, min(_INPUT, part.end - offset), offset)
            offset += len(pending)
        at_end = not pending
        try:
            piece = unpacker.decompress(pending, _OUTPUT)
        except zlib.error as error:
            raise FrameError(str(error)) from None
        pending = unpacker.unconsumed_tail
        if piece:
            yield piece
        elif at_end and not unpacker.eof:
            raise FrameError(f"it is cut off at byte {offset}")
    part.end = offset - len(unpacker.unused_data)


def _by_library(part: Part, compression: str) -> Pieces:
    import bz2
    import lzma

    unpacker = (
        bz2.BZ2Decompressor()
        if compression == "bzip2"
        else lzma.LZMADecompressor(
            lzma.FORMAT_XZ if compression == "xz" else lzma.FORMAT_ALONE, memlimit=_MEMORY
        )
    )
    offset = part.start
    while not unpacker.eof:
        pending = b""
        if unpacker.needs_input:
            pending = os.pread(part.fd, min(_INPUT, part.end - offset), offset)
            offset += len(pending)
            if not pending:
                raise FrameError(f"it is cut off at byte {offset}")
        try:
            piece = unpacker.decompress(pending, _OUTPUT)
        except lzma.LZMAError as error:
            raise FrameError(str(error)) from None
        if piece:
            yield piece
    part.end = offset - len(unpacker.unused_data)


def _by_tool(part: Part, compression: str) -> Pieces:
    program, end_of = _TOOLS[compression]
    part.end = end_of(part.fd, part.start, part.end)
    complaints = os.memfd_create("complaints", os.MFD_CLOEXEC)
    pid, source, unpacked = _start(program, complaints)
    threading.Thread(target=_feed, args=(part, source), daemon=True).start()
    # One buffer for all pieces: a new one for each would cost its page faults again.
    buffer = memoryview(bytearray(_OUTPUT))
    status = None
    try:
        while count := os.readv(unpacked, [buffer]):
            yield buffer[:count]
        status = os.waitpid(pid, 0)[1]
    finally:
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(unpacked)
        said = os.pread(complaints, 200, 0).decode("utf-8", "replace").strip()
        os.close(complaints)
    if status:
        raise FrameError(f"{program} says: {said or f'status {status}'}")


def _start(program: str, complaints: int) -> tuple[int, int, int]:
    """Start it; its process id, where its input goes and where its output comes from."""
    import shutil

    from ..guest import ENVIRONMENT

    place = shutil.which(program, path=ENVIRONMENT["PATH"])
    if not place:
        raise PayloadError(f"needs the program {program} (package {program})")
    its_input, source = os.pipe()
    unpacked, its_output = os.pipe()
    try:
        pid = os.posix_spawn(
            place,
            [program, "-q", "-d", "-c"],
            ENVIRONMENT,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, its_input, 0),
                (os.POSIX_SPAWN_DUP2, its_output, 1),
                (os.POSIX_SPAWN_DUP2, complaints, 2),
            ],
        )
    finally:
        os.close(its_input)
        os.close(its_output)
    _widen(unpacked)
    return pid, source, unpacked


def _widen(pipe: int) -> None:
    """Make a pipe hold a whole piece, where the system allows it."""
    import fcntl

    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _OUTPUT)
    except OSError:
        pass


def _feed(part: Part, sink: int) -> None:
    """Copy the part into a pipe; the reader's early end is no error."""
    offset, end = part.start, part.end
    try:
        while piece := os.pread(part.fd, min(_INPUT, end - offset), offset):
            offset += len(piece)
            while piece:
                piece = piece[os.write(sink, piece) :]
    except OSError:
        pass
    finally:
        os.close(sink)
