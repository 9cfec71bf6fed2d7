"""Boot loader configuration that lies under a mount point: unseen by the system, seen by pygrub."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import PvprepError
from ..facts import Mount
from ..guest import Guest
from ..pygrub import READ_MAX

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
    head -c {limit} ".$file" | od -An -v -tx1 | tr -d ' \\n'
    echo
done
"""


def configurations(guest: Guest, mounts: Sequence[Mount]) -> dict[str, bytes]:
    """What `/boot` of the root file system holds where another file system is mounted on it."""
    if guest.layout:
        return dict(guest.layout.stale)
    if not guest.running or not any(mount.target == "/boot" for mount in mounts):
        return {}
    script = SCRIPT.format(files=" ".join(CANDIDATES), limit=READ_MAX)
    done = guest.run(["unshare", "--mount", "sh", "-c", script])
    if done.status:
        return {}  # not root
    rows = done.output.split("\n")
    try:
        return {
            path: bytes.fromhex(rows[at + 1]) for at, path in enumerate(rows) if path in CANDIDATES
        }
    except ValueError as error:  # what a program has to complain about stands between
        raise PvprepError(f"/boot of the root file system cannot be read: {error}") from None
