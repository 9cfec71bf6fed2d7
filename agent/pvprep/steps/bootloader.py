"""The boot loader's configuration, as dom0's pygrub will read it.

pygrub runs in dom0, reads grub.cfg (or menu.lst, grub.conf) from the guest's disk, and understands
only part of it; of Boot Loader Specification entries, which Fedora and EL 8 and later use, nothing.
The entry it takes has to be the PV kernel, with root= under its PV name and console=hvc0 last, so
that the login is on `xl console` (tty0 stays, for HVM). The generated file is edited, and what it
is generated from (/etc/default/grub, scripts in /etc/grub.d, menu.lst's magic comments) as well, so
that the next update-grub or grub2-mkconfig keeps it; with BLS a plugin of kernel-install has that
run for every new kernel. Entries of other kernels stay as they are. The MBR is not touched: pygrub
ignores it, and the way back to HVM needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..changes import InstallPackages
from ..context import Context
from ..draft import Draft
from ..editors import kernelargs
from ..findings import Level
from ..predict import READS, guest_path, predict
from ..pygrub import Pick, Refusal
from . import bootloader_bls as bls
from . import bootloader_grub2 as grub2
from . import bootloader_legacy as legacy
from .bootloader_entry import GRUB_CFG, MENU_LST, first_of
from .step import Step

NAME = "bootloader"


def plan(context: Context, draft: Draft) -> None:
    """Edit the settings, then the generated file, until pygrub would take the right entry."""
    old = first_of(draft, MENU_LST)
    installing = any(isinstance(change, InstallPackages) for change in draft.changes())
    target = None if installing else context.target
    if target and old:
        legacy.drop_stale_grub2(NAME, draft, old, target)
    given = bls.entry_arguments(draft, target) if bls.in_use(draft) else None
    if draft.file(bls.DEFAULTS) or given is not None:
        grub2.settings(NAME, context, draft, given)
    if given is not None:
        bls.keep_in_step(NAME, context, draft, target)
    if target is None:
        _menu_by_package(context, draft)
        return
    menu = first_of(draft, GRUB_CFG)
    if given is not None:
        menu = menu or grub2.make_menu(NAME, draft, GRUB_CFG[1])
    elif draft.placed and not menu and not old and isinstance(predict(draft), Refusal):
        # Nobody generates a menu for a kernel from outside.
        debian = context.facts.distro.family == "debian"
        menu = grub2.make_menu(NAME, draft, GRUB_CFG[0] if debian else GRUB_CFG[1])
    if menu:
        grub2.edit_menu(NAME, context, draft, target, menu, given)
    if menu == GRUB_CFG[1] and context.options.bootloader == "pvgrub":
        draft.link(NAME, GRUB_CFG[0], "../grub2/grub.cfg", "pvgrub looks there, not in grub2")
    if not (menu or old):
        old = legacy.make_menu(NAME, context, draft, target)
    if old:
        legacy.edit_menu(NAME, context, draft, target, old)
    judge(context, draft)


def _menu_by_package(context: Context, draft: Draft) -> None:
    """The kernel's package generates the menu, by what was just configured, if it can."""
    if context.facts.grub_blind:
        draft.say(
            "bootloader.no-device",
            Level.ERROR,
            "GRUB cannot tell which disk / is on: installing a kernel would fail",
            evidence=context.facts.grub_blind,
            remedy="in a chroot, mount /dev, /proc and /sys and the root itself as the installer "
            "does (mount --bind /dev ROOT/dev); or run pvprep from outside with --root",
        )


def judge(context: Context, draft: Draft) -> None:
    """Say what dom0 will take of the draft; an error where it is not what it should be."""
    found = predict(draft)
    needs_pygrub = context.options.bootloader == "pygrub"
    level = Level.ERROR if needs_pygrub else Level.INFO
    if isinstance(found, Refusal):
        draft.say(
            "bootloader.pygrub-refuses",
            level,
            f"pygrub would find nothing to boot: {found.reason}",
            evidence=found.message,
            where=found.where,
            remedy="mend what is named, or have the config boot otherwise: --bootloader pvgrub, or "
            "--bootloader direct with the kernel copied to dom0",
        )
        return
    for id, problem in wrong(context, draft, found):
        draft.say(id, level, problem, where=found.config, evidence=found.title)
    if found.needs_quiet and needs_pygrub:
        draft.say("bootloader.needs-quiet", Level.WARN, found.needs_quiet, where=found.config)
    unknown = [miss.volume for miss in found.misses if not miss.known]
    if unknown:
        draft.say(
            "bootloader.unread-volume",
            Level.WARN,
            f"pygrub looks into {', '.join(unknown)} first, which is not mounted here",
            remedy="mount it and see that it has neither /boot/grub nor /grub",
        )


