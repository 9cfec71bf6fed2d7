"""Small kernels and initrds made for tests: the form of real ones, with next to nothing in it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
from collections.abc import Sequence
from typing import Optional

COMPRESSIONS = ("gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd")
LINUX_PV = {1: b"\0" * 8, 5: b"xen-3.0\0", 6: b"linux\0", 8: b"generic\0", 9: b"yes\0"}
LINUX_PVH = {18: b"\0\0\0\1"}

FILE = 0o100644
DIRECTORY = 0o040755
SYMLINK = 0o120777


def compress(content: bytes, compression: str) -> bytes:
    """One stream, as the tools that build kernels and initrds write it."""
    if compression == "none":
        return content
    if compression == "gzip":
        return gzip.compress(content)
    if compression == "bzip2":
        return bz2.compress(content)
    if compression == "xz":
        return lzma.compress(content, check=lzma.CHECK_CRC32)
    if compression == "lzma":
        return lzma.compress(content, lzma.FORMAT_ALONE)
    program = {"lzo": ["lzop"], "lz4": ["lz4", "-l"], "zstd": ["zstd"]}[compression]
    return subprocess.run([*program, "-q", "-c"], input=content, stdout=-1, check=True).stdout


def notes(wanted: dict[int, bytes], owner: bytes = b"Xen\0") -> bytes:
    """ELF notes of one owner, by type."""
    return b"".join(
        struct.pack("<III", len(owner), len(text), kind)
        + owner
        + b"\0" * (-len(owner) % 4)
        + text
        + b"\0" * (-len(text) % 4)
        for kind, text in wanted.items()
    )


def elf(
    content: bytes = b"",
    bits: int = 64,
    where: str = "segment",
    machine: Optional[int] = None,
    before: bytes = b"\x90" * 5000,
) -> bytes:
    """An ELF image with `content` in a note segment, a note section or `__xen_guest`.

    A GNU note is always there, as in a real kernel.
    """
    wide = bits == 64
    head_size, segment_size, section_size = (64, 56, 64) if wide else (52, 32, 40)
    gnu = notes({3: b"build id"}, b"GNU\0")
    noted = gnu + content if where == "segment" else gnu
    noted_at = head_size + segment_size * 2 + len(before)
    content_at = noted_at + len(noted)
    names = b"\0.text\0.notes\0__xen_guest\0.shstrtab\0"
    names_at = content_at + len(content)
    tail = content + names if where != "segment" else names
    if where == "segment":
        names_at = content_at
    sections_at = names_at + len(names)
    kind, name = (7, 7) if where == "section" else (1, 14)
    sections = [(0, 0, 0, 0), (1, 1, head_size + segment_size * 2, len(before))]
    if where != "segment":
        sections.append((name, kind, content_at, len(content)))
    sections.append((27, 3, names_at, len(names)))
    number = machine if machine is not None else (62 if wide else 3)
    header = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + b"\0" * 9
    header += struct.pack(
        "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH",
        *(2, number, 1, 0x1000000, head_size, sections_at, 0, head_size),
        *(segment_size, 2, section_size, len(sections), len(sections) - 1),
    )
    segments = b"".join(
        struct.pack("<IIQQQQQQ", kind, 5, offset, 0, 0, size, size, 4)
        if wide
        else struct.pack("<IIIIIIII", kind, offset, 0, 0, size, size, 5, 4)
        for kind, offset, size in ((1, 4096, len(before)), (4, noted_at, len(noted)))
    )
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, 2, 0, offset, size, 0, 0, 1, 0)
        if wide
        else struct.pack("<IIIIIIIIII", name, kind, 2, 0, offset, size, 0, 0, 1, 0)
        for name, kind, offset, size in sections
    )
    return header + segments + before + noted + tail + table


def bzimage(
    image: bytes,
    compression: str = "gzip",
    version: str = "6.1.0-test (someone@example.org) #1 SMP",
    protocol: int = 0x20F,
) -> bytes:
    """A bzImage around an ELF image; all compressors but gzip get the size behind their stream."""
    payload = compress(image, compression)
    if compression not in ("gzip", "none"):
        payload += struct.pack("<I", len(image))
    setup_sects, payload_offset = 3, 0x40
    setup = bytearray((setup_sects + 1) * 512)
    setup[0:2] = b"MZ"  # as with an EFI stub
    setup[0x1F1] = setup_sects
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, protocol)
    struct.pack_into("<H", setup, 0x20E, 0x400 - 0x200)
    struct.pack_into("<II", setup, 0x248, payload_offset, len(payload))
    setup[0x400 : 0x400 + len(version)] = version.encode()
    return bytes(setup) + b"\xcc" * payload_offset + payload + b"signature of someone"


def cpio(
    files: Sequence[tuple[str, bytes]] = (),
    magic: bytes = b"070701",
    trailer: bool = True,
) -> bytes:
    """A newc archive of regular files; a name that ends in / is a directory."""
    archive = b""
    for inode, (name, content) in enumerate(files):
        mode = DIRECTORY if name.endswith("/") else FILE
        archive += member(name.rstrip("/"), content, mode, inode=inode, magic=magic)
    return archive + (member("TRAILER!!!", b"", 0, magic=magic) if trailer else b"")


def member(
    name: str,
    content: bytes,
    mode: int = FILE,
    inode: int = 0,
    links: int = 1,
    magic: bytes = b"070701",
) -> bytes:
    """One member of a newc archive."""
    raw = name.encode("utf-8", "surrogateescape") + b"\0"
    fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(raw), 0)
    header = magic + b"".join(b"%08x" % field for field in fields) + raw
    return header + b"\0" * (-len(header) % 4) + content + b"\0" * (-len(content) % 4)
