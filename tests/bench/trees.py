"""Trees of guests whose initrds are alike, whoever builds them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.guests import roots
from tests.guests.profiles import Profile


def fresh(profile: Profile, directory: Path) -> Path:
    """A guest, unpacked anew; its initrd takes most drivers, as a tree has no hardware."""
    if directory.exists():
        roots.remove(directory)
    roots.unpack(roots.build_profile(profile), directory)
    tools = directory / "etc/initramfs-tools"
    for conf in (*(tools / "conf.d").glob("*"), *tools.glob("initramfs.conf")):
        conf.write_text(re.sub(r"(?m)^MODULES=.*$", "MODULES=most", conf.read_text()))
    return directory
