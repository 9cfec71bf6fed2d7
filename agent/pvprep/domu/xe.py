"""The parts of xe's commands that want other words than xl."""

from __future__ import annotations

from pvprep.domu.libvirt import bootloader_args as bootloader_args
from pvprep.domu.model import Vbd


def place(disk: Vbd) -> int:
    """Its `userdevice`: which of the VM's disks it is, from 0 on."""
    number = 0
    for letter in disk.letters:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1
