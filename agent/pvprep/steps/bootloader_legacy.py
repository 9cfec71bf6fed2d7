"""GRUB legacy: menu.lst and grub.conf, in Debian with update-grub's settings in its comments.

Red Hat's kernel-xen writes a stanza for dom0, which starts Xen and the kernel as its module; in a
guest the kernel starts alone. The settings by which its scripts make the next kernel the default
are in /etc/sysconfig/kernel. A system that boots by LILO gets a menu of one entry, which LILO does
not see.
"""

from __future__ import annotations

import re
from typing import Optional

from ..context import Context
from ..draft import Draft
from ..editors import grubcfg, menulst, shellvars
from ..facts import Kernel
from ..predict import predict
from ..pygrub import Refusal
from .bootloader_entry import (
    GRUB_CFG,
    MENU_LST,
    base,
    complete,
    consoles,
    first_of,
    harmful,
    images,
    is_of,
)
from .initrd import path_of

SYSCONFIG = "/etc/sysconfig/kernel"
LILO = "/etc/lilo.conf"
MENU = """\
# Made by pvprep: what pygrub starts under Xen PV. LILO, which boots this system as HVM, goes by
# /etc/lilo.conf; pygrub does not read that.
default 0
timeout 5

"""
# The kernel's arguments in lilo.conf(5); those of all kernels stand before the first image.
_APPEND = re.compile(r'^[ \t]*append[ \t]*=[ \t]*(?:"([^"\n]*)"|(\S+))', re.M)


def drop_stale_grub2(name: str, draft: Draft, legacy: str, target: Kernel) -> None:
    """A grub.cfg whose kernels are gone beats a good menu.lst in pygrub: move it out of its way."""
    good = any(is_of(path, target) for _, path, _ in menulst.kernels(draft.text(legacy)))
    stale = first_of(draft, GRUB_CFG)
    if not good or not stale or grubcfg.has_bls(draft.text(stale)):
        return
    found = predict(draft)
    if isinstance(found, Refusal) and not any(
        draft.facts.boot_files.get(f"/boot/{base(entry.kernel)}") for entry in found.entries
    ):
        draft.remove(name, stale, f"removed: stale, and pygrub would prefer it to {legacy}")


def make_menu(name: str, context: Context, draft: Draft, target: Kernel) -> str:
    """A menu for a system that boots by LILO; its path, "" where no lilo.conf is."""
    if not draft.file(LILO):
        return ""
    found = _APPEND.search(draft.text(LILO))
    given = (found[1] or found[2] or "") if found else ""
    body = MENU + _stanza(context, draft, MENU_LST[0], target, f"{given} ro".strip())
    draft.create(name, MENU_LST[0], body, "made: pygrub does not read lilo.conf")
    draft.write_late(MENU_LST[0])
    return MENU_LST[0]


def edit_menu(name: str, context: Context, draft: Draft, target: Kernel, path: str) -> None:
    """Make the kernel's stanza fit for PV, and the default; where there is none, add it."""
    if _number(draft, path, target) is None:
        alone = menulst.without_hypervisor(draft.text(path), lambda kernel: is_of(kernel, target))
        draft.edit(name, path, alone)
    edited = menulst.edit(
        draft.text(path),
        translate=context.translate,
        remove=harmful,
        last=consoles(context),
        only=lambda kernel: is_of(kernel, target),
    )
    draft.edit(name, path, edited)
    draft.write_late(path)
    number = _number(draft, path, target)
    if number is None and not first_of(draft, GRUB_CFG):
        stanza = _stanza(context, draft, path, target)
        draft.edit(name, path, menulst.insert_stanza(draft.text(path), stanza))
        number = 0
    if number is not None:
        initrd = base(path_of(context, target))
        draft.edit(name, path, menulst.name_initrd(draft.text(path), number, initrd))
        draft.edit(name, path, menulst.set_default(draft.text(path), number))
    if target.xenlinux and context.facts.distro.family == "redhat":
        _sysconfig(name, draft, "kernel-xenU" if "xenU" in target.version else "kernel-xen")


def _number(draft: Draft, path: str, target: Kernel) -> Optional[int]:
    found = menulst.kernels(draft.text(path))
    return next((number for number, kernel, _ in found if is_of(kernel, target)), None)


def _stanza(
    context: Context, draft: Draft, path: str, target: Kernel, usual: str = "ro"
) -> str:
    """With the arguments of the menu's first entry, which the administrator knows.

    usual: arguments where there is none.
    """
    there = menulst.kernels(draft.text(path))
    kernel, initrd = images(context, target)
    args = complete(context, draft, there[0][2] if there else usual)
    root = menulst.device(draft.text(path)) or "(hd0,0)"
    return (
        f"title Linux {target.version} (Xen PV)\n"
        f"\troot {root}\n"
        f"\tkernel {kernel} {args}\n"
        f"\tinitrd {initrd}\n"
    )


def _sysconfig(name: str, draft: Draft, package: str) -> None:
    """new-kernel-pkg makes kernels of this package the default, and of no other."""
    if shellvars.get(draft.text(SYSCONFIG), "DEFAULTKERNEL") is None:
        return  # there is nobody to read it
    yes = shellvars.edit(draft.text(SYSCONFIG), "UPDATEDEFAULT", lambda _old: "yes")
    draft.edit(name, SYSCONFIG, yes)
    edited = shellvars.edit(draft.text(SYSCONFIG), "DEFAULTKERNEL", lambda _old: package)
    draft.edit(name, SYSCONFIG, edited)
