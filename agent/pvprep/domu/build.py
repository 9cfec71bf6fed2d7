"""From facts and options to the domU: what the guest and xenstore know, and what only dom0 does."""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..devicenames import vdev_names
from ..facts import BlockBackend, Disk, Nic, Xenstore
from ..pygrub import Pick
from ..steps.kernel import SINCE
from . import backends
from .model import Boot, DomU, Vbd, Vif, safe_name
from .releases import knows

# The drivers of the network cards that Xen can emulate, and what xl calls the cards.
MODELS = {"e1000": "e1000", "8139cp": "rtl8139", "8139too": "rtl8139"}


def from_context(context: Context, pick: Pick | None) -> DomU:
    """The domU for the guest as it is, or will be; pick: what pygrub takes, for a direct boot."""
    options, machine = context.options, context.facts.machine
    store = context.facts.xenstore or Xenstore()
    hvm, shim = options.type == "hvm", _shim(context)
    return DomU(
        name=options.name or safe_name(store.name or machine.hostname),
        uuid=store.uuid or machine.uuid,
        type="pvh" if shim else options.type,
        memory_mib=options.memory_mib or store.memory_mib or machine.memory_mib,
        maxmem_mib=options.maxmem_mib or (None if options.memory_mib else store.maxmem_mib),
        vcpus=options.vcpus or store.vcpus or machine.vcpus,
        vifs=tuple(_vifs(context)),
        disks=tuple(_hvm_disks(context) if hvm else _disks(context)),
        boot=Boot("firmware") if hvm else _boot(context, pick),
        pvshim=shim,
        uefi=hvm and machine.firmware == "uefi",
        source=_source(context),
        notes=tuple(_notes(context, pick)),
    )


def _shim(context: Context) -> bool:
    """Whether the kernel needs PV inside PVH: 32-bit PV left the hypervisor in 4.16."""
    options, target = context.options, context.target
    if options.type in ("hvm", "pvshim"):
        return options.type == "pvshim"
    if target is None or target.proof.bits != 32 or options.form == "xm":
        return False
    return knows(options.xen, "no 32-bit PV")


def _vifs(context: Context) -> Iterator[Vif]:
    """The guest's interfaces in its order, then those that xenstore alone knows."""
    options = context.options
    store = context.facts.xenstore or Xenstore()
    known = {one.mac: one for one in store.nics}
    nics = {nic.mac: nic for nic in context.facts.nics if nic.mac}
    for mac in options.macs or dict.fromkeys([*nics, *filter(None, known)]):
        nic, backend = nics.get(mac, Nic("", mac)), known.get(mac)
        words = [f"{nic.name} in the guest"] if nic.name else []
        words += backends.wiring(backend) if backend else []
        yield Vif(
            mac,
            options.bridge or (backends.bridge(backend) if backend else ""),
            ", ".join(words),
            rate=backends.rate(backend) if backend else "",
            model=MODELS.get(nic.driver, "") if options.type == "hvm" else "",
        )


def _disks(context: Context) -> list[Vbd]:
    """As PV: every disk under the name that the guest's configuration has for it."""
    store = context.facts.xenstore or Xenstore()
    vdevs = context.devices.vdevs
    disks = [disk for disk in context.facts.disks if disk.name in vdevs]
    found = backends.join(disks, store.disks)
    made = [_vbd(context, vdevs[disk.name], disk, found.get(disk.name)) for disk in disks]
    taken = {disk.letters for disk in made}
    if len(found) == len(disks):  # else it is not certain which the others are either
        rest = [one for one in store.disks if one not in found.values()]
        for backend in rest:
            if backends.vdev(backend) and backends.served(backend).target:
                made.append(_unseen(backend, _free(backends.vdev(backend), taken)))
                taken.add(made[-1].letters)
    target = context.options.disk_backends.get("xvda")
    return made or [Vbd("xvda", target=target, comment="the guest's configuration names none")]


def _unseen(backend: BlockBackend, vdev: str) -> Vbd:
    """What the HVM domain has besides: a CD, or a disk that it has no emulated one for."""
    here = backends.served(backend)
    what = "a CD" if backend.device_type == "cdrom" else "a disk that the guest did not see"
    words = f"{what}, {backends.vdev(backend)} of the HVM domain"
    return Vbd(vdev, here.target, here.format, _access(backend), comment=words)


