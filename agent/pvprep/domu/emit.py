"""Write a DomU as xl.cfg(5), through the template beside this module.

What only dom0 knows becomes a value that stops `xl create`, with a loud comment on the line before.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from pvprep import __version__
from pvprep.domu.model import DomU, Vbd, Vif
from pvprep.domu.quote import comment, quote

# Debian's package grub-xen-host. For PV, GRUB must have the kernel's bits.
PVGRUB_PV = "/usr/lib/grub-xen/grub-x86_64-xen.bin"
PVGRUB_PV_32 = "/usr/lib/grub-xen/grub-i386-xen.bin"
PVGRUB_PVH = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"

TEMPLATES = Path(__file__).with_name("templates")
# Not a value at all: xl takes a quoted word with a mere warning and starts the guest with 32 MiB.
NO_MEMORY = "REPLACE-ME"


def disk_target(disk: Vbd) -> str:
    """The disk's path in dom0; else one that does not exist, by which libxl refuses to start."""
    return disk.target or f"/dev/REPLACE-ME/{disk.guest_name or disk.vdev}"


def disk_spec(disk: Vbd) -> str:
    """A disk as xl-disk-configuration(5) has it; target= last: it takes all the rest."""
    return (
        f"format={disk.format}, vdev={disk.vdev}, access={disk.access}, target={disk_target(disk)}"
    )


def vif_spec(vif: Vif) -> str:
    """An interface as xl-network-configuration(5) has it."""
    return f"mac={vif.mac}" + (f",bridge={vif.bridge}" if vif.bridge else "")


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


def size(count: int) -> str:
    """Bytes in words: `10.0 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def emit(domu: DomU) -> str:
    """The configuration file. Encode it with utf-8/surrogateescape: paths keep their bytes."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(TEMPLATES)),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(cfg=quote, note=comment, size=size)
    template = environment.get_template("xl.cfg.j2")
    return template.render(
        domu=domu,
        boot=domu.boot,
        version=__version__,
        no_memory=NO_MEMORY,
        pvgrub_image=pvgrub_image(domu),
        copied_out=copied_out,
        disk_target=disk_target,
        disk_spec=disk_spec,
        vif_spec=vif_spec,
    )
