"""initramfs-tools (Debian, Ubuntu): mkinitramfs(8), and what update-initramfs(8) does around it.

`update-initramfs -u` runs `mkinitramfs -o FILE.new VERSION`, renames the result over FILE, and runs
the hooks in /etc/initramfs/post-update.d. The journal does the renaming, for it has to prove the
content first; so mkinitramfs is called here, and the hooks afterwards (see finish).

A later `update-initramfs -u` takes the file for its own, since 0.138 (Debian 11, Ubuntu 20.10) goes
by the file's name alone; earlier ones kept a sum of it.
"""

from __future__ import annotations

from ..guest import Guest
from ..namespace import MEMORY

_PROGRAM = "/usr/sbin/mkinitramfs"
POST_UPDATE = "/etc/initramfs/post-update.d"
_COPY = f"{MEMORY}/pvprep-initramfs-tools"

# A tree's hardware cannot be seen: with MODULES=dep the initrd would suit the host's. So a copy of
# the configuration that says otherwise is used, in the memory of pvprep's own namespace.
_FOR_ANY = f"""
rm -rf {_COPY}
cp -a /etc/initramfs-tools {_COPY}
echo MODULES=most > {_COPY}/conf.d/zz-pvprep
exec mkinitramfs -d {_COPY} -o "$0" "$1"
"""


def found(guest: Guest) -> bool:
    """Whether it is installed."""
    return guest.is_file(_PROGRAM)


def command(guest: Guest, version: str, output: str) -> list[str]:
    """The builder's command line."""
    if guest.running:
        return ["mkinitramfs", "-o", output, version]
    return ["sh", "-ec", _FOR_ANY, output, version]


def hint(output: str) -> str:
    """What to do about a failure, from what mkinitramfs said."""
    # Without /sys, or with a /sys that does not show the device of /.
    if "MODULES dep requires" in output or "failed to determine" in output:
        return (
            "MODULES=dep takes only the drivers of the root device it sees in /sys: "
            "set MODULES=most in /etc/initramfs-tools/conf.d, or mount /proc and /sys"
        )
    if "No space left" in output:
        return "make room in /boot and /var/tmp"
    return "mend what it says; `mkinitramfs -v -o /var/tmp/try VERSION` shows more"


def finish(guest: Guest, version: str, path: str) -> list[str]:
    """What update-initramfs runs once the file is in place; LILO's map, for one, needs it.

    A boot loader that reads the file by its path needs nothing, and has no hook here.
    """
    if not guest.names(POST_UPDATE):
        return []
    return ["run-parts", f"--arg={version}", f"--arg={path}", POST_UPDATE]
