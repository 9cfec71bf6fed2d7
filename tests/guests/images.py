"""Raw disk images of guests, made without mounting anything.

A partition's file system is made in place, at its offset in the image. Each kind of disk has its
own function; they share what follows the first.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.guests.profiles import DISK_ID, ROOT_UUID, SWAP_UUID

MIB = 1 << 20
_SECTOR = 512
# The boot sector's code ends where the disk identifier and the partition table begin.
_BOOT_CODE = 440


class ImageError(Exception):
    """An image could not be made; the message says by which program."""


def mbr(root: Path, image: Path, *, root_mib: int = 2048, swap_mib: int = 128) -> None:
    """An MBR disk that boots by BIOS: the tree on its first partition (ext4), then swap.

    The tree must have GRUB's images, as profiles have them. The file is sparse and on the disk when
    this returns. Takes about 10 s.
    """
    start = MIB
    swap_start = start + root_mib * MIB
    _blank(image, swap_start + swap_mib * MIB)
    table = (
        f"label: dos\nlabel-id: 0x{DISK_ID}\n"
        f"start={start // _SECTOR}, size={root_mib}MiB, type=83, bootable\n"
        f"start={swap_start // _SECTOR}, size={swap_mib}MiB, type=82\n"
    )
    _run(["sfdisk", "-q", str(image)], table)
    _ext4(root, image, start, root_mib)
    _swap(image, swap_start, swap_mib)
    _grub_before_first_partition(root, image, start)
    _run(["sync", str(image)])


def _blank(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)


def _ext4(root: Path, image: Path, start: int, mib: int) -> None:
    # The journal need not be written out: the file is sparse.
    options = f"offset={start},lazy_itable_init=1,lazy_journal_init=1"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-U", ROOT_UUID, "-E", options]
    _run([*command, "-d", str(root), str(image), f"{mib}M"])


def _swap(image: Path, start: int, mib: int) -> None:
    """mkswap(8) has no offset: its header, the first page, is made apart and copied."""
    with tempfile.NamedTemporaryFile() as apart:
        apart.truncate(mib * MIB)
        _run(["mkswap", "-q", "-U", SWAP_UUID, apart.name])
        _write_at(image, start, Path(apart.name).read_bytes()[:4096])


def _grub_before_first_partition(root: Path, image: Path, first: int) -> None:
    """The boot sector finds GRUB's core at sector 1, and the core knows the rest follows it.

    Both are GRUB's defaults (boot.S, diskboot.S); nothing needs patching.
    """
    modules = root / "boot/grub/i386-pc"
    core = (modules / "core.img").read_bytes()
    if _SECTOR + len(core) > first:
        raise ImageError(f"GRUB's core.img does not fit: {len(core)} bytes")
    _write_at(image, 0, (modules / "boot.img").read_bytes()[:_BOOT_CODE])
    _write_at(image, _SECTOR, core)


def _write_at(image: Path, offset: int, data: bytes) -> None:
    descriptor = os.open(image, os.O_WRONLY)
    try:
        written = os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)
    if written != len(data):
        raise ImageError(f"{image}: only {written} of {len(data)} bytes written")


def _run(argv: Sequence[str], stdin: str = "") -> None:
    done = subprocess.run(
        argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise ImageError(f"{argv[0]}: status {done.returncode}\n{done.stdout[-4000:]}")
