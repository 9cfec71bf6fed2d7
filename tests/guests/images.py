"""Raw disk images of guests, made without mounting anything.

A partition's file system is made in place, at its offset in the image. Each kind of disk has its
own function; they share what follows the first.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.guests.profiles import BOOT_UUID, DISK_ID, ROOT_UUID, SWAP_UUID

MIB = 1 << 20
_SECTOR = 512
# The boot sector's code ends where the disk identifier and the partition table begin.
_BOOT_CODE = 440
ROOT_MIB = 2048
BOOT_MIB = 256
SWAP_MIB = 128
# GPT's partition types (UEFI specification, and the Discoverable Partitions Specification).
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_LINUX_SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
_LINUX_LVM = "E6D6D379-F507-44C2-A23C-238F2A3DF928"
# Without device-mapper and udev: nothing is activated, zeroed or wiped, and only one disk is seen.
_LVM = r"""
root=$1 image=$2 start=$3 size=$4 root_mib=$5 swap_mib=$6
disk=$(losetup --find --show --offset "$start" --sizelimit "$size" "$image")
trap 'losetup --detach "$disk"' EXIT
for directory in dev proc sys; do
    mount --bind "/$directory" "$root/$directory"
done
lvm() {
    chroot "$root" /sbin/lvm "$@" --driverloaded n --devicesfile '' --config "
        devices { obtain_device_list_from_udev=0 filter=[\"a|^$disk\$|\", \"r|.*|\"] }
        activation { udev_sync=0 udev_rules=0 }"
}
lvm pvcreate -y "$disk"
lvm vgcreate vg "$disk"
lvm lvcreate -y -an -Zn -Wn --size "${root_mib}m" --name root vg
lvm lvcreate -y -an -Zn -Wn --size "${swap_mib}m" --name swap vg
"""


class ImageError(Exception):
    """An image could not be made; the message says by which program."""


def mbr(root: Path, image: Path, *, root_mib: int = ROOT_MIB, swap_mib: int = SWAP_MIB) -> None:
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
    _ext4(root, image, start, root_mib, ROOT_UUID)
    _swap(image, swap_start, swap_mib)
    _grub_before_first_partition(root, image, start)
    _run(["sync", str(image)])


def boot_apart(
    root: Path, boot: Path, image: Path, *, root_first: bool = False, xfs: bool = False
) -> None:
    """A GPT disk for pygrub or GRUB in dom0: BIOS has nothing to start on it.

    Its partitions: 1 for BIOS GRUB, 2 /boot (ext4), 3 / (ext4 or XFS), 4 swap; with root_first
    2 is / and 3 is /boot. The root's own boot directory lies under /boot, as it is.
    """
    sizes = [ROOT_MIB, BOOT_MIB] if root_first else [BOOT_MIB, ROOT_MIB]
    second, third, swap = _gpt(image, [*sizes, SWAP_MIB], [_LINUX, _LINUX, _LINUX_SWAP])
    boot_start, root_start = (third, second) if root_first else (second, third)
    _ext4(boot, image, boot_start, BOOT_MIB, BOOT_UUID)
    if xfs:
        _xfs(root, image, root_start, ROOT_MIB)
    else:
        _ext4(root, image, root_start, ROOT_MIB, ROOT_UUID)
    _swap(image, swap, SWAP_MIB)
    _run(["sync", str(image)])


def lvm(root: Path, boot: Path, image: Path) -> None:
    """A GPT disk: 1 for BIOS GRUB, 2 /boot (ext4), 3 with LVM: the volumes vg/root (ext4), vg/swap.

    The root must have the package lvm2, whose programs lay the volumes out.
    """
    mib = ROOT_MIB + SWAP_MIB + 8
    boot_start, start = _gpt(image, [BOOT_MIB, mib], [_LINUX, _LINUX_LVM])
    arguments = [str(number) for number in (start, mib * MIB, ROOT_MIB, SWAP_MIB)]
    _run(["unshare", "--mount", "sh", "-ec", _LVM, "sh", str(root), str(image), *arguments])
    _ext4(boot, image, boot_start, BOOT_MIB, BOOT_UUID)
    # LVM's default: the first extent begins at 1 MiB, and volumes made in turn follow each other.
    _ext4(root, image, start + MIB, ROOT_MIB, ROOT_UUID)
    _swap(image, start + MIB + ROOT_MIB * MIB, SWAP_MIB)
    _run(["sync", str(image)])


@contextlib.contextmanager
def mounted(image: Path, place: Path, *, start: int = MIB) -> Iterator[Path]:
    """A file system of an image, to be read while the block runs; start: of it, in bytes.

    As it is on the disk: its journal is neither replayed nor written.
    """
    place.mkdir(exist_ok=True)
    options = f"ro,noload,loop,offset={start},sizelimit={ROOT_MIB * MIB}"
    _run(["mount", "-t", "ext4", "-o", options, str(image), str(place)])
    try:
        yield place
    finally:
        _run(["umount", str(place)])


def _gpt(image: Path, sizes: Sequence[int], types: Sequence[str]) -> list[int]:
    """Partitions of so many MiB behind one for BIOS GRUB; gives where they start, in bytes."""
    starts = [2 * MIB + sum(sizes[:number]) * MIB for number in range(len(sizes))]
    _blank(image, 2 * MIB + sum(sizes) * MIB + MIB)
    table = f"label: gpt\nstart=1MiB, size=1MiB, type={_BIOS_BOOT}\n"
    for start, size, kind in zip(starts, sizes, types):
        table += f"start={start // _SECTOR}, size={size}MiB, type={kind}\n"
    _run(["sfdisk", "-q", str(image)], table)
    return starts


def _blank(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)


def _ext4(root: Path, image: Path, start: int, mib: int, uuid: str) -> None:
    # The journal need not be written out: the file is sparse.
    options = f"offset={start},lazy_itable_init=1,lazy_journal_init=1"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-E", options]
    _run([*command, "-d", str(root), str(image), f"{mib}M"])


def _xfs(root: Path, image: Path, start: int, mib: int) -> None:
    """mkfs.xfs(8) has no offset either, and takes no tree as it is: mounted, in a namespace."""
    with tempfile.NamedTemporaryFile(dir=image.parent) as apart:
        apart.truncate(mib * MIB)
        _run(["mkfs.xfs", "-q", "-f", "-m", f"uuid={ROOT_UUID}", apart.name])
        fill = 'mount -o loop "$1" /mnt && cp -a "$2/." /mnt && umount /mnt'
        _run(["unshare", "--mount", "sh", "-ec", fill, "sh", apart.name, str(root)])
        place = [f"of={image}", "bs=1M", f"seek={start // MIB}", "conv=notrunc,sparse"]
        _run(["dd", f"if={apart.name}", "status=none", *place])


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
    (modules,) = root.glob("boot/grub*/i386-pc")
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