def wrong(context: Context, draft: Draft, pick: Pick) -> Sequence[tuple[str, str]]:
    """In what a pick is not the PV boot that it should be; empty where it is."""
    found = []
    target = context.target
    if target is None or guest_path(context.facts, pick, pick.kernel) != target.image:
        name = target.image if target else "a PV kernel"
        found.append(
            ("bootloader.wrong-kernel", f"pygrub would take {pick.kernel}, not {name}")
        )
    if not pick.initrd:
        found.append(("bootloader.no-initrd", f"the entry of {pick.kernel} has no initrd"))
    args = kernelargs.tokens(pick.args)
    root = kernelargs.value(pick.args, "root")
    if not root:
        found.append(("bootloader.no-root", "the entry's arguments do not say which root to mount"))
    elif context.devices.translate(root) not in (None, root):
        found.append(("bootloader.old-root", f"root={root} is the HVM guest's name of the disk"))
    elif context.devices.unknown(root):
        found.append(("bootloader.wrong-root", f"root={root} is no disk that this guest has"))
    else:
        problem = _other_root(context, root)
        if problem:
            found.append(("bootloader.wrong-root", problem))
    consoles = [arg for arg in args if arg.startswith("console=")]
    if not consoles or consoles[-1].split(",")[0] != f"console={context.console}":
        problem = f"console={context.console} is not the last console"
        found.append(("bootloader.no-console", problem))
    return found


def _other_root(context: Context, root: str) -> str:
    """Whether root=UUID=... names another file system than the one that / is on."""
    mount = context.facts.mount("/")
    if not root.startswith("UUID=") or mount is None or len(mount.parts) != 1:
        return ""
    uuid = context.devices.uuids.get(mount.parts[0])
    if mount.kind not in ("part", "disk") or not uuid or uuid == root[5:]:
        return ""
    return f"root={root}, but / is on the file system with UUID={uuid}"


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(
        *READS,
        bls.DEFAULTS,
        f"{grub2.DROP_INS}*.cfg",
        grub2.OWN_SCRIPT,
        grub2.TIMEOUT_SCRIPT,
        f"{bls.ENTRIES}*.conf",
        bls.GRUBENV,
        bls.CMDLINE,
        bls.PLUGIN,
        legacy.SYSCONFIG,
        legacy.LILO,
    ),
    topics={
        "bootloader.pygrub-refuses": (
            "pygrub in dom0 would end with an error instead of a kernel. It reads grub.cfg, "
            "menu.lst, grub.conf and extlinux.conf, from MBR primary partitions, GPT partitions or "
            "a whole disk, on ext2/3/4, XFS v4, FAT and few others; no LVM, RAID, LUKS or btrfs."
        ),
        "bootloader.wrong-kernel": "The entry that pygrub takes is not the kernel that boots PV.",
        "bootloader.no-initrd": "Without an initrd nobody loads the frontends, which are modules.",
        "bootloader.no-device": (
            "A kernel package runs update-grub, which asks grub-probe for the disk that / is on. "
            "In a chroot without /dev, or on an overlay, there is no answer, and the installation "
            "would fail half way. With --root nothing is asked: pvprep writes the entry itself."
        ),
        "bootloader.no-root": "The kernel would not know which file system is its root.",
        "bootloader.old-root": "root= names the disk as the emulated hardware called it.",
        "bootloader.wrong-root": "root= names another file system than the one that is / now.",
        "bootloader.no-console": "`xl console` would show nothing: the kernel writes elsewhere.",
        "bootloader.needs-quiet": (
            "pygrub fails where it shows its menu, which is what xl makes it do. Give the timeout "
            "in grub.cfg (GRUB_TIMEOUT) as a number."
        ),
        "bootloader.unread-volume": (
            "pygrub goes through the partitions in order and takes the first configuration with "
            "an entry. One of them comes before the guest's own and could not be looked into."
        ),
        "bootloader.settings": (
            "A value in /etc/default/grub is made by a command or runs over several lines. It is "
            "left alone; the next update-grub may lose the console or the root."
        ),
    },
)
