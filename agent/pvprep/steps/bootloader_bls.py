"""Boot Loader Specification entries (Fedora, EL 8 and later): off for pygrub, which reads none.

The menu then has its kernels in grub.cfg itself: GRUB_ENABLE_BLSCFG=false has grub2-mkconfig write
them there, and a plugin of kernel-install(8) has that done for each kernel that comes or goes. What
the entries say of the kernel's arguments (in the files, in grubenv's kernelopts, by grubby) goes
into GRUB_CMDLINE_LINUX. The files stay, and in step: GRUB on a guest that runs as HVM reads them as
long as nobody makes the menu anew. All of it is edited in place; grubby would do some of the same,
but could not be shown before, nor undone exactly.
"""

from __future__ import annotations

import re
from typing import Optional

from ..context import Context
from ..draft import Draft
from ..editors import bls, grubcfg, grubenv, kernelargs, shellvars
from ..editors.edited import Edit, Edited
from ..facts import Kernel
from .bootloader_entry import GRUB_CFG, arguments, consoles, first_of, harmful, is_of

DEFAULTS = "/etc/default/grub"
ENTRIES = "/boot/loader/entries/"
GRUBENV = "/boot/grub2/grubenv"
CMDLINE = "/etc/kernel/cmdline"
PLUGIN = "/etc/kernel/install.d/99-pvprep.install"
KEY = "GRUB_ENABLE_BLSCFG"
PLUGIN_TEXT = r"""#!/bin/sh
# Made by pvprep: pygrub reads no BLS entries, so the menu is made anew when a kernel comes or goes.
# A second `=` behind a `set` makes pygrub give up; without the `set` it means the same to GRUB.
menu=/boot/grub2/grub.cfg
case $1 in add | remove) ;; *) exit 0 ;; esac
[ -e "$menu" ] && command -v grub2-mkconfig >/dev/null || exit 0
grub2-mkconfig -o "$menu" &&
    sed -E -i --follow-symlinks 's/^([[:blank:]]*)set +(\w+=[^=]*=)/\1\2/' "$menu"
"""
# What grub2-mkconfig writes by itself, and what an entry's arguments are not about.
OWN = re.compile(r"(?:root|BOOT_IMAGE)=|(?:ro|rw)\Z")


def in_use(draft: Draft) -> bool:
    """Whether entries come from BLS files, now or when the menu is made anew."""
    menu = first_of(draft, GRUB_CFG)
    if shellvars.get(draft.text(DEFAULTS), KEY) == "true" or grubcfg.has_bls(draft.text(menu)):
        return True
    return not menu and any(draft.facts.under(ENTRIES))


def switch_off(name: str, draft: Draft) -> None:
    """Have the menu made without BLS from now on, and at every kernel that comes."""
    text = draft.text(DEFAULTS)
    if shellvars.get(text, KEY) is None:
        draft.edit(name, DEFAULTS, shellvars.append(text, KEY, "false"))
    else:
        draft.edit(name, DEFAULTS, shellvars.edit(text, KEY, lambda _old: "false"))
    why = "makes the menu anew when a kernel comes or goes"
    draft.create(name, PLUGIN, PLUGIN_TEXT, why, mode=0o755)


def entry_arguments(draft: Draft, kernel: Optional[Kernel]) -> str:
    """The arguments that BLS gives this kernel, or else the newest one; "" where it gives none."""
    texts = [draft.text(path) for path in draft.facts.under(ENTRIES)]
    kernels = [*([kernel] if kernel else []), *reversed(draft.facts.kernels)]
    found = (text for one in kernels for text in texts if _starts(text, one))
    options = bls.values(next(found, ""), "options")
    return " ".join(_expanded(draft, line) for line in options)


def lost_arguments(given: str, settings: str) -> list[str]:
    """Which of an entry's arguments would be lost without BLS, as the settings have them not."""
    there = kernelargs.tokens(settings)
    return [arg for arg in kernelargs.tokens(given) if arg not in there and not OWN.match(arg)]


def keep_in_step(name: str, context: Context, draft: Draft, kernel: Optional[Kernel]) -> None:
    """Give the kernel's entry, and what future ones are made of, the names of the PV guest."""
    for path in draft.facts.under(ENTRIES):
        if kernel and _starts(draft.text(path), kernel):
            edited = bls.edit(
                draft.text(path),
                translate=context.translate,
                remove=harmful,
                last=() if "$kernelopts" in draft.text(path) else consoles(context),
            )
            draft.edit(name, path, edited)
            draft.write_late(path)

    def change(value: str) -> str:
        return arguments(context, value, consoles(context))[0]

    if grubenv.get(draft.text(GRUBENV), "kernelopts"):
        draft.edit(name, GRUBENV, grubenv.edit(draft.text(GRUBENV), "kernelopts", change))
    if draft.file(CMDLINE):
        new, pairs = arguments(context, draft.text(CMDLINE), consoles(context))
        draft.edit(name, CMDLINE, Edited(new, tuple(Edit(1, *pair) for pair in pairs)))


def _starts(text: str, kernel: Kernel) -> bool:
    return any(is_of(path, kernel) for path in bls.values(text, "linux"))


def _expanded(draft: Draft, options: str) -> str:
    """With the values of GRUB's variables, as far as grubenv and grub.cfg tell them."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        menu = draft.text(first_of(draft, GRUB_CFG))
        return grubenv.get(draft.text(GRUBENV), name) or grubcfg.variable(menu, name) or ""

    return " ".join(re.sub(r"\$\{?(\w+)\}?", value, options).split())
