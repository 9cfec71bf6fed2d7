"""mkinitrd of Red Hat Enterprise Linux 4 and 5 and Fedora up to 11, where nash runs the initrd.

Of root and swap it goes by fstab, of other drivers by the aliases in modprobe.conf. In a PV guest
new-kernel-pkg, which calls it for each new kernel, names the frontends to it by itself.
"""

from __future__ import annotations

from ..guest import Guest

_PROGRAM = "/sbin/mkinitrd"
_FRONTENDS = (("xenblk", "xennet"), ("xen-blkfront", "xen-netfront"))


def found(guest: Guest) -> bool:
    """Whether it is installed: dracut and SUSE have other programs by this name."""
    text = guest.text(_PROGRAM)
    return "nash" in text and "dracut" not in text


def command(guest: Guest, version: str, output: str) -> list[str]:
    """The builder's command line.

    It gives up where modprobe.conf names a SCSI driver that this kernel does not have, as a Xen
    kernel lacks those of emulated hardware: they are left out. So would it where a frontend is
    built in and named all the same.
    """
    there = guest.text(f"/lib/modules/{version}/modules.dep")
    names = [name for pair in _FRONTENDS for name in pair if f"/{name}.ko" in there]
    asked = [f"--{how}={name}" for how in ("with", "preload") for name in names]
    return ["mkinitrd", "-f", "--omit-scsi-modules", *asked, output, version]


def hint(output: str) -> str:
    """What to do about a failure, from what mkinitrd said."""
    if "No module" in output:
        return "an alias in /etc/modprobe.conf names a driver that this kernel does not have"
    if "No space left" in output:
        return "make room in /boot and /tmp"
    return "mend what it says; `mkinitrd -v /var/tmp/try VERSION` shows more"


def finish(_guest: Guest, _version: str, _path: str) -> list[str]:
    """Nothing: a boot loader reads the file by its path."""
    return []
