"""What the entries of GRUB 2, of GRUB legacy and of BLS have in common: the kernel's arguments.

For a PV guest: root= and resume= under their PV names, console=hvc0 last, so that the login is on
`xl console`, and nothing that makes sense for emulated hardware only.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..context import XENLINUX_CONSOLE, Context
from ..draft import Draft
from ..editors import grubcfg, kernelargs, menulst
from ..facts import Kernel
from .initrd import path_of

# In pygrub's order: where a file system has both, it takes the first.
GRUB_CFG = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
MENU_LST = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
# Arguments that make sense for emulated hardware only, and harm under PV.
CLOCKS = ("tsc", "acpi_pm", "kvm-clock", "hpet", "pit")


def first_of(draft: Draft, paths: Sequence[str]) -> str:
    """The first of these files that is there, "" if none is."""
    return next((path for path in paths if draft.file(path)), "")


def consoles(context: Context) -> tuple[str, ...]:
    """What the arguments have to end in: the login is on `xl console`, tty0 stays for HVM.

    A XenLinux kernel makes its console tty1, unless it is told otherwise (xencons_early_setup in
    its drivers/xen/console/console.c; Red Hat's and SUSE's were changed to be xvc0 by themselves).
    """
    told = ("xencons=xvc",) if context.console == XENLINUX_CONSOLE else ()
    return (*told, "console=tty0", f"console={context.console}")


def harmful(token: str) -> bool:
    """Whether an argument harms under PV."""
    key, _, value = token.partition("=")
    return key == "xen_emul_unplug" or (key == "clocksource" and value in CLOCKS)


def arguments(
    context: Context, args: str, wanted: Sequence[str]
) -> tuple[str, list[tuple[str, str]]]:
    """The arguments as a PV guest needs them, and what changed."""
    return kernelargs.edit(args, translate=context.translate, remove=harmful, last=wanted)


def roots(context: Context, draft: Draft, given: str = "") -> list[str]:
    """What root= is in each entry; where no entry says it, what is mounted.

    given: the arguments of an entry that is no part of a menu.
    """
    entries = [given, *(args for path in GRUB_CFG for _, args in grubcfg.kernels(draft.text(path)))]
    entries += [args for path in MENU_LST for _, _, args in menulst.kernels(draft.text(path))]
    found = [kernelargs.value(args, "root") for args in entries]
    mount = context.facts.mount("/")
    return [root for root in found if root] or ([mount.device] if mount else [])


def renamed_root(context: Context, draft: Draft, given: str = "") -> str:
    """The root= that generated entries must end up with, where grub-mkconfig would write another.

    With GRUB_DISABLE_LINUX_UUID it writes the name that the disk has at that moment; of two root=
    the last one counts, for the kernel as for initrds.
    """
    return next((new for new in map(context.translate, roots(context, draft, given)) if new), "")


def complete(context: Context, draft: Draft, args: str) -> str:
    """Arguments for a new entry: with a root, and as a PV guest needs them."""
    if not kernelargs.value(args, "root"):
        root = renamed_root(context, draft) or next(iter(roots(context, draft)), "")
        args = f"root={root} {args}"
    return arguments(context, args, consoles(context))[0]


def images(context: Context, target: Kernel) -> tuple[str, str]:
    """The kernel and its initrd as a boot loader finds them: a /boot of its own is its root."""
    directory = "" if context.facts.mount("/boot") else "/boot"
    kernel, initrd = base(target.image), base(path_of(context, target))
    return f"{directory}/{kernel}", f"{directory}/{initrd}"


def is_of(path: str, kernel: Kernel) -> bool:
    """Whether a boot entry's path, relative to / or to /boot, is this kernel's image."""
    return base(path) == base(kernel.image)


def base(path: str) -> str:
    """The last part of a path."""
    return path.rsplit("/", 1)[-1]
