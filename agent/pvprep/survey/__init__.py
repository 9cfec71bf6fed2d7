"""Survey: reads a guest and gives Facts; decides nothing and changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from .. import initrds, packages
from ..editors import fstab
from ..facts import Disk, Facts, File, Mount
from ..guest import Guest
from . import byid, hidden, kernels, network, storage, system, xenstore
from . import files as configuration


def take(guest: Guest, patterns: Iterable[str], every_initrd: bool = False) -> Facts:
    """Survey a guest. patterns: which configuration files the steps want to see; every_initrd: see
    kernels.kernels()."""
    found = configuration.files(guest, patterns)
    disks, mounts = _storage(guest, found)
    installed, proofs = kernels.kernels(guest, every_initrd)
    distribution = system.distro(guest)
    initrd_tool = initrds.detect(guest)
    in_chroot = guest.running and system.in_chroot()
    ready = any(one.proof.pv for one in installed)
    return Facts(
        distro=distribution,
        machine=system.machine(guest),
        disks=disks,
        mounts=mounts,
        nics=network.nics(guest) or network.nics_named(found),
        kernels=installed,
        initrds=proofs,
        files=found,
        boot_files=configuration.boot_files(guest),
        spaces=storage.spaces(guest),
        aliases=(
            storage.aliases(guest) if guest.running else byid.aliases(_texts(found), disks)
        ),
        stale=hidden.configurations(guest, mounts),
        findings=(*packages.check(guest, distribution.family), *kernels.elsewhere(guest)),
        initrd_tool=initrd_tool,
        initrd_options=initrds.options(guest, initrd_tool),
        is_tree=not guest.running,
        in_chroot=in_chroot,
        as_root=os.geteuid() == 0,
        system=system.kernel_name(),
        has_proc=not guest.running or guest.exists("/proc/self/mountinfo"),
        has_sys=not guest.running or guest.exists("/sys/class"),
        xenstore=xenstore.xenstore(guest),
        # Asked where it is likely, or a kernel has to come anyway and grub-mkconfig will run.
        grub_blind="" if ready and not in_chroot else storage.grub_blind(guest),
    )


def take_files(guest: Guest, facts: Facts, patterns: Iterable[str]) -> Facts:
    """The same facts with the configuration files as they are now."""
    return replace(facts, files=configuration.files(guest, patterns))


def _storage(
    guest: Guest, found: Mapping[str, File]
) -> tuple[tuple[Disk, ...], tuple[Mount, ...]]:
    """From the kernel, from the attached image, or as far as a tree's own files tell."""
    devices = storage.block_devices(guest)
    texts = _texts(found)
    known = storage.disks(guest, devices) or storage.disks_named(texts) or byid.disks(texts)
    if guest.layout:
        layout = storage.named(guest.layout, known)
        return layout.disks, layout.mounts
    return known, storage.mounts(guest, devices) if guest.running else _fstab_mounts(found)


def _texts(found: Mapping[str, File]) -> dict[str, str]:
    return {path: entry.text for path, entry in found.items() if not entry.is_dir}


def _fstab_mounts(found: Mapping[str, File]) -> tuple[Mount, ...]:
    """For a tree that does not run: what its fstab would mount."""
    entry = found.get("/etc/fstab")
    mounts = []
    for _, fields in fstab.entries(entry.text if entry else ""):
        if len(fields) < 4 or not fields[1].startswith("/"):
            continue
        named = storage.NAMED.fullmatch(fields[0])
        parts = (fields[0][len("/dev/") :],) if named else ()
        device, target, fstype, options = fields[:4]
        mounts.append(
            Mount(target, device, fstype, tuple(options.split(",")), _kind(device), parts)
        )
    return tuple(mounts)


def _kind(device: str) -> str:
    """What a name in fstab is sure not to be: a partition that a boot loader in dom0 can read."""
    if re.match(r"/dev/md\d|/dev/md/", device):
        return "raid"
    return "lvm" if re.match(r"/dev/(mapper|(?!disk/|cciss/|ida/|rd/)[^/]+)/", device) else "part"

