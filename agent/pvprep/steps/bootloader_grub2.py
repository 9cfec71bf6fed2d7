"""GRUB 2: grub.cfg, which pygrub reads, and the settings from which it is generated.

The generated file is edited, and /etc/default/grub as well, so that the next grub-mkconfig keeps
it. pygrub takes the first entry, whatever GRUB's environment block has saved: where that is not the
PV kernel, a script of our own in /etc/grub.d puts it first, and it becomes GRUB's default, too. On
EFI systems the menu's directory on the ESP is never written to: since Fedora 34 and EL 9 it has
only a stub, and pygrub does not look there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional, Union

from ..context import Context
from ..draft import Draft
from ..editors import grubcfg, kernelargs, shellvars
from ..facts import Kernel
from ..findings import Level
from ..predict import predict
from ..pygrub import Pick, Refusal
from . import bootloader_bls as bls
from .bootloader_bls import DEFAULTS
from .bootloader_entry import (
    arguments,
    complete,
    consoles,
    harmful,
    images,
    is_of,
    renamed_root,
)

DROP_INS = "/etc/default/grub.d/"
OWN_SCRIPT = "/etc/grub.d/09_pvprep"
TIMEOUT_SCRIPT = "/etc/grub.d/99_pvprep"
ALL_KERNELS, NORMAL_BOOT = "GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"
OWN_SCRIPT_TEXT = """\
#!/bin/sh
# Made by pvprep: puts the newest kernel that can boot PV first, because pygrub takes the first
# entry. It repeats what 10_linux wrote for that kernel.
set -e
. "$pkgdatadir/grub-mkconfig_lib"
for image in $(ls /boot/vmlinuz-* | LC_ALL=C sort -rV); do  # version_sort has no -r before 2.12
    version=${image#/boot/vmlinuz-}
    grep -qs '^CONFIG_XEN_PV=y' "/boot/config-$version" "/lib/modules/$version/config" || continue
    root=${GRUB_DEVICE_UUID:+UUID=$GRUB_DEVICE_UUID}
    [ "$GRUB_DISABLE_LINUX_UUID" = true ] && root=$GRUB_DEVICE
    dir=$(make_system_path_relative_to_its_root /boot)
    echo "menuentry 'Linux $version (Xen PV)' --class gnu-linux {"
    prepare_grub_to_access_device "$GRUB_DEVICE_BOOT" | sed 's/^/\t/'
    echo "	linux $dir/vmlinuz-$version root=${root:-$GRUB_DEVICE} ro $GRUB_CMDLINE_LINUX" \\
        "$GRUB_CMDLINE_LINUX_DEFAULT"
    for initrd in "initrd.img-$version" "initramfs-$version.img" "initrd-$version"; do
        [ -e "/boot/$initrd" ] || continue
        echo "	initrd $dir/$initrd"
        break
    done
    echo "}"
    break
done
"""
# pygrub looks at no condition; this one is false for every GRUB.
TIMEOUT_TEXT = """\
if [ "$grub_platform" = pygrub ]; then
  set timeout={}
fi
"""
TIMEOUT_SCRIPT_TEXT = """\
#!/bin/sh
# Made by pvprep: pygrub takes the last timeout in the file, and fails if that is no number.
case $GRUB_TIMEOUT in *[!0-9]* | "") GRUB_TIMEOUT=5 ;; esac
cat <<END
if [ "\\$grub_platform" = pygrub ]; then
  set timeout=$GRUB_TIMEOUT
