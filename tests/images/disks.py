"""Small disks of guests, for attaching: a root of a few files, laid out as installers do."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.guests.images import MIB

ROOT_UUID = "6f1c3e2a-58d4-4b0e-9a57-0d1f5b7c2e01"
# mkfs.btrfs takes none that any device here has; guests of other tests have the one above.
BTRFS_UUID = "0e5b7f12-8a34-4c56-9d78-1b2c3d4e5f60"
BOOT_UUID = "6f1c3e2a-58d4-4b0e-9a57-0d1f5b7c2e03"
FSTAB = f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\n"


def tree(place: Path, fstab: str = FSTAB, name: str = "bifit") -> Path:
    """The root of a guest: what pvprep knows one by."""
    for path, text in {
        "etc/fstab": fstab,
        "etc/hostname": f"{name}\n",
        "sbin/init": "",
        "boot/grub/grub.cfg": f"# the root's own, of {name}\n",
        "var/lib/x": "",
        "usr/x": "",
    }.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    return place


def boot(place: Path) -> Path:
    """What lies on a /boot of its own."""
    (place / "grub").mkdir(parents=True)
    (place / "grub/grub.cfg").write_text("# of /boot\n")
    return place


def blank(image: Path, mib: int, table: str = "") -> Path:
    """A sparse disk with this table, for sfdisk."""
    with image.open("wb") as file:
        file.truncate(mib * MIB)
    if table:
        run(["sfdisk", "-q", image], table)
    return image


def ext4(image: Path, content: Path, start_mib: int, mib: int, uuid: str = ROOT_UUID) -> None:
    """A file system with this content at its place on the disk."""
    extra = f"offset={start_mib * MIB},lazy_itable_init=0"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-E", extra, "-d", content]
    run([*command, image, f"{mib}M"])


def mbr(place: Path, *, fstab: str = FSTAB, name: str = "bifit") -> Path:
    """A raw MBR disk: root on its first partition, then room for swap."""
    image = blank(place / f"{name}.img", 34, "label: dos\nstart=2048,size=24M,type=83\ntype=82\n")
    ext4(image, tree(place / f"{name}.tree", fstab, name), 1, 24)
    return image


def filled(image: Path, content: Path, kind: str, options: Sequence[str], script: str = "") -> None:
    """A file system that mke2fs does not make: mounted once, in a namespace of its own."""
    run([f"mkfs.{kind}", "-q", *options, image])
    fill = f'mount -o loop "$1" /mnt && {{ {script or "true"}; }} && cp -a "$2/." "/mnt/$3"'
    fill += " && umount /mnt"
    where = "@rootfs" if script else ""
    run(["unshare", "--mount", "sh", "-ec", fill, "sh", image, content, where])


def run(argv: Sequence[object], text: str = "") -> str:
    """Run a program that has to succeed; what it said."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
    return done.stdout
