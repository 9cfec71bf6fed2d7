"""Make a guest to try pvprep on: `python3 -m tests.guests.demo DIR`, as root; needs mmdebstrap."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.guests import profiles, roots

_ABOUT = """\
{root} is Debian 12 as an installation under Xen HVM leaves it:
  disk       /dev/sda (emulated IDE): / on /dev/sda1, swap on /dev/sda2; so says /etc/fstab
  network    ens3 (emulated e1000), MAC {mac}, DHCP by ifupdown
  kernel     {kernel}
  initrd     MODULES=dep: the drivers of that hardware and no others
  boot       GRUB 2: root=/dev/sda1 resume=/dev/sda2
  hostname   {hostname}
"""


def main(argv: list[str]) -> int:
    """Make the tree; 2 and a reason where that cannot be."""
    if len(argv) != 1:
        return _refuse("usage: python3 -m tests.guests.demo DIR")
    root = Path(argv[0])
    if os.geteuid() != 0:
        return _refuse("making a guest takes root")
    if root.exists():
        return _refuse(f"{root} exists: name a directory that does not")
    if not shutil.which("mmdebstrap"):
        return _refuse("mmdebstrap is missing: apt-get install mmdebstrap")
    print("Making a Debian 12 guest; the first time takes a minute or two ...", flush=True)
    roots.unpack(roots.build_profile(profiles.BOOKWORM), root)
    kernel = ", ".join(sorted(path.name for path in (root / "boot").glob("vmlinuz-*")))
    about = _ABOUT.format(root=root, mac=profiles.MAC, kernel=kernel, hostname=profiles.HOSTNAME)
    print(about, end="")
    return 0


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
