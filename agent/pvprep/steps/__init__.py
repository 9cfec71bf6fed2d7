"""The steps, in the order in which they are planned: what a PV guest needs, top to bottom.

The kernel goes first, since which kernel it is decides names; initrd and boot loader go last, since
the initrd copies what the others write, and the boot entry must name what is there. SELinux looks
at what all of them make.
"""

from __future__ import annotations

from . import (
    bootloader,
    console,
    devices,
    fallback,
    hardware,
    initrd,
    kernel,
    network,
    preflight,
    selinux,
    tls,
)
from .step import Step

STEPS: tuple[Step, ...] = (
    preflight.STEP,
    kernel.STEP,
    fallback.STEP,
    devices.STEP,
    tls.STEP,
    network.STEP,
    console.STEP,
    hardware.STEP,
    initrd.STEP,
    bootloader.STEP,
    selinux.STEP,
)
