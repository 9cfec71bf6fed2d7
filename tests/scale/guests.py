"""Trees in which one thing is many."""

from __future__ import annotations

from pathlib import Path

from tests.unit import trees
from tests.unit.building import entry, grub_cfg
from tests.unit.trees import FILES, VERSION

from pvprep.devicenames import vdev_names


def disks(root: Path, count: int) -> None:
    """So many disks, each with a line in fstab, and as many cards, each with a rule and a file."""
    names = [name for name, _ in zip(vdev_names("sd"), range(count))]
    macs = [f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(count)]
    mounts = (f"/dev/{name}1 /srv/{name} ext4 defaults 0 2\n" for name in names[1:])
    rules = (
        f'SUBSYSTEM=="net", ATTR{{address}}=="{mac}", KERNEL=="eth*", NAME="lan{number}"\n'
        for number, mac in enumerate(macs)
    )
    networks = {
        f"etc/systemd/network/{number:03}.network": f"[Match]\nMACAddress={mac}\n"
        for number, mac in enumerate(macs)
    }
    trees.make(root, {
        "etc/fstab": FILES["etc/fstab"] + "".join(mounts),
        "etc/udev/rules.d/70-persistent-net.rules": "".join(rules),
        "lib/udev/rules.d/80-net-setup-link.rules": "",
        "etc/lvm/lvm.conf": "".join(f'filter = [ "a|/dev/{name}.*|" ]\n' for name in names),
        **networks,
    })  # fmt: skip


def fstab(root: Path, count: int) -> None:
    """An fstab of so many lines: every other one has to change."""
    lines = (
        f"/dev/sda{number % 9 + 1} /srv/{number} ext4 noauto 0 0\n" if number % 2
        else f"UUID=1-{number} /mnt/{number} ext4 noauto 0 0\n"
        for number in range(count - 2)
    )  # fmt: skip
    trees.make(root, {"etc/fstab": FILES["etc/fstab"] + "".join(lines)})


def menu(root: Path, kib: int) -> None:
    """A grub.cfg of so many KiB: entries of the one kernel, as snapshots make them."""
    one = len(entry())
    trees.make(root, {"boot/grub/grub.cfg": grub_cfg(*[entry()] * (kib * 1024 // one))})


def kernels(root: Path, count: int) -> None:
    """So many kernels with all that belongs to each, and an entry for each in the menu."""
    versions = [VERSION, *(f"6.1.0-{100 + number}-amd64" for number in range(count - 1))]
    files = {"boot/grub/grub.cfg": grub_cfg(*map(entry, versions))}
    for version in versions:
        for path, content in FILES.items():
            if VERSION in path:
                files[path.replace(VERSION, version)] = content
    trees.make(root, files)
    for version in versions:
        (root / f"boot/vmlinuz-{version}").write_bytes(trees.image())
        (root / f"boot/initrd.img-{version}").write_bytes(trees.initrd(version=version))


# What grows, in words; how large it gets; and how it is made.
CASES = {
    "disks": ("disks, and as many network cards", 200, disks),
    "fstab": ("lines in fstab, half of them to be changed", 10_000, fstab),
    "menu": ("KiB of grub.cfg", 1024, menu),
    "kernels": ("kernels with their initrds", 300, kernels),
}
SHARES = (8, 4, 2, 1)  # the sizes that are measured: the largest, divided by these