fi
END
"""


def settings(name: str, context: Context, draft: Draft, given: Optional[str]) -> None:
    """What grub-mkconfig generates from.

    given: an entry's arguments by BLS, which has to go; None where it is not in use.
    """
    files = [DEFAULTS, *(path for path in draft.facts.under(DROP_INS) if path.endswith(".cfg"))]
    holder = DEFAULTS  # the last file that sets the arguments of all kernels
    for path in files:
        if shellvars.get(draft.text(path), ALL_KERNELS) is not None:
            holder = path
    root = renamed_root(context, draft, given or "")
    wanted = [f"root={root}"] if root else []
    there = " ".join(arg for path in files for arg in _arguments(draft, path))
    old, new = (arguments(context, args, ())[0] for args in (there, given or ""))
    wanted += [*bls.lost_arguments(new, old), *consoles(context)]
    for path in files:
        for key in (ALL_KERNELS, NORMAL_BOOT):
            value = shellvars.get(draft.text(path), key)
            more: Sequence[str] = ()
            if key == ALL_KERNELS and path == holder:
                more = wanted
            elif value and any(arg.startswith("console=") for arg in kernelargs.tokens(value)):
                more = consoles(context)[-1:]  # it comes behind: hvc0 must stay the last
            _setting(name, context, draft, path, key, more)
    if given is not None:
        bls.switch_off(name, draft)
        draft.create(name, OWN_SCRIPT, OWN_SCRIPT_TEXT, "keeps the PV kernel first", mode=0o755)


def edit_menu(
    name: str, context: Context, draft: Draft, target: Kernel, path: str, given: Optional[str]
) -> None:
    """Edit the kernel's entries in grub.cfg; where pygrub would take another, put one first.

    given: as for settings.
    """
    edited = grubcfg.edit(
        draft.text(path),
        translate=context.translate,
        remove=harmful,
        last=consoles(context),
        only=lambda kernel: is_of(kernel, target),
    )
    draft.edit(name, path, edited)
    draft.write_late(path)
    if draft.file(bls.PLUGIN):  # which does so for menus to come
        draft.edit(name, path, grubcfg.drop_set(draft.text(path)))
    pick = predict(draft)
    if not (isinstance(pick, Pick) and is_of(pick.kernel, target)):
        _put_first(name, context, draft, target, path, pick, given)
    _timeout(name, draft, path)


def _put_first(
    name: str,
    context: Context,
    draft: Draft,
    target: Kernel,
    path: str,
    pick: Union[Pick, Refusal],
    given: Optional[str],
) -> None:
    there = next((entry for entry in pick.entries if is_of(entry.kernel, target)), None)
    if isinstance(pick, Refusal) and _named(draft, path, target):
        return  # what pygrub stumbles over is somewhere else
    if there is None:
        kernel, initrd = images(context, target)
        block = _entry(target, kernel, complete(context, draft, given or _known(draft)), initrd)
    elif there.initrd:
        block = _entry(target, there.kernel, there.args, there.initrd)
    else:
        return
    draft.create(name, OWN_SCRIPT, OWN_SCRIPT_TEXT, "keeps the PV kernel first", mode=0o755)
    draft.edit(name, path, grubcfg.insert_section(draft.text(path), OWN_SCRIPT, block))
    draft.edit(name, path, grubcfg.set_default(draft.text(path), 0))
    default = shellvars.get(draft.text(DEFAULTS), "GRUB_DEFAULT")
    if default not in (None, "0"):
        change = shellvars.edit(draft.text(DEFAULTS), "GRUB_DEFAULT", lambda _value: "0")
        draft.edit(name, DEFAULTS, change)


def _timeout(name: str, draft: Draft, path: str) -> None:
    """Fedora's scripts end in a timeout that is a variable: pygrub fails where it shows its menu.

    (xl lets it do so unless bootloader_restrict is set.)
    """
    pick = predict(draft)
    if not (isinstance(pick, Pick) and pick.needs_quiet):
        return
    seconds = shellvars.get(draft.text(DEFAULTS), "GRUB_TIMEOUT") or ""
    block = TIMEOUT_TEXT.format(seconds if seconds.isdigit() else 5)
    why = "ends the menu in a timeout that pygrub can read"
    draft.create(name, TIMEOUT_SCRIPT, TIMEOUT_SCRIPT_TEXT, why, mode=0o755)
    edited = grubcfg.insert_section(draft.text(path), TIMEOUT_SCRIPT, block, at_end=True)
    draft.edit(name, path, edited)


def _setting(
    name: str, context: Context, draft: Draft, path: str, key: str, wanted: Sequence[str]
) -> None:
    def change(value: str) -> str:
        return arguments(context, value, wanted)[0]

    text = draft.text(path)
    if wanted and shellvars.get(text, key) is None:
        draft.edit(name, path, shellvars.append(text, key, change("")))
        return
    result = shellvars.edit(text, key, change)
    draft.edit(name, path, result)
    for line, there in result.leftover:
        draft.say(
            "bootloader.settings",
            Level.WARN,
            f"cannot be edited safely: {there.strip()}",
            where=f"{path}:{line}",
            remedy=f"see that {key} ends in {' '.join(wanted) or 'arguments fit for PV'}",
        )


def _arguments(draft: Draft, path: str) -> list[str]:
    """The kernel's arguments in a file of settings."""
    values = [shellvars.get(draft.text(path), key) or "" for key in (ALL_KERNELS, NORMAL_BOOT)]
    return [arg for value in values for arg in kernelargs.tokens(value)]


def _named(draft: Draft, path: str, kernel: Kernel) -> bool:
    """Whether an entry starts this kernel, in a menu that pygrub may not be able to read."""
    return any(is_of(image, kernel) for image, _ in grubcfg.kernels(draft.text(path)))


def _known(draft: Draft) -> str:
    """Arguments for a kernel that the menu does not have: in a tree nobody generates a new one."""
    # What sh would have to expand is not known here.
    known = (arg for arg in _arguments(draft, DEFAULTS) if not re.search(r"[$`\s]", arg))
    return " ".join(["ro", *known])


def _entry(target: Kernel, kernel: str, args: str, initrd: str) -> str:
    """An entry to stand first; GRUB finds the kernel's file system by the kernel."""
    return (
        f"menuentry 'Linux {target.version} (Xen PV)' --class gnu-linux {{\n"
        f"\tsearch --no-floppy --file --set=root {kernel}\n"
        f"\tlinux {kernel} {args}\n"
        f"\tinitrd {initrd}\n"
        "}\n"
    )


def make_menu(name: str, draft: Draft, path: str) -> str:
    """A menu where there is none that pygrub reads: with BLS on EFI it lies on the ESP."""
    draft.create(name, path, "set default=0\nset timeout=5\n", "made: pygrub finds no menu here")
    return path
