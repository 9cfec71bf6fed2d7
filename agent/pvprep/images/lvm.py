"""Logical volumes as ranges of the disks, from the metadata on the physical volumes themselves.

lvm(8) reads block devices only, and a loop device that shows a physical volume is taken by the
host's udev, which activates what is on it (69-dm-lvm.rules). So the metadata is read here: no
lvm.conf, no devices file, no name of the host's plays a part, and a volume group may even have the
UUID of one of the host's. Sources: LVM2's lib/format_text/layout.h (label, pv_header, mda_header,
raw_locn), lib/label/label.h, lib/misc/crc.c, libdm/libdm-config.c (the text's grammar).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .host import refusal
from .volumes import GUESTFS, Segment, Volume, joined

_SECTOR = 512
_LABEL_SECTORS = 4
_TEXT_MAX = 64 << 20  # bytes; lvm's own metadata areas are 1 MiB
_IGNORED = 1  # RAW_LOCN_IGNORED
_CRC = 0xF597A6CF  # INITIAL_CRC: what lvm's CRC-32 begins with
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<string>"(?:\\.|[^"\\])*")|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<name>[A-Za-z0-9_.+/-]+)|(?P<mark>[{}=\[\],])"""
)
_VOLUME = re.compile(r"[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*")


@dataclass(frozen=True)
class Physical:
    """A physical volume: its UUID without dashes, where it lies, its group's metadata."""

    uuid: str
    volume: Volume
    text: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Logical:
    """A logical volume that a user sees. problem: why it cannot be reached (volume is None)."""

    group: str
    name: str
    volume: Optional[Volume]
    parts: tuple[str, ...]
    problem: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """What a guest calls it: dashes are doubled below /dev/mapper."""
        mapped = "-".join(word.replace("-", "--") for word in (self.group, self.name))
        return f"/dev/mapper/{mapped}", f"/dev/{self.group}/{self.name}"


def physical(volume: Volume, parts: Sequence[str]) -> Physical:
    """Read a physical volume's label and its group's metadata; parts: partitions under it."""
    for sector in range(_LABEL_SECTORS):
        label = volume.read(sector * _SECTOR, _SECTOR)
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            return _physical(volume, label, tuple(parts))
    raise refusal(
        f"{parts[0]}: it is marked as a physical volume of LVM but has no label of LVM2", GUESTFS
    )


def logical(members: Sequence[Physical]) -> Iterator[Logical]:
    """The volumes of all groups that these make up. PvprepError where metadata is damaged."""
    newest: dict[str, tuple[int, str, Mapping[str, Any]]] = {}
    for member in members:
        if not member.text:
            continue
        for name, group in parsed(member.text).items():
            if not isinstance(group, dict) or "physical_volumes" not in group:
                continue
            # Every member has a copy, and one that was away for a while an old one.
            key, seqno = str(group.get("id")), group.get("seqno")
            if not isinstance(seqno, int):
                raise refusal(f"LVM's metadata of {name} is damaged: it has no sequence number")
            if key not in newest or newest[key][0] < seqno:
                newest[key] = seqno, name, group
    for _, name, group in newest.values():
        yield from _group(name, group, members)


def parsed(text: str) -> dict[str, Any]:
    """The metadata's sections as dictionaries, its lists as lists. PvprepError if it is none."""
    tokens = _tokens(text)
    root: dict[str, Any] = {}
    stack = [root]
    try:
        for kind, word in tokens:
            if (kind, word) == ("mark", "}"):
                stack.pop()
                continue
            if kind not in ("name", "number"):
                raise ValueError(f"{word!r} where a name should be")
            mark = next(tokens)[1]
            if mark == "{":
                section: dict[str, Any] = {}
                stack[-1][word] = section
                stack.append(section)
            elif mark == "=":
                stack[-1][word] = _value(tokens)
            else:
                raise ValueError(f"{mark!r} after {word}")
        if len(stack) != 1:
            raise ValueError("a section without an end")
    except (ValueError, IndexError, StopIteration) as error:
        raise refusal(f"LVM's metadata is damaged: {error}", "try vgck in the guest") from None
    return root


