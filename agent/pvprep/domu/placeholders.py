"""What stands where only dom0 knows the value: words by which its tools stop."""

from __future__ import annotations

import posixpath

from pvprep.domu.model import DomU, Vbd

# Debian's package grub-xen-host. For PV, GRUB must have the kernel's bits.
PVGRUB_PV = "/usr/lib/grub-xen/grub-x86_64-xen.bin"
PVGRUB_PV_32 = "/usr/lib/grub-xen/grub-i386-xen.bin"
PVGRUB_PVH = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"

# Not a value at all: xl takes a quoted word with a mere warning and starts the guest with 32 MiB.
NO_MEMORY = "REPLACE-ME"


def disk_target(disk: Vbd) -> str:
    """The disk's path in dom0; else one that does not exist, by which libxl refuses to start."""
    if disk.target is not None:
        return disk.target
    return f"/dev/REPLACE-ME/{disk.guest_name or disk.vdev}"


def pvgrub_image(domu: DomU) -> str:
    """The GRUB that runs inside the domain."""
    if domu.boot.image:
        return domu.boot.image
    if domu.pvshim:
        return PVGRUB_PV_32
    return PVGRUB_PV if domu.type == "pv" else PVGRUB_PVH


def copied_out(in_dom0: str, in_guest: str, name: str) -> str:
    """A kernel's or initrd's path in dom0; else one that does not exist, by which xl stops."""
    return in_dom0 or f"/REPLACE-ME/{posixpath.basename(in_guest) or name}"
