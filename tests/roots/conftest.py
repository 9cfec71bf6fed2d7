"""Roots shared by the tests in this directory; each test works on a copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.guests import profiles, roots
from tests.roots import trees

from pvprep.guest import Guest
from pvprep.packages.apt import Apt

_TOOLS = ("initramfs-tools", "kmod", "zstd")


def _fetched(root: Path) -> Path:
    trees.let_fetch(root)

    def update(guest: Guest) -> None:
        Apt(guest, lambda _line: None, lambda _fraction, _text: None).update()

    trees.in_tree(root, update)
    return root


@pytest.fixture(scope="session")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 12 without a kernel, with package lists; not to be changed."""
    root = tmp_path_factory.mktemp("bookworm") / "root"
    roots.unpack(roots.build_root("bookworm", "amd64", include=_TOOLS), root)
    return _fetched(root)


@pytest.fixture
def tree(bookworm: Path, tmp_path: Path) -> Iterator[Path]:
    """Debian 12 without a kernel, to be changed."""
    with trees.layer(bookworm, tmp_path / "memory") as tree:
        yield tree


@pytest.fixture
def tree_i386(tmp_path: Path) -> Path:
    """Debian 12 of the i386 architecture, without a kernel, with package lists."""
    root = tmp_path / "tree"
    roots.unpack(roots.build_root("bookworm", "i386", include=_TOOLS), root)
    trees.let_fetch(root)
    return root


@pytest.fixture(scope="module")
def with_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 12 with the cloud kernel and initramfs-tools, without an initrd."""
    root = tmp_path_factory.mktemp("kernel") / "root"
    roots.unpack(roots.build_root("bookworm", "amd64", include=(*_TOOLS, trees.KERNEL)), root)
    return root


@pytest.fixture(scope="module")
def with_dracut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 12 with the cloud kernel and dracut, without an initrd."""
    root = tmp_path_factory.mktemp("dracut") / "root"
    include = ("dracut", "kmod", "zstd", trees.KERNEL)
    roots.unpack(roots.build_root("bookworm", "amd64", include=include), root)
    return root


# All that an ext4 root on a Xen disk needs: with the other 3000 modules an initrd takes ten times
# as long, which says nothing more about a kill or a full disk.
_ENOUGH = ("xen-blkfront", "xen-netfront", "ext4", "jbd2", "mbcache", "crc16", "crc32c_generic")


@pytest.fixture(scope="session")
def small_guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 12 as installed under HVM, with few kernel modules; not to be changed."""
    root = tmp_path_factory.mktemp("small") / "root"
    roots.unpack(roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL), root)
    (modules,) = (root / "lib/modules").iterdir()
    for path in modules.rglob("*.ko*"):
        if path.name.split(".")[0] not in _ENOUGH:
            path.unlink()
    depmod = ["depmod", modules.name]
    assert trees.in_tree(root, lambda guest: guest.run(depmod)).status == 0
    return root


@pytest.fixture
def guest_tree(small_guest: Path, tmp_path: Path) -> Iterator[Path]:
    """Debian 12 as installed under HVM, to be changed; in memory, an initrd takes a few seconds."""
    with roots.in_memory(tmp_path / "memory") as memory:
        yield trees.copy(small_guest, memory / "tree")