def _physical(volume: Volume, label: bytes, parts: tuple[str, ...]) -> Physical:
    header = label[struct.unpack_from("<I", label, 20)[0] :]
    uuid = header[:32].decode("ascii", "replace")
    # Two lists of (offset, size), each ended by zeroes: data areas, then metadata areas.
    lists: list[list[tuple[int, int]]] = [[], []]
    at = 40
    for areas in lists:
        while at + 16 <= len(header):
            offset, size = struct.unpack_from("<QQ", header, at)
            at += 16
            if not offset:
                break
            areas.append((offset, size))
    for offset, size in lists[1]:
        text = _metadata(volume, offset, size)
        if text:
            return Physical(uuid, volume, text, parts)
    return Physical(uuid, volume, "", parts)


def _metadata(volume: Volume, start: int, size: int) -> str:
    """The text in a metadata area, a ring behind its header; "" where there is none."""
    header = volume.read(start, _SECTOR)
    if header[4:20] != b"\x20LVM2\x20x[5A%r0N*>":
        return ""
    offset, length, checksum, flags = struct.unpack_from("<QQII", header, 40)
    if not offset or flags & _IGNORED or not 0 < length <= min(size, _TEXT_MAX):
        return ""
    first = min(length, size - offset)
    data = volume.read(start + offset, first)
    if first < length:
        data += volume.read(start + _SECTOR, length - first)
    if zlib.crc32(data, _CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF != checksum:
        return ""  # another area, or another physical volume, may have it whole
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _group(name: str, group: Mapping[str, Any], members: Sequence[Physical]) -> Iterator[Logical]:
    by_uuid = {member.uuid: member for member in members}
    try:
        here = {
            key: (by_uuid[uuid], int(row["pe_start"]) * _SECTOR)
            for key, row in group["physical_volumes"].items()
            for uuid in [str(row["id"]).replace("-", "")]
            if uuid in by_uuid
        }
        rows = group.get("logical_volumes", {})
        shot = _with_snapshots(rows)
        for key, row in rows.items():
            if "VISIBLE" in row["status"] and _VOLUME.fullmatch(key):
                problem = "it has a snapshot, or is one" if key in shot else ""
                yield _volume(name, key, row, here, int(group["extent_size"]) * _SECTOR, problem)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refusal(f"LVM's metadata of {name} is damaged: {error!r}") from None


def _with_snapshots(rows: Mapping[str, Any]) -> set[str]:
    """Origins and their snapshots: what is written to one has to be kept for the other."""
    keys = ("origin", "cow_store", "merging_store")
    segments = [part for row in rows.values() for part in row.values() if isinstance(part, dict)]
    return {str(part[key]) for part in segments for key in keys if key in part}


def _volume(
    group: str,
    name: str,
    row: Mapping[str, Any],
    here: Mapping[str, tuple[Physical, int]],
    extent: int,
    problem: str,
) -> Logical:
    segments: list[Segment] = []
    parts: list[str] = []
    for number in range(1, int(row["segment_count"]) + 1):
        segment = row[f"segment{number}"]
        if segment["type"] != "striped":  # linear is a stripe of one
            problem = problem or f"it is of type {segment['type']}"
            break
        stripes = list(zip(segment["stripes"][::2], segment["stripes"][1::2]))
        if not stripes:
            raise ValueError(f"a segment of {name} lies nowhere")
        size = int(segment["extent_count"]) * extent // len(stripes)
        pieces = []
        for stripe, first in stripes:
            if stripe not in here:
                return Logical(group, name, None, (), f"{stripe} of {group} is not on these disks")
            member, start = here[stripe]
            pieces.append(member.volume.cut(start + int(first) * extent, size))
            parts += member.parts
        if len(pieces) == 1:
            segments += pieces[0].segments
            continue
        ranges = [piece.plain for piece in pieces]
        chunk = int(segment["stripe_size"]) * _SECTOR
        segments.append(Segment(tuple(one for one in ranges if one), chunk))
        if None in ranges:
            problem = problem or "its stripes lie on arrays"
    volume = None if problem else joined(segments)
    return Logical(group, name, volume, tuple(dict.fromkeys(parts)), problem)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup:
            yield match.lastgroup, match[0]


def _value(tokens: Iterator[tuple[str, str]]) -> Any:
    kind, word = next(tokens)
    if (kind, word) == ("mark", "["):
        values: list[Any] = []
        while True:
            kind, word = next(tokens)
            if (kind, word) == ("mark", "]"):
                return values
            if (kind, word) != ("mark", ","):
                values.append(_plain(kind, word))
    return _plain(kind, word)


def _plain(kind: str, word: str) -> Any:
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    if kind == "number":
        return float(word) if "." in word else int(word)
    raise ValueError(f"{word!r} where a value should be")
