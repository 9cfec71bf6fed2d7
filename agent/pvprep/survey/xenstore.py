"""What dom0 wrote into xenstore about this domain: its disks, interfaces, name and size.

Whatever the guest may not read stays unknown. Sources: Xen's docs/misc/xenstore-paths.pandoc and
tools/libs/light/libxl_disk.c, libxl_nic.c, libxl_dom.c (libxl__build_post); for xend's additions
tools/python/xen/xend/server/blkif.py of Xen 4.4.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Optional

from ..errors import PvprepError
from ..facts import BlockBackend, NetBackend, Xenstore
from ..guest import Guest
from ..xenbus import Xenbus, connect

_VM = re.compile(r"/vm/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:-[0-9]+)?")
# LIBXL_MAXMEM_CONSTANT, in KiB: libxl takes it off an HVM domain's target where maxmem is larger.
FUDGE = 1024


def xenstore(guest: Guest) -> Optional[Xenstore]:
    """What xenstore says of this domain; None where there is none to be asked."""
    line = connect(guest) if guest.running else None
    if line is None:
        return None
    with line:
        try:
            return _domain(line)
        except PvprepError as error:
            return Xenstore(problem=error.message)


def _domain(line: Xenbus) -> Xenstore:
    memory, most = _memory(line)
    return Xenstore(
        domid=_number(line.read("domid")),
        name=line.read("name") or "",
        uuid=_uuid(line.read("vm") or ""),
        memory_mib=memory,
        maxmem_mib=most,
        vcpus=sum(
            line.read(f"cpu/{name}/availability") == "online" for name in line.names("cpu")
        )
        or None,
        disks=tuple(_disk(line, number) for number in _devices(line, "vbd")),
        nics=tuple(_nic(line, number) for number in _devices(line, "vif")),
    )


def _devices(line: Xenbus, kind: str) -> list[int]:
    found = (_number(name) for name in line.names(f"device/{kind}"))
    return sorted(number for number in found if number is not None)


def _disk(line: Xenbus, number: int) -> BlockBackend:
    front = f"device/vbd/{number}"
    back = line.read(f"{front}/backend") or ""
    said = partial(_said, line, back)
    return BlockBackend(
        number,
        backend=back,
        type=said("type"),
        params=said("params"),
        mode=said("mode"),
        device_type=line.read(f"{front}/device-type") or said("device-type"),
        script=said("script"),
        # Both only while a frontend is connected.
        size=(_number(said("sectors")) or 0) * (_number(said("sector-size")) or 0),
    )


def _nic(line: Xenbus, number: int) -> NetBackend:
    front = f"device/vif/{number}"
    back = line.read(f"{front}/backend") or ""
    said = partial(_said, line, back)
    return NetBackend(
        mac=(line.read(f"{front}/mac") or said("mac")).lower(),
        backend=back,
        bridge=said("bridge"),
        script=said("script"),
        rate=said("rate"),
    )


def _said(line: Xenbus, backend: str, name: str) -> str:
    """A node of a backend; "" for what is not there or not for the guest."""
    return (line.read(f"{backend}/{name}") or "") if backend else ""


def _uuid(vm: str) -> str:
    """From /vm/UUID; xend adds a number there when a domain is restarted."""
    found = _VM.fullmatch(vm)
    return found.group(1).lower() if found else ""


def _memory(line: Xenbus) -> tuple[Optional[int], Optional[int]]:
    """Memory and maxmem in MiB, as a configuration has them; maxmem only where it is more.

    The target in xenstore lacks the video memory of an HVM domain, which comes out of `memory`.
    """
    target, most = _number(line.read("memory/target")), _number(line.read("memory/static-max"))
    if not target:
        return None, None
    memory = target + (_number(line.read("memory/videoram")) or 0)
    if most and most > memory + FUDGE and memory != target:
        memory += FUDGE
    more = most if most and most > memory + FUDGE else None
    return -(-memory // 1024), more and -(-more // 1024)


def _number(text: Optional[str]) -> Optional[int]:
    """A number as xenstore has them, in decimal."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else None
