"""The parts of libvirt's domain XML that want other words than xl.

Source: libvirt's docs/formatdomain.rst and src/libxl/libxl_conf.c (libxlMakeDisk, libxlMakeNic).
"""

from __future__ import annotations

import re

from pvprep.domu.model import Boot, Vbd, Vif
from pvprep.domu.placeholders import disk_target
from pvprep.errors import PvprepError

TOOL = "virsh"
OS = {"pv": ("xenpv", "linux"), "pvh": ("xenpvh", "xenpvh"), "hvm": ("xenfv", "hvm")}
_FORMATS = {"vhd": "vpc"}  # what QEMU calls it
_BRIDGE = re.compile(r"[a-zA-Z0-9_.\\:/ -]*")  # docs/schemas/domaincommon.rng


def image_format(disk: Vbd) -> str:
    """The driver's type, "" for raw, which libxl takes by itself."""
    return "" if disk.format == "raw" else _FORMATS.get(disk.format, disk.format)


def source(disk: Vbd) -> tuple[str, str, str]:
    """The disk's type, the attribute of its source, and the path."""
    target = disk_target(disk)
    return ("block", "dev", target) if target.startswith("/dev/") else ("file", "file", target)


def bus(disk: Vbd) -> str:
    """What the disk hangs on."""
    return {"hd": "ide", "sd": "scsi"}.get(disk.vdev[:2], "xen")


def bridge(vif: Vif) -> str:
    """The bridge, whose name may hold less than the kernel allows."""
    if not _BRIDGE.fullmatch(vif.bridge):
        raise PvprepError(
            f"libvirt takes no bridge of the name {vif.bridge}",
            "Rename it in dom0, or emit another form: `--format xl`.",
        )
    return vif.bridge


def average(vif: Vif) -> int:
    """The most that the guest may send, in KiB a second, rounded up; 0 for no limit."""
    return -(-int(vif.rate.partition("B")[0]) // 1024) if vif.rate else 0


def bootloader_args(boot: Boot) -> str:
    """pygrub's arguments in one line, which is split at spaces again."""
    if any(arg.split() != [arg] for arg in boot.args):
        raise PvprepError(
            f"pygrub's arguments hold spaces: {boot.args!a}", "Only `--format xl` can hold them."
        )
    return " ".join(boot.args)
