"""The parts of xl.cfg(5) that have a grammar of their own."""

from __future__ import annotations

from pvprep.domu.model import Vbd, Vif
from pvprep.domu.placeholders import disk_target

TOOL = "xl"


def disk_spec(disk: Vbd) -> str:
    """A disk as xl-disk-configuration(5) has it; target= last: it takes all the rest."""
    access = f"access={disk.access}" + (", devtype=cdrom" if disk.cdrom else "")
    return f"format={disk.format}, vdev={disk.vdev}, {access}, target={disk_target(disk)}"


def vif_spec(vif: Vif) -> str:
    """An interface as xl-network-configuration(5) has it."""
    return f"mac={vif.mac}" + "".join(
        f",{key}={value}"
        for key, value in (("bridge", vif.bridge), ("rate", vif.rate), ("model", vif.model))
        if value
    )
