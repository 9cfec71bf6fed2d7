"""A minimal dom0: Debian's Xen and its tools, no init system. What it does, it is told at boot.

Kept by its inputs in build/cache. Packages are kept for ever, as those of the guests are.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.guests import chroot, roots

SUITE = "bookworm"
PACKAGES = (
    "bridge-utils",
    "busybox-static",
    "e2fsprogs",
    "grub-xen-host",
    "iproute2",
    "kmod",
    "linux-image-amd64",
    "qemu-system-xen",
    "xen-hypervisor-4.17-amd64",
    "xen-utils-4.17",
    "xenstore-utils",
)

# QEMU's disks and the root file system: these are in dom0's initrd.
_DISK_MODULES = ("virtio_pci", "virtio_blk", "ext4")
# What serves guests.
_XEN_MODULES = (
    "xenfs",
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "xen-privcmd",
    "xen-blkback",
    "xen-netback",
    "bridge",
    "tun",
)
_INITRD_INIT = Path(__file__).with_name("dom0-initrd-init")
_UNUSED = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt")
_IMAGE_MIB = 1024


@dataclass(frozen=True)
class Dom0:
    """What QEMU boots: the hypervisor (an ELF file), dom0's kernel, its initrd, its disk."""

    xen: Path
    kernel: Path
    initrd: Path
    disk: Path


def build(*, cache_dir: Path = roots.CACHE) -> Dom0:
    """The dom0, built in about a minute unless it is there. Raises BuildError, ChrootError."""
    base = roots.build_root(SUITE, "amd64", include=PACKAGES, cache_dir=cache_dir)
    recipe = [Path(__file__).read_bytes(), _INITRD_INIT.read_bytes()]
    digest = hashlib.sha256(b"\0".join([base.name.encode(), *recipe])).hexdigest()[:16]
    place = cache_dir / f"dom0-{digest}"
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=cache_dir) as work:
            half = Path(work) / "dom0"
            half.mkdir()
            _make(base, Path(work) / "root", _at(half))
            try:
                half.rename(place)
            except OSError:
                if not place.exists():
                    raise
                # Another run was faster: its result is as good.
    return _at(place)


def _at(place: Path) -> Dom0:
    return Dom0(place / "xen", place / "vmlinuz", place / "initrd.img", place / "disk.img")


def _make(base: Path, root: Path, dom0: Dom0) -> None:
    roots.unpack(base, root)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    version = kernel.name.partition("-")[2]
    (xen,) = (root / "boot").glob("xen-*.gz")
    shutil.copyfile(kernel, dom0.kernel)
    # QEMU takes a multiboot image as it is: not compressed.
    dom0.xen.write_bytes(gzip.decompress(xen.read_bytes()))
    disk_modules = _insertions(root, version, _DISK_MODULES)
    _keep_modules(root, version, [*disk_modules, *_insertions(root, version, _XEN_MODULES)])
    _make_initrd(root, disk_modules, dom0.initrd)
    for name in _UNUSED:
        shutil.rmtree(root / name)
    # Without a journal: what a run writes is thrown away with it.
    options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1"]
    _run(["mke2fs", *options, "-d", str(root), str(dom0.disk), f"{_IMAGE_MIB}M"])


def _insertions(root: Path, version: str, names: Sequence[str]) -> list[str]:
    """The files of these modules and of those they need, in the order to insert them."""
    argv = ["modprobe", "--set-version", version, "--show-depends", "--all", *names]
    lines = chroot.run(root, argv).splitlines()
    files = [line.split()[1] for line in lines if line.startswith("insmod ")]
    return list(dict.fromkeys(file.lstrip("/") for file in files))


def _keep_modules(root: Path, version: str, kept: Sequence[str]) -> None:
    for module in (root / "lib/modules" / version / "kernel").rglob("*.ko"):
        if str(module.relative_to(root)) not in kept:
            module.unlink()
    chroot.run(root, ["depmod", version])


def _make_initrd(root: Path, modules: Sequence[str], target: Path) -> None:
    """busybox, the modules with their order, and a script as init."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        for name in ("bin", "dev", "modules", "proc", "root"):
            (tree / name).mkdir()
        _install(root / "bin/busybox", tree / "bin/busybox")
        _install(_INITRD_INIT, tree / "init")
        for module in modules:
            shutil.copyfile(root / module, tree / "modules" / Path(module).name)
        order = "".join(f"{Path(module).name}\n" for module in modules)
        (tree / "modules/order").write_text(order)
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        with target.open("wb") as out:
            argv = ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"]
            subprocess.run(argv, input=names.encode(), stdout=out, cwd=tree, check=True)


def _install(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise roots.BuildError(f"{argv[0]}: status {done.returncode}\n{done.stdout[-4000:]}")
