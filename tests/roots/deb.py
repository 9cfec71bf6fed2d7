"""Installs a package file in a tree as a person would, by the tree's own apt."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.guests import chroot, hostapt

_INSTALL = ("apt-get", "-q", "-y", "--no-install-recommends", "install")


def install(root: Path, package: Path) -> str:
    """Install the file with what it depends on; gives what apt said. Raises ChrootError."""
    there = root / "tmp" / package.name
    shutil.copy(package, there)
    with hostapt.online(root):
        chroot.run(root, ["apt-get", "-q", "update"])
        said = chroot.run(root, [*_INSTALL, f"/tmp/{package.name}"])
    there.unlink()
    return said
