"""Boot loader configuration that lies under a mount point: unseen by the system, seen by pygrub."""

from __future__ import annotations

from collections.abc import Sequence

from ..facts import Mount
from ..guest import Guest

CANDIDATES = (
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
)
# A bind mount of / alone shows what other mounts cover. The private namespace ends with the shell,
# so nothing has to be unmounted, whatever happens.
SCRIPT = """
mount --make-rprivate / && mount --bind / /mnt && cd /mnt || exit 1
for file in {files}; do
    [ -f ".$file" ] || continue
    echo "$file"
    head -c 100000 ".$file" | od -An -v -tx1 | tr -d ' \\n'
    echo
done
"""


def configurations(guest: Guest, mounts: Sequence[Mount]) -> dict[str, bytes]:
    """What `/boot` of the root file system holds where another file system is mounted on it."""
    if not guest.running or not any(mount.target == "/boot" for mount in mounts):
        return {}
    script = SCRIPT.format(files=" ".join(CANDIDATES))
    done = guest.run(["unshare", "--mount", "sh", "-c", script])
    if done.status:
        return {}  # not root
    rows = done.output.split("\n")
    return {path: bytes.fromhex(rows[at + 1]) for at, path in enumerate(rows) if path[:1] == "/"}
