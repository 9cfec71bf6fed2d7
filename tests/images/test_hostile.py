"""Disks that lie: their tables, headers and names. Refused, or read within their own bounds.

Not a byte of them changes, no other file of this machine is read, and it does not take long.
"""

from __future__ import annotations

import json
import os
import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import figures
from tests.guests.images import MIB
from tests.images import disks
from tests.images.test_attach import digest, silent

from pvprep.errors import PvprepError
from pvprep.images import Request, attached

pytestmark = [pytest.mark.roots, pytest.mark.tried]

SECTOR = 512
SECRET = b"a line of this machine's own\n"
NOBODY = 65534
SECONDS = 20.0


def _poke(image: Path, at: int, data: bytes) -> Path:
    with image.open("r+b") as file:
        file.seek(at)
        file.write(data)
    return image


def _peek(image: Path, at: int, size: int) -> bytes:
    with image.open("rb") as file:
        file.seek(at)
        return file.read(size)


def _entry(kind: int, start: int, count: int) -> bytes:
    """An entry of an MBR: one partition."""
    return struct.pack("<B3sB3sII", 0, bytes(3), kind, bytes(3), start, count)


def _qcow2(place: Path, *options: str) -> Path:
    image = place / "disk.qcow2"
    disks.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, image, "20M"])
    os.chown(image, NOBODY, NOBODY)
    return image


def _backed(place: Path) -> Path:
    return _qcow2(place, "-F", "raw", "-b", str(place / "secret"))


def _with_data_file(place: Path) -> Path:
    image = _qcow2(place, "-o", f"data_file={place}/data,data_file_raw=on")
    (place / "data").unlink()
    (place / "data").symlink_to(place / "secret")
    return image


def _qcow2_by_a_raw_name(place: Path) -> Path:
    return _backed(place).rename(place / "disk.img")


def _many_clusters(place: Path) -> Path:
    """An L1 table of 2^32 entries (CVE-2014-0144 and its like)."""
    return _poke(_qcow2(place), 36, b"\xff" * 4)


def _torn(place: Path) -> Path:
    image = _qcow2(place)
    os.truncate(image, 70_000)
    return image


def _vmdk(place: Path) -> Path:
    image = place / "disk.vmdk"
    image.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n'
        f'createType="monolithicFlat"\nRW 40960 FLAT "{place}/secret" 0\n'
    )
    os.chown(image, NOBODY, NOBODY)
    return image


def _logical_ring(place: Path) -> Path:
    """An extended partition whose second table is its first."""
    image = disks.mbr(place)
    _poke(image, 446 + 2 * 16, _entry(5, 51200, 2048))
    ring = _entry(0x83, 1, 100) + _entry(5, 0, 2048)
    return _poke(image, 51200 * SECTOR + 446, ring + bytes(32) + b"\x55\xaa")


def _beyond(place: Path) -> Path:
    return _poke(disks.mbr(place), 446 + 16, _entry(0x83, 51200, 0xFFFFFFFF))


def _over_the_table(place: Path) -> Path:
    return _poke(disks.mbr(place), 446, _entry(0x83, 0, 4096))


def _gpt(place: Path, at: int, data: bytes) -> Path:
    """A GPT whose header says so, at this place in it, on both of its ends."""
    image = disks.blank(place / "disk.img", 34, "label: gpt\nstart=2048,size=24M\n")
    disks.ext4(image, disks.tree(place / "tree"), 1, 24)
    for place_of in (SECTOR, 34 * MIB - SECTOR):
        header = bytearray(_peek(image, place_of, 92))
        header[at : at + len(data)] = data
        struct.pack_into("<I", header, 16, 0)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        _poke(image, place_of, bytes(header))
    return image


def _lvm(place: Path, old: bytes, new: bytes) -> Path:
    """A volume group whose text says so."""
    from tests.images.test_attach import lvm

    image, metadata = lvm(place / "lvm"), MIB + 4096
    header = bytearray(_peek(image, metadata, 512))
    offset, size = struct.unpack_from("<QQ", header, 40)
    text = bytearray(_peek(image, metadata + offset, size))
    at = text.index(old)
    text[at : at + len(old)] = new.ljust(len(old))
    struct.pack_into("<I", header, 56, _lvm_sum(text))
    struct.pack_into("<I", header, 0, _lvm_sum(header[4:]))
    return _poke(_poke(image, metadata, bytes(header)), metadata + offset, bytes(text))


