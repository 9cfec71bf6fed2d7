"""Which of the domain's virtual devices, as dom0 wrote them into xenstore, is which in the guest.

What cannot be told for sure is left to the operator: a wrong disk is worse than a placeholder.
Sources: xen-vbd-interface(7); Xen's tools/libs/light/libxl_disk.c, libxl_nic.c; for xend's forms
tools/python/xen/xend/server/blkif.py of Xen 4.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..devicenames import vdev_of
from ..facts import BlockBackend, Disk, NetBackend
from . import model, quote

# What stands before the path in `params`, in libxl's words and blktap's.
_FORMATS = {"aio": "raw", **{name: name for name in model.FORMATS}}
_DRIVERS = re.compile(r"(?:tapdisk|tap2?|phy|file):")
# What dom0 uses by itself; any other script is the operator's choice.
_SCRIPTS = ("", "block", "block-tap", "vif-bridge")


@dataclass(frozen=True)
class Served:
    """What serves a disk: target in dom0, None if it cannot be said; words: why, or what else."""

    target: str | None
    format: str = "raw"
    words: str = ""


def vdev(backend: BlockBackend) -> str:
    """The disk's name in dom0's configuration, "" where it is none of a whole disk."""
    name = vdev_of(backend.number)
    return "" if name[-1:].isdigit() else name


def join(disks: Sequence[Disk], backends: Sequence[BlockBackend]) -> Mapping[str, BlockBackend]:
    """The backend of each of the guest's disks, by the disk's name, as far as it is certain.

    Linux' frontend calls hda and xvda both xvda. Other names (sda ...) are of emulated controllers,
    which count what they have: they follow in order, if there are as many on both sides and all on
    one controller. So do xvd names that are off by some letters (Red Hat 6).
    """
    left = sorted(
        (one for one in backends if vdev(one) and one.device_type != "cdrom"),
        key=lambda one: _place(vdev(one)),
    )
    found: dict[str, BlockBackend] = {}
    for disk in disks:
        for name in (disk.name, disk.name.replace("xvd", "hd"), disk.name.replace("xvd", "sd")):
            match = next((one for one in left if vdev(one) == name), None)
            if match and disk.name.startswith(("xvd", "hd")):
                found[disk.name] = match
                left.remove(match)
                break
    rest = [disk for disk in disks if disk.name not in found]
    if not any(disk.name.startswith("xvd") for disk in rest):
        left = [one for one in left if emulated(vdev(one))]
    scsi = {vdev(one).startswith("sd") for one in left}
    if len(rest) == len(left) and len(scsi) == 1:
        found.update((disk.name, one) for disk, one in zip(rest, left))
    sizes = {disk.name: disk.size for disk in disks}
    return {name: one for name, one in found.items() if _same(sizes[name], one.size)}


def emulated(name: str) -> bool:
    """Whether an HVM domain has an emulated disk for this vdev: IDE has room for four."""
    return name.startswith("sd") or re.fullmatch("(xvd|hd)[a-d]", name) is not None


def _place(name: str) -> tuple[int, str, str]:
    """Sort key: xvdz comes before xvdaa, whatever the kind."""
    letters = re.sub("^(xvd|hd|sd)", "", name)
    return len(letters), letters, name


def _same(size: int, other: int) -> bool:
    return not size or not other or size == other


def served(backend: BlockBackend) -> Served:
    """What the disk is in dom0."""
    said = " ".join(word for word in (backend.type, backend.params) if word)
    script = backend.script.rpartition("/")[2]
    if script not in _SCRIPTS:
        return Served(None, words=f"dom0 attaches it by the script {script}, as {said}")
    params = _DRIVERS.sub("", backend.params)
    kind, colon, path = params.partition(":")
    if not colon or kind not in _FORMATS:
        kind, path = "raw", params
    if backend.type == "phy" and path and not path.startswith("/"):
        path = f"/dev/{path}"  # as xend and libxl take it
    if not path:
        return Served(None, words="xenstore does not tell the guest what it is in dom0")
    plain = model.is_plain_path(path) and quote.fits(path)
    if not plain or backend.type not in ("phy", "file", "tap", "qdisk", ""):
        return Served(None, words=f"in xenstore it is {said}")
    return Served(path, _FORMATS[kind], _abroad(backend.backend))


def rate(backend: NetBackend) -> str:
    """The limit in the words of xl, "" for none; xenstore has `BYTES,MICROSECONDS`."""
    found = re.fullmatch(r"([1-9][0-9]{0,18}),([1-9][0-9]{0,9})", backend.rate)
    if not found:
        return ""
    size, interval = int(found.group(1)), int(found.group(2))
    per_second = -(-size * 1000000 // interval)
    # Xen's default for no limit is 2**32 - 1 bytes; more than xl can read is none either.
    return f"{per_second}B/s@{interval}us" if per_second < 2**32 else ""


def bridge(backend: NetBackend) -> str:
    """Its bridge, "" where that is not known or cannot be."""
    return backend.bridge if model.is_bridge(backend.bridge) else ""


def wiring(backend: NetBackend) -> Iterator[str]:
    """What a configuration made by pvprep does not say of an interface, but dom0's does."""
    script = backend.script.rpartition("/")[2]
    if script not in _SCRIPTS:
        yield f"dom0 sets it up by the script {script}"
    if backend.bridge != bridge(backend):
        yield f"in xenstore its bridge is {backend.bridge}"
    if _abroad(backend.backend):
        yield _abroad(backend.backend)


def _abroad(path: str) -> str:
    """Words on a backend that is not in dom0."""
    found = re.match(r"/local/domain/([0-9]+)/", path)
    if not found or found.group(1) == "0":
        return ""
    return f"served by the domain {found.group(1)}, not by dom0: add backend="
