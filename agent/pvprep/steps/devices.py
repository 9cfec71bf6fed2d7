"""The names of disks: fstab and every other file that names them.

Emulated disks are called sda, hda, vda or nvme0n1; under PV the first is xvda (hda with XenLinux
kernels), the second xvdb, in guest order. The map is made once and used for every file and for the
`disk` line of the domU config, so they cannot disagree. UUID=, LABEL= and LVM names are right
everywhere and stay. Names that describe the emulated hardware (by-id, by-path) go too. Files where
a device name may mean many things are reported with file and line, not rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..context import Context
from ..draft import Draft
from ..editors import crypttab, fields, fstab, kernelargs, shellvars, tokens, units
from ..editors.edited import Edit, Edited
from ..findings import Level
from .step import Step

NAME = "devices"
FSTAB = "/etc/fstab"
CRYPTTAB = "/etc/crypttab"
RESUME = ("/etc/initramfs-tools/initramfs.conf", "/etc/initramfs-tools/conf.d/*")
UNITS = "/etc/systemd/system/"
WHOLE_TOKENS = (
    "/etc/mdadm/mdadm.conf",
    "/etc/mdadm.conf",
    "/boot/grub/device.map",
    "/etc/uswsusp.conf",
)
LVM = ("/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf")
KERNEL_CMDLINE = "/etc/kernel/cmdline"
# Also where EL 4 and 5 have them.
CACHES = (
    "/etc/blkid.tab",
    "/etc/blkid/blkid.tab",
    "/etc/lvm/cache/.cache",
    "/etc/lvm/.cache",
)
REVIEW = (
    "/etc/smartd.conf",
    "/etc/hdparm.conf",
    "/etc/multipath.conf",
    "/etc/auto.*",
    "/etc/default/kdump-tools",
    "/etc/default/smartmontools",
    "/etc/lvm/devices/system.devices",
    "/etc/rc.local",
    "/etc/crontab",
    "/etc/cron.d/*",
    "/etc/X11/xorg.conf",
    "/etc/kdump.conf",
    "/etc/lilo.conf",
    "/etc/raidtab",
    "/etc/raw",
    "/etc/sysconfig/rawdevices",
)
DEBCONF = "/var/cache/debconf/config.dat"


def plan(context: Context, draft: Draft) -> None:
    """Rename devices wherever they are named."""
    _tables(context, draft)
    for path in _paths(draft, "/etc/initramfs-tools/"):
        edited = shellvars.edit(draft.text(path), "RESUME", lambda v: context.translate(v) or v)
        draft.edit(NAME, path, edited)
    _units(context, draft)
    for path in WHOLE_TOKENS:
        draft.edit(NAME, path, tokens.rename_devices(draft.text(path), context.devices.translate))
    for path in LVM:
        renamed = {
            disk: vdev for disk, vdev in context.devices.vdevs.items() if disk != vdev
        }
        draft.edit(NAME, path, tokens.rename_prefixes(draft.text(path), renamed))
    if draft.file(KERNEL_CMDLINE):
        text = draft.text(KERNEL_CMDLINE)
        new, pairs = kernelargs.edit(text, translate=context.translate)
        draft.edit(NAME, KERNEL_CMDLINE, Edited(new, tuple(Edit(1, *pair) for pair in pairs)))
    for path in CACHES:
        if draft.file(path):
            draft.remove(NAME, path, "removed: a cache of the old names, made anew by itself")
    _review(context, draft)


def _tables(context: Context, draft: Draft) -> None:
    for path, editor in ((FSTAB, fstab.rename_devices), (CRYPTTAB, crypttab.rename_devices)):
        draft.edit(NAME, path, editor(draft.text(path), context.translate))
        device = 0 if path == FSTAB else 1
        for line, entry in fields.entries(draft.text(path)):
            name = entry[device] if len(entry) > device else ""
            if context.devices.unknown(name) and not (path == FSTAB and fstab.is_cd(entry)):
                draft.say(
                    "devices.unknown",
                    Level.WARN,
                    f"{name} is no disk that this guest has; it is left as it is",
                    where=f"{path}:{line}",
                    remedy="remove the line, or name the device by UUID=",
                )


def _units(context: Context, draft: Draft) -> None:
    """Swap and mount units; a swap unit is named after its device (systemd.swap(5))."""
    for path in _paths(draft, UNITS):
        if not path.endswith((".swap", ".mount")):
            continue
        edited = tokens.rename_devices(draft.text(path), context.translate)
        name = path.rsplit("/", 1)[1]
        wanted = units.rename(name, context.translate) if path.endswith(".swap") else None
        if wanted is None:
            draft.edit(NAME, path, edited)
            continue
        draft.create(NAME, UNITS + wanted, edited.text, f"replaces {name}")
        draft.remove(NAME, path, f"removed: {wanted} replaces it")
        for link in draft.facts.under(UNITS):
            if link.endswith((f".wants/{name}", f".requires/{name}")):
                draft.remove(NAME, link, f"removed: {wanted} replaces it")
                new = f"{link.rsplit('/', 1)[0]}/{wanted}"
                if not draft.file(new):
                    draft.link(NAME, new, f"../{wanted}", "as before")


def _review(context: Context, draft: Draft) -> None:
    renamed = [disk for disk, vdev in context.devices.vdevs.items() if disk != vdev]
    for path in _review_paths(draft):
        for line, name in tokens.mentions(draft.text(path), renamed):
            draft.say(
                "devices.review",
                Level.WARN,
                f"names a disk of the HVM guest: {name}",
                where=f"{path}:{line}",
                remedy="change it by hand if the program needs the disk under PV",
            )
    found = re.search(
        r"^Name: grub-pc/install_devices\n(?:[^\n]+\n)*?Value: (\S[^\n]*)",
        draft.text(DEBCONF),
        re.M,
    )
    gone = [
        name
        for name in (found.group(1).split(", ") if found else ())
        if context.devices.translate(name) not in (None, name)
    ]
    if gone:
        draft.say(
            "devices.grub-install",
            Level.WARN,
            f"an upgrade of grub-pc would install to {', '.join(gone)}, which a PV guest lacks",
            evidence="debconf: grub-pc/install_devices",
            remedy="under PV: dpkg-reconfigure grub-pc (pygrub does not use what it installs)",
        )


def _paths(draft: Draft, prefix: str) -> Iterator[str]:
    """Regular files (not links to others) below a directory."""
    for path in draft.facts.under(prefix):
        entry = draft.facts.files[path]
        if not entry.is_dir and entry.target is None:
            yield path


def _review_paths(draft: Draft) -> Iterator[str]:
    for pattern in REVIEW:
        prefix = pattern.rstrip("*")
        for path in draft.facts.under(prefix):
            if (path == pattern or pattern.endswith("*")) and not draft.facts.files[path].is_dir:
                yield path


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(
        FSTAB,
        CRYPTTAB,
        *RESUME,
        f"{UNITS}*.swap",
        f"{UNITS}*.mount",
        f"{UNITS}*.wants/*.swap",
        f"{UNITS}*.requires/*.swap",
        *WHOLE_TOKENS,
        *LVM,
        KERNEL_CMDLINE,
        *CACHES,
        *REVIEW,
        DEBCONF,
    ),
    topics={
        "devices.unknown": (
            "A table names a disk that the guest does not have now. It may be a disk that was "
            "removed; pvprep does not guess a new name for it."
        ),
        "devices.review": (
            "A file with a format of its own names a disk that is called otherwise under PV. "
            "What it means there (SMART, spindown times ...) often makes no sense for a virtual "
            "disk, so a person decides."
        ),
        "devices.grub-install": (
            "Debian's grub-pc remembers the disk to install GRUB to. Under PV that name is gone "
            "and an upgrade of grub-pc asks, or fails when it cannot ask."
        ),
    },
)
