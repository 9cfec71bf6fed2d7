"""What is read of kernels, initrds, disks and packages: bytes that a guest, or anybody, made."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.target import Target, files, refusing, text
from tests.unit.images.test_arrays import superblock
from tests.unit.images.test_lvm import MORE, TEXT
from tests.unit.survey.synthetic import (
    COMPRESSIONS,
    LINUX_PV,
    LINUX_PVH,
    bzimage,
    compress,
    cpio,
    elf,
    notes,
)
from tests.unit.survey.test_initrd_image import DRACUT, NASH, SUSES

from pvprep.errors import PvprepError
from pvprep.images import arrays, formats, lvm, stack, tables
from pvprep.images.volumes import Range, Volume
from pvprep.initrds import newc
from pvprep.outside import member
from pvprep.survey import archives, elfnotes, initrd_image, kernel_image
from pvprep.survey.streams import Part, PayloadError, PlainStream
from pvprep_dom0 import xlcfg

CRC_START, ONES = 0xF597A6CF, 0xFFFFFFFF
DISK = 16 << 20  # bytes of the disk on which superblocks are tried
SMALL_ELF = elf(notes({**LINUX_PV, **LINUX_PVH}), before=b"\x90" * 64)


@contextmanager
def _file(data: bytes, name: str = "image", size: int = 0) -> Iterator[str]:
    """A file in memory with this content, and zeros up to a size."""
    with TemporaryDirectory(dir="/dev/shm") as directory:
        path = Path(directory) / name
        path.write_bytes(data)
        if size:
            os.truncate(path, size)
        yield str(path)


def _kernel(data: bytes) -> None:
    with _file(data) as path:
        proof = kernel_image.prove_kernel.read(path)
    assert proof.problem or proof.compression
    assert not (proof.problem and proof.pv), proof


def _elf(data: bytes) -> None:
    with _file(data) as path, open(path, "rb") as file, refusing(PayloadError):
        part = Part(file.fileno(), 0, len(data))
        elfnotes.read_notes(lambda: PlainStream(replace(part)))


def _initrd(data: bytes) -> None:
    with _file(data) as path:
        proof = initrd_image.prove_initrd.read(path)
    assert proof.problem or proof.compression
    assert sum(map(len, proof.files.values())) <= initrd_image.FILES_MAX


def _archives(data: bytes) -> None:
    """As files are appended: every member is noted, and then a place is looked for."""
    tree = newc.Tree()
    with _file(data) as path, open(path, "rb") as file, refusing(PayloadError, PvprepError):
        for one, stream in archives.Walk(Part(file.fileno(), 0, len(data))):
            target = stream.take(one.size) if one.size < 4096 else b""
            tree.note(one.name, one.mode, one.links, target.decode("utf-8", "surrogateescape"))
        items = {"lib/modules/1/xen.ko": newc.Item(b"x"), "conf/modules": newc.Item(b"y")}
        made = newc.archive(tree, items)
        assert made == newc.archive(tree, items)
        assert made.count(b"TRAILER!!!") == 1


def _metadata(whole: str) -> None:
    with refusing(PvprepError):
        volume = Volume.of(Range("/dev/null", 0, 200 << 20))
        first = lvm.Physical("3AipclVSIBBSknHRWqEbyjZua58cMwle", volume, whole, ("sda1",))
        second = replace(first, uuid="AJE2bzSy5U4RvY0qUTcB5HsAhjYLcPfH", parts=("sda2",))
        for one in lvm.logical([first, second]):
            assert one.problem or one.volume, one
            assert one.paths


def _physical(data: bytes) -> None:
    with _file(data, size=DISK) as path, refusing(PvprepError):
        found = lvm.physical(Volume.of(Range(path, 0, DISK)), ("sda1",))
        list(lvm.logical([found]))


def _array(data: bytes) -> None:
    """The superblock of version 1.2, with the first member beside it."""
    with _file(b"\0" * 4096 + data, size=DISK) as path, refusing(PvprepError):
        one = arrays.member(Volume.of(Range(path, 0, DISK)), "sda1")
        for array in arrays.arrays([one, replace(one, role=0, part="sdb1")]):
            assert array.problem or array.volume, array


def _array_0(data: bytes) -> None:
    """The same for version 0.90, near the end."""
    with _file(b"\0" * (DISK - (64 << 10)) + data, size=DISK) as path, refusing(PvprepError):
        one = arrays.member(Volume.of(Range(path, 0, DISK)), "sda1")
        arrays.arrays([one])


def _table(data: bytes) -> None:
    """A whole disk, as the real sfdisk and blkid see it."""
    with _file(data, size=DISK) as path, refusing(PvprepError):
        disk, slots = tables.partitions(path, DISK, 1)
        numbers = [slot.part.number for slot in slots]
        assert numbers == sorted(numbers)
        assert disk.partitions == tuple(slot.part for slot in slots)
        for slot in slots:
            assert slot.volume.size == slot.part.size
            slot.volume.read(0, 4096)
        for node in stack.nodes(slots, _locked):
            assert node.problem or node.volume, node


def _locked(volume: Volume, name: str) -> Volume:
    raise PvprepError(f"{name}: {volume.size} bytes that nobody has a passphrase for")


def _format(data: bytes) -> None:
    for name in ("disk.img", "disk.qcow2", "disk.vmdk", "disk.vhd", "disk.vdi"):
        with _file(data, name) as path, refusing(PvprepError):
            assert formats.of(path)


def _member(whole: str) -> None:
    name, _, target = whole.partition("\0")
    with refusing(PvprepError):
        found = member.wanted(name, "kernel.rpm")
        if found:
            assert found.startswith(("boot/", "lib/modules/"))
            assert ".." not in found.split("/")
            assert member.version_of(found)
            member.stays_inside(found, target)


def _domain(whole: str) -> None:
    with refusing(xlcfg.ConfigError):
        for setting in xlcfg.effective(xlcfg.parse(whole)).values():
            assert setting.line > 0
            if isinstance(setting.value, str):
                xlcfg.number(setting.value)


def _physical_volume() -> bytes:
    """Label, header and metadata area of a physical volume, as lvm.physical reads them."""
    text_ = TEXT.replace("@MORE@", "").encode()
    disk = bytearray(8192)
    disk[512:520] = b"LABELONE"
    struct.pack_into("<Q", disk, 520, 1)
    struct.pack_into("<I", disk, 532, 32)
    disk[536:544] = b"LVM2 001"
    disk[544:576] = b"3AipclVSIBBSknHRWqEbyjZua58cMwle"
    struct.pack_into("<Q", disk, 576, DISK)
    struct.pack_into("<QQQQ", disk, 584, 1 << 20, 0, 0, 0)
    struct.pack_into("<QQQQ", disk, 616, 4096, 1 << 19, 0, 0)
    disk[4100:4116] = b"\x20LVM2\x20x[5A%r0N*>"
    checksum = zlib.crc32(text_, CRC_START ^ ONES) ^ ONES
    struct.pack_into("<QQII", disk, 4136, 512, len(text_), checksum, 0)
    return bytes(disk[:4608]) + text_


def _old_superblock() -> bytes:
    words = [0] * 1024
    words[0:2] = [0xA92B4EFC, 0]
    words[7:12] = [1, 8192, 2, 2, 0]
    words[33], words[39] = 1, 17
    words[992:997] = [0, 8, 1, 0, 6]
    return struct.pack("<1024I", *words)


def _disks() -> list[bytes]:
    """The beginnings of disks with a table of each kind, and of one that is a file system."""
    scripts = (
        "label: gpt\nsize=1MiB,type=21686148-6449-6E6F-744E-656564454649\nsize=4MiB,name=root\n",
        "label: dos\nsize=2MiB,type=83,bootable\nsize=2MiB,type=82\nsize=9MiB,type=5\nsize=1MiB\n",
        "label: sun\nsize=4MiB\n",
    )
    made = []
    for script in scripts:
        with _file(b"", size=DISK) as path:
            subprocess.run(["sfdisk", "-q", path], input=script, text=True, check=True)
            made.append(Path(path).read_bytes()[:20480].rstrip(b"\0"))
    with _file(b"", size=DISK) as path:
        subprocess.run(["mke2fs", "-q", "-F", path], check=True)
        made.append(Path(path).read_bytes()[:4096].rstrip(b"\0"))
    return made


def _kernels() -> list[bytes]:
    made = [bzimage(SMALL_ELF, compression) for compression in (*COMPRESSIONS, "none")]
    return [*made, SMALL_ELF, compress(SMALL_ELF, "gzip"), bzimage(SMALL_ELF, protocol=0x207)]


def _elves() -> list[bytes]:
    note, old = notes(LINUX_PV), b"GUEST_OS=linux,XEN_VER=xen-3.0,LOADER=generic,PAE=yes\0"
    small = {"before": b"\x90" * 64}
    return [
        elf(content, bits, where, **small)  # type: ignore[arg-type]
        for bits in (32, 64)
        for content, where in ((note, "segment"), (note, "section"), (old, "guest"))
    ]


def _initrds() -> list[bytes]:
    small = cpio([("conf/modules", b"xen-blkfront\n"), ("etc/fstab", b"/dev/sda1 / ext4\n")])
    return [DRACUT, NASH, SUSES, small + bytes(64) + compress(small, "gzip"),
            *(compress(small, one) for one in COMPRESSIONS)]  # fmt: skip


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [one.encode() for one in texts]


TARGETS = (
    Target("images/kernel", _kernel, _kernels),
    Target("images/elf", _elf, _elves),
    Target("images/initrd", _initrd, _initrds),
    Target("images/archives", _archives, _initrds),
    Target("images/qcow2", _format, lambda: [
        struct.pack(">4sIQIIQI", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0).ljust(112, b"\0"), b"KDMV",
        b"# Disk DescriptorFile", b"vhdxfile", b"conectix", bytes(64) + b"\x7f\x10\xda\xbe",
    ]),
    Target("disks/tables", _table, _disks),
    Target("disks/lvm-metadata", text(_metadata), _texts(
        TEXT.replace("@MORE@", ""),
        TEXT.replace("@MORE@", MORE.format(name="snap", line='type = "snapshot"\norigin = "x"')),
    )),
    Target("disks/lvm-volume", _physical, lambda: [_physical_volume()]),
    Target("disks/md", _array, lambda: [superblock(), superblock(role=0, feature=5)]),
    Target("disks/md-0.90", _array_0, lambda: [_old_superblock()]),
    Target("packages/members", text(_member), _texts(
        "./boot/vmlinuz-6.1.0-9-amd64\0", "usr/lib/modules/5.14.0-1.el9/kernel/x.ko\0../y",
        "lib/modules/5.14.0/../../etc\0/x",
    )),
    Target("dom0/xl.cfg", text(_domain), files("xlcfg/*")),
)  # fmt: skip
