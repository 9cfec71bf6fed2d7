"""Debian trees with another distribution's package manager, and a database of its own to manage.

The manager, rpm and its database are real; the programs in the tree are Debian's, unknown to rpm.
"""

from __future__ import annotations

from pathlib import Path

from tests.guests import chroot, roots
from tests.roots import rpms


def make(suite: str, manager: tuple[str, ...], root: Path) -> Path:
    """Unpack a tree; rpm knows of a shell in it, which scripts of packages need."""
    tar = roots.build_root(suite, "amd64", include=sorted({"createrepo-c", "rpm", *manager}))
    roots.unpack(tar, root)
    (root / "etc/rpm").mkdir(exist_ok=True)
    (root / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")
    for directory in ("var/lib/rpm", "etc/yum.repos.d", "etc/zypp/repos.d", "etc/dnf"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    chroot.run(root, ["rpm", "--initdb"])
    provides = "/bin/sh, system-release, system-release(releasever) = 1"
    rpms.install(root, rpms.package(root, "base", Provides=provides))
    return root