def _lvm_sum(data: bytes) -> int:
    """LVM's lib/misc/crc.c, from INITIAL_CRC on."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _superblock(place: Path, at: int, data: bytes) -> Path:
    """An ext4 whose superblock says so; its checksum is wrong then as well."""
    return _poke(disks.mbr(place), MIB + 1024 + at, data)


def _md(place: Path) -> Path:
    """An array of 65535 disks, of which this is one, in chunks of nothing."""
    block = bytearray(4096)
    struct.pack_into("<IIII", block, 0, 0xA92B4EFC, 1, 0, 0)
    struct.pack_into("<IIQII", block, 72, 0, 0, 1 << 50, 0, 65535)
    return _poke(disks.blank(place / "disk.img", 24), 4096, bytes(block))


def _luks(place: Path) -> Path:
    """A LUKS2 header whose JSON is said to have 4 GiB."""
    head = b"LUKS\xba\xbe" + struct.pack(">HQ", 2, 1 << 32) + b"{" * 4000
    return _poke(disks.blank(place / "disk.img", 24), 0, head)


def _noise(place: Path) -> Path:
    image = disks.blank(place / "disk.img", 24)
    return _poke(image, 0, random.Random(7).randbytes(8 * MIB))


def _fstab(text: str) -> Callable[[Path], Path]:
    return lambda place: disks.mbr(place, fstab=text)


ROOT = f"UUID={disks.ROOT_UUID} / ext4 defaults 0 1\n"
CASES: dict[str, Callable[[Path], Path]] = {
    "qcow2 that rests on a file of this machine": _backed,
    "qcow2 whose data are a file of this machine": _with_data_file,
    "qcow2 by the name of a raw disk": _qcow2_by_a_raw_name,
    "qcow2 with 2^32 tables": _many_clusters,
    "qcow2, torn": _torn,
    "vmdk whose extent is a file of this machine": _vmdk,
    "MBR, logical partitions in a ring": _logical_ring,
    "MBR, a partition of 2 TiB": _beyond,
    "MBR, a partition over the table": _over_the_table,
    "GPT of 2^32 entries": lambda place: _gpt(place, 80, b"\xff" * 4),
    "GPT, an entry of 2 GiB": lambda place: _gpt(place, 84, b"\0\0\0\x80"),
    "GPT, entries behind the end": lambda place: _gpt(place, 72, b"\xff" * 8),
    "LVM, an extent of nothing": lambda place: _lvm(place, b"extent_size = ", b"extent_size=0;"),
    "LVM, no end": lambda place: _lvm(place, b"extent_count = 6", b"extent_count=9e99"),
    "ext4, more blocks than the disk": lambda place: _superblock(place, 4, b"\xff" * 4),
    "ext4, blocks of 2^60 bytes": lambda place: _superblock(place, 24, b"\x32\0\0\0"),
    "ext4, no inodes in a group": lambda place: _superblock(place, 40, bytes(4)),
    "MD of 65535 disks": _md,
    "LUKS2 of 4 GiB": _luks,
    "noise": _noise,
    "nothing": lambda place: disks.blank(place / "disk.img", 24),
    "fstab: the root is a disk of this machine": _fstab("/dev/loop0 / ext4 x 0 1\n"),
    "fstab: a directory of this machine on /boot": _fstab(f"{ROOT}/etc /boot none bind 0 0\n"),
    "fstab: another server's files on /boot": _fstab(f"{ROOT}evil:/x /boot nfs x 0 0\n"),
    "fstab: mounts on a way out": _fstab(f"{ROOT}/dev/sda2 /../../etc ext4 x 0 0\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_disk_that_lies(tmp_path: Path, name: str) -> None:
    figures.leave("refused", name, tried=1, lost=1)
    (tmp_path / "secret").write_bytes(SECRET * (20 * MIB // len(SECRET)))
    image = CASES[name](tmp_path)
    before = digest(image)
    began = time.monotonic()
    found = ""
    try:
        with attached(Request((str(image),), "loop", True), silent) as guest:
            assert guest.layout
            found = json.dumps([guest.text("/etc/hostname"), guest.names("/boot")])
    except PvprepError as error:
        found = error.message
        assert error.message and "\n" not in found
    assert time.monotonic() - began < SECONDS
    assert "a line of this machine" not in found and "shadow" not in found
    assert digest(image) == before
    figures.leave("refused", name, tried=1, lost=0)
