"""The way back: the same disk still boots as HVM, under the new device names.

Under PV the disk is /dev/xvda; under emulated hardware it is /dev/sda again (or hda, vda, nvme0n1).
A udev rule gives the emulated disk its PV name as a second one, in the system and in the initrd, so
that fstab, root= and resume= hold in both. Where a real xvd disk exists the rule does nothing. (The
udev of a system with a XenLinux kernel may be older than that condition: there it has none).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..draft import Draft
from .step import Step

NAME = "fallback"
RULES = "/etc/udev/rules.d/59-pvprep-names.rules"
HOOK = "/etc/initramfs-tools/hooks/pvprep"
DRACUT_CONF = "/etc/dracut.conf.d/91-pvprep-names.conf"
# What the initrd must carry, if it is there.
HOOK_FILES = (RULES,)

HEAD = """\
# Made by pvprep. When this guest is started as HVM, its disks have their emulated names; this rule
# gives them their PV names too, so that fstab and the kernel's command line hold both ways.
"""
HOOK_TEXT = f"""\
#!/bin/sh
# Made by pvprep: the initrd needs the disks' PV names as well (see {RULES}).
[ "$1" = prereqs ] && exit 0
mkdir -p "$DESTDIR/etc/udev/rules.d"
cp -p {RULES} "$DESTDIR/etc/udev/rules.d/"
"""
DRACUT_TEXT = f"""\
# Made by pvprep: the initrd needs the disks' PV names as well.
{{}}+=" {RULES} "
"""


def plan(context: Context, draft: Draft) -> None:
    """Write the rule and what carries it into the initrd, if any name changes."""
    if context.options.device_names == "uuid":
        return
    rules = "".join(_rules(context))
    if not rules:
        return
    draft.create(NAME, RULES, HEAD + rules, "keeps the new names valid as HVM")
    how = carrier(context)
    if how == HOOK:
        draft.create(NAME, HOOK, HOOK_TEXT, "carries the rule into the initrd", mode=0o755)
    elif how:
        text = DRACUT_TEXT.format(how)
        draft.create(NAME, DRACUT_CONF, text, "carries the rule into the initrd")


def carrier(context: Context) -> str:
    """What carries a file into the initrd: the hook, a setting of dracut, or "" for nothing.

    mkinitrd and the first versions of dracut cannot; they build for each kernel what suits it, and
    the HVM kernel's initrd and root= are left as they are.
    """
    facts = context.facts
    if facts.initrd_tool == "dracut":
        settings = ("install_optional_items", "install_items")
        return next((name for name in settings if name in facts.initrd_options), "")
    # In Debian a kernel's package brings initramfs-tools where there is no builder.
    usual = facts.distro.family == "debian" and not facts.initrd_tool
    return HOOK if usual or facts.initrd_tool == "initramfs-tools" else ""


def _rules(context: Context) -> Iterator[str]:
    old = context.target is not None and context.target.xenlinux
    distro = context.facts.distro
    # udev 039 compares with `=`, and knows no `+=` (its udev(8)).
    oldest = old and distro.family == "redhat" and distro.version.split(".")[0] == "4"
    for disk, vdev in context.devices.vdevs.items():
        if disk == vdev:
            continue
        kernel = disk.replace("/", "!")
        separator = "p" if disk[-1].isdigit() else ""
        match = 'SUBSYSTEM=="block", ' + ("" if old else f'TEST!="/sys/class/block/{vdev}", ')
        rules = (
            f'{match}KERNEL=="{kernel}", SYMLINK+="{vdev}"\n'
            f'{match}KERNEL=="{kernel}{separator}[0-9]*", SYMLINK+="{vdev}%n"\n'
        )
        yield rules.replace(match, "").replace("==", "=").replace("+=", "=") if oldest else rules


STEP = Step(NAME, __doc__, plan, reads=(RULES, HOOK, DRACUT_CONF))
