"""The parts of xm's configuration with a grammar of their own, and where old Xen has its files.

Source: Xen's tools/python/xen/xm/create.py and tools/examples/xmexample.hvm of 3.2 to 4.4.
"""

from __future__ import annotations

from typing import Optional

from pvprep.domu import xl
from pvprep.domu.model import Vbd, Vif
from pvprep.domu.placeholders import disk_target
from pvprep.domu.releases import Release
from pvprep.errors import PvprepError

TOOL = "xm"
# Debian has a directory for each release; lenny's is in the how-to that pvprep automates.
_LENNY: Release = (3, 2)


def program(xen: Optional[Release], place: str, name: str) -> str:
    """The path of a file of Xen's in dom0."""
    return f"/usr/lib/xen-3.2-1/{place}/{name}" if xen == _LENNY else f"/usr/lib/xen/{place}/{name}"


def pygrub(xen: Optional[Release]) -> str:
    """The path of pygrub: xm does not look for it."""
    return program(xen, "bin", "pygrub") if xen == _LENNY else "/usr/bin/pygrub"


def disk_spec(disk: Vbd) -> str:
    """A disk as `UNAME,DEV,MODE`; raw images by the loop device, others by blktap."""
    target = disk_target(disk)
    if "," in target:
        raise PvprepError(
            f"xm cannot have a comma in the path of a disk: {target!a}", "Use a link without one."
        )
    if disk.format == "qed":
        raise PvprepError(f"xm does not know the format qed of {target!a}", "Convert the image.")
    if not target:
        uname = ""
    elif disk.format != "raw":
        uname = f"tap:{disk.format}:{target}"
    else:
        uname = ("phy:" if target.startswith("/dev/") else "file:") + target
    drive = ":cdrom" if disk.cdrom else ""
    return f"{uname},{disk.vdev}{drive},{'w' if disk.access == 'rw' else 'r'}"


def vif_spec(vif: Vif) -> str:
    """An interface; xm's words for it are xl's, but that an emulated one has to say so."""
    return ("type=ioemu," if vif.model else "") + xl.vif_spec(vif)