def _free(name: str, taken: set[str]) -> str:
    """The vdev for a device that is `name` now: of the same letters, if no other has them."""
    letters = name[3:] if name.startswith("xvd") else name[2:]
    if letters not in taken:
        return f"xvd{letters}"
    return next(name for name in vdev_names("xvd") if name[3:] not in taken)


def _hvm_disks(context: Context) -> Iterator[Vbd]:
    """As HVM: every disk and drive as xenstore has it, else on the emulated IDE controller."""
    store = context.facts.xenstore or Xenstore()
    disks = [disk for disk in context.facts.disks if disk.name in context.devices.vdevs]
    found = backends.join(disks, store.disks)
    rest = [one for one in store.disks if one not in found.values() and backends.vdev(one)]
    taken = {*map(backends.vdev, store.disks)}
    free = (name for name in vdev_names("hd") if name not in taken)
    for disk in disks:
        backend = found.get(disk.name)
        vdev = backends.vdev(backend) if backend else next(free)
        if not backends.emulated(vdev):
            vdev = f"xvd{vdev[-1]}"
        yield _vbd(context, vdev, disk, backend)
    for backend in rest:
        if backend.device_type == "cdrom":
            medium = backends.served(backend).target or ""
            yield Vbd(
                backends.vdev(backend), medium, access="r", comment="a CD-ROM drive", cdrom=True
            )
        elif len(found) == len(disks) and backends.served(backend).target:
            yield _unseen(backend, backends.vdev(backend))


def _vbd(context: Context, vdev: str, disk: Disk, backend: BlockBackend | None) -> Vbd:
    target = context.devices.given(disk.name, context.options.disk_backends)
    here = backends.Served(disk.image or None, disk.format)
    if backend:
        here = backends.served(backend)
    if target is not None:
        here = backends.Served(target)
    return Vbd(
        vdev,
        target=here.target,
        format=here.format,
        access=_access(backend) if backend else "rw",
        size=disk.size,
        guest_name=disk.name if disk.name != vdev else "",
        comment=here.words,
    )


def _access(backend: BlockBackend) -> str:
    return "rw" if backend.mode in ("", "w", "w!") and backend.device_type != "cdrom" else "r"


def _boot(context: Context, pick: Pick | None) -> Boot:
    method = context.options.bootloader
    if method != "direct":
        return Boot(method)
    target = context.target
    return Boot(
        method,
        cmdline=pick.args if pick else "",
        guest_kernel=target.image if target else "",
        guest_ramdisk=target.initrd if target else "",
    )


def _source(context: Context) -> str:
    facts = context.facts
    where = "a tree that does not run" if facts.is_tree else "the guest as it ran"
    if any(disk.image for disk in facts.disks):
        where = "its disks while it was off"
    if facts.xenstore and not facts.xenstore.problem:
        where += ", what dom0 wrote into xenstore"
    return f"{facts.distro.name or 'a guest'}, {where}"


def _notes(context: Context, pick: Pick | None) -> Iterator[str]:
    options, store, target = context.options, context.facts.xenstore or Xenstore(), context.target
    if store.problem:
        yield f"xenstore could not be asked: {store.problem}"
    if store.name and not options.name and store.name != safe_name(store.name):
        yield f"in dom0 it is called {store.name}, which pvprep writes in no configuration"
    if options.type == "hvm":
        return
    if target and target.proof.pvh and options.type == "pv" and knows(options.xen, "pvh"):
        yield 'the kernel boots PVH too: type = "pvh", the better choice since Xen 4.10'
    if pick and options.bootloader == "pygrub":
        yield f"pygrub takes {pick.kernel}, {pick.initrd}, {pick.args}"
    if target and target.proof.compression in ("lz4", "zstd"):
        packed = target.proof.compression
        yield f"the kernel is packed with {packed}: Xen {SINCE[packed]} or later"
    for drive in store.disks:
        if drive.device_type == "cdrom" and not backends.served(drive).target:
            yield f"{backends.vdev(drive)}, a CD-ROM drive without a medium, is left out"
