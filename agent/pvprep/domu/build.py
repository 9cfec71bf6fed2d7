"""From facts and options to the domU: what the guest knows, and what only dom0 can fill in."""

from __future__ import annotations

from ..context import Context
from ..pygrub import Pick
from .model import Boot, DomU, Vbd, Vif, safe_name


def from_context(context: Context, pick: Pick | None) -> DomU:
    """The domU for the guest as it is, or will be; pick: what pygrub takes, for a direct boot."""
    options, machine = context.options, context.facts.machine
    shim = context.target is not None and context.target.proof.bits == 32
    return DomU(
        name=options.name or safe_name(machine.hostname),
        uuid=machine.uuid,
        type="pvh" if shim else options.type,
        memory_mib=options.memory_mib or machine.memory_mib,
        maxmem_mib=options.maxmem_mib,
        vcpus=options.vcpus or machine.vcpus,
        vifs=_vifs(context),
        disks=_disks(context),
        boot=_boot(context, pick),
        pvshim=shim,
        source=_source(context),
        notes=_notes(context, pick),
    )


def _vifs(context: Context) -> tuple[Vif, ...]:
    options = context.options
    if options.macs:
        return tuple(Vif(mac, options.bridge) for mac in options.macs)
    return tuple(
        Vif(nic.mac, options.bridge, f"{nic.name} in the guest" if nic.name else "")
        for nic in context.facts.nics
        if nic.mac
    )


def _disks(context: Context) -> tuple[Vbd, ...]:
    backends = context.options.disk_backends
    return tuple(
        Vbd(
            vdev,
            target=backends.get(vdev, backends.get(disk.name)),
            size=disk.size,
            guest_name=disk.name if disk.name != vdev else "",
        )
        for disk, vdev in (
            (disk, context.devices.vdevs[disk.name])
            for disk in context.facts.disks
            if disk.name in context.devices.vdevs
        )
    ) or (Vbd("xvda", target=backends.get("xvda"), comment="the guest's configuration names none"),)


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
    return f"{facts.distro.name or 'a guest'}, {where}"


def _notes(context: Context, pick: Pick | None) -> tuple[str, ...]:
    notes = []
    if pick and context.options.bootloader == "pygrub":
        notes.append(f"pygrub takes {pick.kernel}, {pick.initrd}, {pick.args}")
    target = context.target
    if target and target.proof.compression in ("lz4", "zstd"):
        since = {"lz4": "4.4", "zstd": "4.15"}[target.proof.compression]
        notes.append(f"the kernel is packed with {target.proof.compression}: Xen {since} or later")
    if target and target.proof.pvh and context.options.type == "pv":
        notes.append('the kernel boots PVH too: type = "pvh", the better choice since Xen 4.10')
    return tuple(notes)
