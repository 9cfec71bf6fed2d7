"""What the operator asks for; the same for every verb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Options:
    """Choices that steer the plan and the emitted config; defaults are what most people want."""

    device_names: str = "auto"  # "auto" (by the kernel), "xvd", "hd" or "uuid"
    kernel_packages: tuple[str, ...] = ()
    kernel_from: str = ""  # "host", a directory, or a package that is unpacked, not installed
    initrd: str = "rebuild"  # by the guest's own builder, or "append": no code of the guest runs
    type: str = "pv"  # "pv", "pvh", "pvshim" (PV inside PVH) or "hvm" (the way back)
    form: str = "xl"  # "xl", "xm", "libvirt", "xe" or "json"
    xen: Optional[tuple[int, int]] = None  # dom0's release, (4, 17); None for any
    bootloader: str = "pygrub"
    name: str = ""
    bridge: str = ""
    memory_mib: Optional[int] = None
    maxmem_mib: Optional[int] = None
    vcpus: Optional[int] = None
    disk_backends: Mapping[str, str] = field(default_factory=dict)  # vdev -> target in dom0
    macs: tuple[str, ...] = ()
