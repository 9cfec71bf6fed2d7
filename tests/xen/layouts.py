"""Other disks and boot loaders than the guests of tests/guests have, as installers write them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.guests.profiles import BOOT_UUID, ROOT_UUID, SWAP_UUID

_FSTAB = """\
# /etc/fstab: static file system information.
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
{root} / {fstype} {options} 0 1
UUID={boot} /boot ext4 defaults 0 2
{swap} none swap sw 0 0
"""

_MENU_LST = """\
default 0
timeout 5

### BEGIN AUTOMAGIC KERNELS LIST
## lines between the AUTOMAGIC KERNELS LIST markers will be modified
## by the debian update-grub script except for the default options below

## ## Start Default Options ##
# kopt=root=/dev/sda1 ro
# groot=(hd0,0)
# defoptions=quiet mitigations=off resume=/dev/sda2
## ## End Default Options ##

title  Debian GNU/Linux, kernel {version}
root  (hd0,0)
kernel  /boot/vmlinuz-{version} root=/dev/sda1 ro quiet mitigations=off resume=/dev/sda2
initrd  /boot/initrd.img-{version}

title  Debian GNU/Linux, kernel {version} (single-user mode)
root  (hd0,0)
kernel  /boot/vmlinuz-{version} root=/dev/sda1 ro single
initrd  /boot/initrd.img-{version}

### END DEBIAN AUTOMAGIC KERNELS LIST
"""


@dataclass(frozen=True)
class Names:
    """How a system calls its root and swap; fstype: of the root. /boot goes by its UUID."""

    root: str
    swap: str
    fstype: str = "ext4"


BY_UUID = Names(f"UUID={ROOT_UUID}", f"UUID={SWAP_UUID}")
XFS = Names(f"UUID={ROOT_UUID}", f"UUID={SWAP_UUID}", "xfs")
LVM = Names("/dev/mapper/vg-root", "/dev/mapper/vg-swap")


def boot_apart(root: Path, names: Names) -> None:
    """Turn a tree of the profiles into one on GPT with a /boot of its own, and these names."""
    options = "errors=remount-ro" if names.fstype == "ext4" else "defaults"
    fstab = _FSTAB.format(
        root=names.root, fstype=names.fstype, options=options, boot=BOOT_UUID, swap=names.swap
    )
    (root / "etc/fstab").write_text(fstab)
    (root / "etc/initramfs-tools/conf.d/resume").write_text(f"RESUME={names.swap}\n")
    _replace(root / "etc/default/grub", {"/dev/sda2": names.swap})
    if names.root.startswith("UUID="):
        # What the installation leaves: GRUB chooses UUIDs by itself.
        _replace(
            root / "etc/default/grub",
            {"GRUB_DISABLE_LINUX_UUID=true": "#GRUB_DISABLE_LINUX_UUID=true"},
        )
    _replace(
        root / "boot/grub/grub.cfg",
        {
            "/boot/vmlinuz": "/vmlinuz",
            "/boot/initrd": "/initrd",
            "root=/dev/sda1": f"root={names.root}",
            "/dev/sda2": names.swap,
            "part_msdos": "part_gpt",
            "hd0,msdos1": "hd0,gpt2",
            "ahci0,msdos1": "ahci0,gpt2",
            f" {ROOT_UUID}": f" {BOOT_UUID}",
        },
    )


def take_boot(root: Path, boot: Path) -> None:
    """Move what is in the tree's /boot to where it is the root of a file system."""
    shutil.move(root / "boot", boot)
    (root / "boot").mkdir()


def grub_legacy(root: Path) -> None:
    """Put GRUB 0.97's menu.lst in the place of GRUB 2's files."""
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    shutil.rmtree(root / "boot/grub")
    (root / "boot/grub").mkdir()
    version = kernel.name.partition("-")[2]
    (root / "boot/grub/menu.lst").write_text(_MENU_LST.format(version=version))
    (root / "boot/grub/device.map").write_text("(hd0)\t/dev/sda\n")


def _replace(path: Path, changes: dict[str, str]) -> None:
    """Raises ValueError where a text is not there: Debian's file has changed."""
    text = path.read_text()
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"{path} does not have {old!r}")
        text = text.replace(old, new)
    path.write_text(text)
