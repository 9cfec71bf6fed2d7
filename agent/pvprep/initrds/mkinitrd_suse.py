"""mkinitrd of SUSE Linux Enterprise 10 and 11 and openSUSE up to 13.1: mkinitrd(8).

Which modules its initrds load is said in /etc/sysconfig/kernel.
"""

from __future__ import annotations

from ..guest import Guest

_PROGRAM = "/sbin/mkinitrd"


def found(guest: Guest) -> bool:
    """Whether it is installed: later releases have a script of dracut by this name."""
    text = guest.text(_PROGRAM)
    return ("INITRD_PATH" in text or "INITRD_MODULES" in text) and "dracut" not in text


def command(_guest: Guest, version: str, output: str) -> list[str]:
    """The builder's command line. -B: it leaves the boot menu alone."""
    return ["mkinitrd", "-B", "-k", f"/boot/vmlinuz-{version}", "-i", output]


def hint(output: str) -> str:
    """What to do about a failure, from what mkinitrd said."""
    if "Cannot determine dependencies" in output:
        return "INITRD_MODULES in /etc/sysconfig/kernel names a module that this kernel lacks"
    if "No space left" in output:
        return "make room in /boot and /var/tmp"
    return "mend what it says"


def finish(_guest: Guest, _version: str, _path: str) -> list[str]:
    """Nothing: a boot loader reads the file by its path."""
    return []
