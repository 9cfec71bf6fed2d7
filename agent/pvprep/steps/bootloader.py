"""The boot loader's configuration, as dom0's pygrub will read it.

pygrub runs in dom0, reads grub.cfg (or menu.lst) from the guest's disk, and understands only part
of it. The entry it takes has to be the PV kernel, with root= under its PV name and console=hvc0
last, so that the login is on `xl console` (tty0 stays, for HVM). The generated file is edited, and
the settings from which it is generated (/etc/default/grub, or menu.lst's magic comments) as well,
so that the next update-grub keeps it. Entries of other kernels stay as they are. The MBR is not
touched: pygrub ignores it, and the way back to HVM needs it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..changes import InstallPackages
from ..context import Context
from ..draft import Draft
from ..editors import grubcfg, kernelargs, menulst, shellvars
from ..facts import Kernel
from ..findings import Level
from ..predict import READS, guest_path, predict
from ..pygrub import Pick, Refusal
from .step import Step

NAME = "bootloader"
GRUB_CFG = "/boot/grub/grub.cfg"
MENU_LST = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
DEFAULTS = "/etc/default/grub"
DROP_INS = "/etc/default/grub.d/"
OWN_SCRIPT = "/etc/grub.d/09_pvprep"
ALL_KERNELS, NORMAL_BOOT = "GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"
# Arguments that make sense for emulated hardware only, and harm under PV.
CLOCKS = ("tsc", "acpi_pm", "kvm-clock", "hpet", "pit")
OWN_SCRIPT_TEXT = """\
#!/bin/sh
# Made by pvprep: puts the newest kernel that can boot PV first, because pygrub takes the first
# entry. It repeats what 10_linux wrote for that kernel.
set -e
. "$pkgdatadir/grub-mkconfig_lib"
for image in $(ls /boot/vmlinuz-* | version_sort -r); do
    version=${image#/boot/vmlinuz-}
    grep -qs '^CONFIG_XEN_PV=y' "/boot/config-$version" || continue
    root=${GRUB_DEVICE_UUID:+UUID=$GRUB_DEVICE_UUID}
    [ "$GRUB_DISABLE_LINUX_UUID" = true ] && root=$GRUB_DEVICE
    dir=$(make_system_path_relative_to_its_root /boot)
    echo "menuentry 'Linux $version (Xen PV)' --class gnu-linux {"
    prepare_grub_to_access_device "$GRUB_DEVICE_BOOT" | sed 's/^/\t/'
    echo "	linux $dir/vmlinuz-$version root=${root:-$GRUB_DEVICE} ro $GRUB_CMDLINE_LINUX" \\
        "$GRUB_CMDLINE_LINUX_DEFAULT"
    [ ! -e "/boot/initrd.img-$version" ] || echo "	initrd $dir/initrd.img-$version"
    echo "}"
    break
done
"""


def plan(context: Context, draft: Draft) -> None:
    """Edit the settings, then the generated file, until pygrub would take the right entry."""
    legacy = next((path for path in MENU_LST if draft.file(path)), "")
    installing = any(isinstance(change, InstallPackages) for change in draft.changes())
    target = None if installing else context.target
    if target and legacy:
        _drop_stale_grub2(draft, legacy, target)
    if draft.file(DEFAULTS):
        _settings(context, draft)
    if target is None:
        _menu_by_package(context, draft)
        return
    if draft.file(GRUB_CFG):
        _grub2(context, draft, target)
    if legacy:
        _legacy(context, draft, target, legacy)
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


def _settings(context: Context, draft: Draft) -> None:
    """What grub-mkconfig generates from."""
    files = [DEFAULTS, *(path for path in draft.facts.under(DROP_INS) if path.endswith(".cfg"))]
    holder = DEFAULTS  # the last file that sets the arguments of all kernels
    for path in files:
        if shellvars.get(draft.text(path), ALL_KERNELS) is not None:
            holder = path
    root = _renamed_root(context, draft)
    for path in files:
        for key in (ALL_KERNELS, NORMAL_BOOT):
            wanted: list[str] = []
            value = shellvars.get(draft.text(path), key)
            if key == ALL_KERNELS and path == holder:
                wanted = [f"root={root}"] if root else []
                wanted += ["console=tty0", f"console={context.console}"]
            elif value and any(arg.startswith("console=") for arg in kernelargs.tokens(value)):
                wanted = [f"console={context.console}"]  # it comes behind: hvc0 must stay the last
            _setting(context, draft, path, key, wanted)


def _setting(context: Context, draft: Draft, path: str, key: str, wanted: Sequence[str]) -> None:
    def change(value: str) -> str:
        return _arguments(context, value, wanted)[0]

    text = draft.text(path)
    if wanted and shellvars.get(text, key) is None:
        draft.edit(NAME, path, shellvars.append(text, key, change("")))
        return
    result = shellvars.edit(text, key, change)
    draft.edit(NAME, path, result)
    for line, there in result.leftover:
        draft.say(
            "bootloader.settings",
            Level.WARN,
            f"cannot be edited safely: {there.strip()}",
            where=f"{path}:{line}",
            remedy=f"see that {key} ends in {' '.join(wanted) or 'arguments fit for PV'}",
        )


def _renamed_root(context: Context, draft: Draft) -> str:
    """The root= that generated entries must end up with, where grub-mkconfig would write another.

    With GRUB_DISABLE_LINUX_UUID it writes the name that the disk has at that moment; of two root=
    the last one counts, for the kernel as for initrds.
    """
    roots = _roots(context, draft)
    return next((new for new in map(context.translate, roots) if new), "")


def _roots(context: Context, draft: Draft) -> list[str]:
    """What root= is in each entry; where no entry says it, what is mounted."""
    entries = [args for _, args in grubcfg.kernels(draft.text(GRUB_CFG))]
    entries += [args for path in MENU_LST for _, _, args in menulst.kernels(draft.text(path))]
    found = [kernelargs.value(args, "root") for args in entries]
    mount = context.facts.mount("/")
    return [root for root in found if root] or ([mount.device] if mount else [])


def _arguments(
    context: Context, args: str, wanted: Sequence[str]
) -> tuple[str, list[tuple[str, str]]]:
    return kernelargs.edit(args, translate=context.translate, remove=_harmful, last=wanted)


def _harmful(token: str) -> bool:
    key, _, value = token.partition("=")
    return key == "xen_emul_unplug" or (key == "clocksource" and value in CLOCKS)


def _grub2(context: Context, draft: Draft, target: Kernel) -> None:
    text = draft.text(GRUB_CFG)
    edited = grubcfg.edit(
        text,
        translate=context.translate,
        remove=_harmful,
        last=("console=tty0", f"console={context.console}"),
        only=lambda path: _is(path, target),
    )
    draft.edit(NAME, GRUB_CFG, edited)
    draft.write_late(GRUB_CFG)
    pick = predict(draft)
    if isinstance(pick, Pick) and _is(pick.kernel, target):
        return
    there = next((entry for entry in pick.entries if _is(entry.kernel, target)), None)
    if isinstance(pick, Refusal) and _named(draft, target):
        return  # what pygrub stumbles over is somewhere else
    if there is None:
        block = _new_entry(context, draft, target)
    elif there.initrd:
        block = _entry(target, there.kernel, there.args, there.initrd)
    else:
        return
    draft.create(NAME, OWN_SCRIPT, OWN_SCRIPT_TEXT, "keeps the PV kernel first", mode=0o755)
    text = draft.text(GRUB_CFG)
    draft.edit(NAME, GRUB_CFG, grubcfg.insert_section(text, OWN_SCRIPT, block))
    draft.edit(NAME, GRUB_CFG, grubcfg.set_default(draft.text(GRUB_CFG), 0))
    default = shellvars.get(draft.text(DEFAULTS), "GRUB_DEFAULT")
    if default not in (None, "0"):
        change = shellvars.edit(draft.text(DEFAULTS), "GRUB_DEFAULT", lambda _value: "0")
        draft.edit(NAME, DEFAULTS, change)


def _named(draft: Draft, kernel: Kernel) -> bool:
    """Whether an entry starts this kernel, in a menu that pygrub may not be able to read."""
    return any(_is(path, kernel) for path, _ in grubcfg.kernels(draft.text(GRUB_CFG)))


def _new_entry(context: Context, draft: Draft, target: Kernel) -> str:
    """An entry for a kernel that the menu does not have: in a tree nobody generates a new menu."""
    values = [shellvars.get(draft.text(DEFAULTS), key) or "" for key in (ALL_KERNELS, NORMAL_BOOT)]
    known = [arg for value in values for arg in kernelargs.tokens(value)]
    # What sh would have to expand is not known here.
    args = " ".join(["ro", *(arg for arg in known if not re.search(r"[$`\s]", arg))])
    if not kernelargs.value(args, "root"):
        root = _renamed_root(context, draft) or next(iter(_roots(context, draft)), "")
        args = f"root={root} {args}"
    wanted = ("console=tty0", f"console={context.console}")
    initrd = target.initrd or f"/boot/initrd.img-{target.version}"
    directory = "" if context.facts.mount("/boot") else "/boot"
    paths = [f"{directory}/{_base(path)}" for path in (target.image, initrd)]
    return _entry(target, paths[0], _arguments(context, args, wanted)[0], paths[1])


def _entry(target: Kernel, kernel: str, args: str, initrd: str) -> str:
    """An entry to stand first; GRUB finds the kernel's file system by the kernel."""
    return (
        f"menuentry 'Linux {target.version} (Xen PV)' --class gnu-linux {{\n"
        f"\tsearch --no-floppy --file --set=root {kernel}\n"
        f"\tlinux {kernel} {args}\n"
        f"\tinitrd {initrd}\n"
        "}\n"
    )


def _legacy(context: Context, draft: Draft, target: Kernel, path: str) -> None:
    edited = menulst.edit(
        draft.text(path),
        translate=context.translate,
        remove=_harmful,
        last=("console=tty0", f"console={context.console}"),
        only=lambda kernel: _is(kernel, target),
    )
    draft.edit(NAME, path, edited)
    draft.write_late(path)
    for number, kernel, _ in menulst.kernels(draft.text(path)):
        if _is(kernel, target):
            draft.edit(NAME, path, menulst.set_default(draft.text(path), number))
            break


def _drop_stale_grub2(draft: Draft, legacy: str, target: Kernel) -> None:
    """A grub.cfg whose kernels are gone beats a good menu.lst in pygrub: move it out of its way."""
    good = any(_is(path, target) for _, path, _ in menulst.kernels(draft.text(legacy)))
    if not good or not draft.file(GRUB_CFG):
        return
    found = predict(draft)
    if isinstance(found, Refusal) and not any(
        draft.facts.boot_files.get(f"/boot/{_base(entry.kernel)}") for entry in found.entries
    ):
        draft.remove(NAME, GRUB_CFG, f"removed: stale, and pygrub would prefer it to {legacy}")


def _is(path: str, kernel: Kernel) -> bool:
    """Whether a boot entry's path, relative to / or to /boot, is this kernel's image."""
    return _base(path) == _base(kernel.image)


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(*READS, DEFAULTS, f"{DROP_INS}*.cfg", OWN_SCRIPT),
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
