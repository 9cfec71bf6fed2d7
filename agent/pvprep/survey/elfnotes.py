"""What an ELF image tells Xen: the notes owned by "Xen", or the old `__xen_guest` section.

Sources: Xen xen/include/public/elfnote.h, and xen/common/libelf/libelf-dominfo.c for where it
looks: note segments first; where no Xen note is in them, note sections; last, `__xen_guest`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from .streams import PayloadError, Stream

ENTRY = 1
XEN_VERSION = 5
GUEST_OS = 6
LOADER = 8
PAE_MODE = 9
PHYS32_ENTRY = 18

_MACHINES = {3: "i386", 62: "x86-64"}
_PT_NOTE = 4
_SHT_PROGBITS = 1
_SHT_NOTE = 7
_ENTRIES = 4096  # segments or sections
_NOTES = 1 << 20  # bytes of notes; a kernel has some hundred
_GUEST_STRING = 4096  # bytes that a __xen_guest section may have


@dataclass(frozen=True)
class XenNotes:
    """bits: 32 or 64. notes: by type. guest: the names and values of `__xen_guest`."""

    bits: int
    notes: dict[int, bytes] = field(default_factory=dict)
    guest: dict[str, str] = field(default_factory=dict)

    def text(self, kind: int) -> str:
        """A note that is a string."""
        return self.notes.get(kind, b"").split(b"\0", 1)[0].decode("ascii", "replace")


@dataclass(frozen=True)
class _Table:
    """A table of headers: where, how many, how long each, and how the beginning of one looks."""

    offset: int
    count: int
    size: int
    form: struct.Struct

    def read(self, stream: Stream) -> list[tuple[int, ...]]:
        if not self.count or not self.offset:
            return []
        if self.count > _ENTRIES or not self.form.size <= self.size <= 1024:
            raise PayloadError(f"an ELF table of {self.count} entries of {self.size} bytes")
        raw = stream.take_at(self.offset, self.count * self.size)
        return [self.form.unpack_from(raw, index * self.size) for index in range(self.count)]


@dataclass(frozen=True)
class _Header:
    bits: int
    segments: _Table
    sections: _Table
    names: int  # the index of the section with the sections' names


def read_notes(open_image: Callable[[], Stream]) -> XenNotes:
    """Find what Xen would find. Opens the image anew for each pass. Raises PayloadError.

    Notes in a segment, as every kernel since 2.6.18 has them, need one pass, up to the notes.
    """
    image = open_image()
    try:
        header = _header(image)
        notes = _from_segments(image, header)
        if notes:
            return XenNotes(header.bits, notes)
        sections = header.sections.read(image)
    finally:
        image.close()
    image = open_image()
    try:
        return _from_sections(image, header, sections)
    finally:
        image.close()


def _header(image: Stream) -> _Header:
    raw = image.take(52)
    if raw[:4] != b"\x7fELF":
        raise PayloadError(f"it should hold an ELF image, but that begins with {raw[:8]!r}")
    wide = raw[4:5] == b"\x02"
    if wide:
        raw += image.take(12)
    form = struct.Struct("<16xHHIQQQIHHHHHH" if wide else "<16xHHIIIIIHHHHHH")
    if len(raw) < form.size or raw[4] not in (1, 2) or raw[5] != 1:
        raise PayloadError(f"the ELF header is cut off or not of a PC: {raw[:20]!r}")
    values = form.unpack(raw)
    machine, phoff, shoff = values[1], values[4], values[5]
    phsize, phnum, shsize, shnum, names = values[8:]
    if machine not in _MACHINES:
        raise PayloadError(f"the ELF image in it is for machine {machine}, not for a PC")
    # type, offset, size; for sections the name before them
    segment = struct.Struct("<I4xQ16xQ" if wide else "<II8xI")
    section = struct.Struct("<II16xQQ" if wide else "<II8xII")
    return _Header(
        64 if wide else 32,
        _Table(phoff, phnum, phsize, segment),
        _Table(shoff, shnum, shsize, section),
        names,
    )


def _from_segments(image: Stream, header: _Header) -> dict[int, bytes]:
    notes: dict[int, bytes] = {}
    segments = header.segments.read(image)
    # libelf skips those at offset 0, which some versions of binutils leave there.
    found = sorted((offset, size) for kind, offset, size in segments if kind == _PT_NOTE and offset)
    for offset, size in found:
        notes.update(_xen_notes(_content(image, offset, size)))
    return notes


def _from_sections(image: Stream, header: _Header, sections: list[tuple[int, ...]]) -> XenNotes:
    """One pass for the notes, the names and whatever may turn out to be `__xen_guest`."""
    notes: dict[int, bytes] = {}
    small: dict[int, bytes] = {}
    names = b""
    for offset, size, kind, name, index in sorted(
        (offset, size, kind, name, index)
        for index, (name, kind, offset, size) in enumerate(sections)
    ):
        if index == header.names:
            names = _content(image, offset, size)
        elif kind == _SHT_NOTE:
            notes.update(_xen_notes(_content(image, offset, size)))
        elif kind == _SHT_PROGBITS and 0 < size <= _GUEST_STRING:
            small[name] = image.take_at(offset, size)
    guest = next(
        (text for name, text in small.items() if names[name:].startswith(b"__xen_guest\0")), b""
    )
    return XenNotes(header.bits, notes, {} if notes else _guest_string(guest))


def _content(image: Stream, offset: int, size: int) -> bytes:
    if size > _NOTES:
        raise PayloadError(f"{size} bytes of ELF notes or names, where some hundred are usual")
    return image.take_at(offset, size)


def _xen_notes(raw: bytes) -> dict[int, bytes]:
    """Notes are padded to 4 bytes, whatever the segment's alignment says (libelf)."""
    notes = {}
    at = 0
    while at + 12 <= len(raw):
        name_size, size, kind = struct.unpack_from("<III", raw, at)
        name = raw[at + 12 : at + 12 + name_size]
        start = at + 12 + name_size + -name_size % 4
        if start + size > len(raw):
            break
        if name == b"Xen\0":
            notes[kind] = raw[start : start + size]
        at = start + size + -size % 4
    return notes


def _guest_string(raw: bytes) -> dict[str, str]:
    """NAME=VALUE,NAME=VALUE, as kernels before 2.6.19 have it."""
    text = raw.split(b"\0", 1)[0].decode("ascii", "replace")
    pairs = (item.partition("=") for item in text.split(",") if item)
    return {name: value for name, _, value in pairs}
