"""Attach a powered-off guest's disks, and leave the host exactly as it was.

By the host's own kernel (by_kernel.py: loop devices, kpartx's mappings) or in libguestfs' appliance
(by_guestfs.py), where the host's kernel never mounts a foreign file system.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from ..errors import UsageError
from ..facts import Disk
from ..guest import Guest
from . import formats, record
from .request import HOW, Request

# As QEMU calls a format, and as Xen does (xl-disk-configuration(5)).
_OF_XEN = {"raw": "raw", "qcow2": "qcow2", "vpc": "vhd"}

__all__ = ("HOW", "Request", "attached", "detach", "way")


@contextmanager
def attached(request: Request, say: Callable[[str], None]) -> Iterator[Guest]:
    """The guest on these disks while the block runs: mounted, with the layout of its disks.

    say: hears what a person should know (a journal that was replayed). PvprepError, before anything
    is written, for disks that are in use, damaged, or not to be understood; its message names who
    or what. After the block everything is unmounted, checked once more and written out.
    """
    if request.how not in HOW:
        raise UsageError(
            f"--attach {request.how}: there is no such way", f"one of {', '.join(HOW)}"
        )
    if not request.disks:
        raise UsageError("no disk was given")
    module = "by_guestfs" if way(request.disks, request.how, say) == "guestfs" else "by_kernel"
    attach = importlib.import_module(f"{__name__}.{module}").attached
    with attach(request, say) as guest, closing(guest):  # what it holds keeps a tree mounted
        if guest.layout:
            disks = map(_sourced, guest.layout.disks, request.disks)
            guest.layout = replace(guest.layout, disks=tuple(disks))
        yield guest


def detach(say: Callable[[str], None]) -> int:
    """Take away what runs that were killed have left; 0, also where there was nothing."""
    return record.clean(say)


def _sourced(disk: Disk, path: str) -> Disk:
    """With the file or device that dom0 can serve it from; Xen knows no VMDK, VHDX, VDI."""
    form = _OF_XEN.get(formats.of(path)) if os.path.isfile(path) else "raw"
    return replace(disk, image=path, format=form) if form else disk


def way(disks: Sequence[str], how: str, say: Callable[[str], None]) -> str:
    """What `auto` is: libguestfs for images of others, where it is installed."""
    if how != "auto":
        return how
    foreign = next((disk for disk in disks if os.path.isfile(disk) and _foreign(disk)), "")
    if foreign and not importlib.util.find_spec("guestfs"):
        say(
            f"{foreign} was written by somebody else, and this machine's kernel mounts it: "
            "with python3-guestfs installed, libguestfs' own would"
        )
        return "loop"
    return "guestfs" if foreign else "loop"


def _foreign(disk: str) -> bool:
    """Whether somebody else wrote any of it: an overlay of ours may rest on a file of theirs."""
    if not formats.own(disk):
        return True
    form = formats.of(disk)
    return form != "raw" and not all(map(formats.own, formats.check(disk, form)))
