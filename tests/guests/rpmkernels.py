"""Kernel packages as Enterprise Linux has them, around Debian's cloud kernel.

The kernel is renamed, and its entries for Xen are taken away, within the LZ4 stream of its image:
what is changed are bytes that stand there as they are, so that the image keeps its size, and boots.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.guests.rpmprofiles import Kernel

# Notes by which Xen starts a kernel (Xen xen/include/public/elfnote.h): as PV, as PVH. Without
# CONFIG_XEN_PV and CONFIG_PVH Linux leaves out these and no others (arch/x86/xen/xen-head.S).
_ENTRY = 1
_PHYS32_ENTRY = 18
_NO_NOTE = 0xFF
_MAGIC = b"\x02\x21\x4c\x18"  # of LZ4's old frames, with blocks of this size unpacked
_BLOCK = 8 << 20
_NO_PV = ("XEN_PV", "XEN_PV_SMP", "XEN_512GB", "XEN_PV_MSR_SAFE", "XEN_PVH", "PVH")
_NO_FRONTENDS = ("XEN_BLKDEV_FRONTEND", "XEN_NETDEV_FRONTEND")
_FRONTENDS = ("xen_blkfront", "xen_netfront")

# Of more than a thousand modules, those that these guests need, and a few for kernel-modules.
_CORE = (
    *_FRONTENDS,
    *("ata_generic", "ata_piix", "autofs4", "binfmt_misc", "button", "cdrom", "dm_mod"),
    *("evdev", "loop", "overlay", "sd_mod", "serio_raw", "sr_mod", "vfat"),
    *("virtio_blk", "virtio_net", "virtio_pci", "virtio_scsi", "xen_pcifront", "xenfs"),
)
_MORE = ("fuse", "nls_ascii", "nls_cp437", "nvme_tcp", "virtio_balloon", "virtiofs", "xfs")

_SPEC = """\
%define _binary_payload w3.zstdio
%define __os_install_post %{{nil}}
%define __check_files %{{nil}}
%define __spec_install_pre %{{___build_pre}}
%define debug_package %{{nil}}
%define _build_id_links none
%define uname {release}
Name: {name}
Version: {version}
Release: {rpm_release}
Summary: The Linux kernel (pvprep tests)
License: GPL-2.0-only
Vendor: pvprep tests
AutoReqProv: no
Provides: installonlypkg(kernel)
Requires: {name}-core-uname-r = %{{uname}}
Requires: {name}-modules-core-uname-r = %{{uname}}
Requires: {name}-modules-uname-r = %{{uname}}
%description
Stand-in of pvprep's tests: Debian's cloud kernel, renamed.
%files

%package core
Summary: The Linux kernel
AutoReqProv: no
Provides: installonlypkg(kernel)
Provides: kernel = %{{version}}-%{{release}}
Provides: kernel-uname-r = %{{uname}}
Provides: {name}-core-uname-r = %{{uname}}
Requires: {name}-modules-core-uname-r = %{{uname}}
Requires(pre): coreutils systemd dracut
Requires(preun): systemd
%description core
Stand-in of pvprep's tests.
%files core
%dir /lib/modules/%{{uname}}
/lib/modules/%{{uname}}/config
%attr(0600,root,root) /lib/modules/%{{uname}}/System.map
%attr(0755,root,root) /lib/modules/%{{uname}}/vmlinuz
%ghost %attr(0755,root,root) /boot/vmlinuz-%{{uname}}
%ghost %attr(0600,root,root) /boot/System.map-%{{uname}}
%ghost %attr(0644,root,root) /boot/config-%{{uname}}
%ghost %attr(0600,root,root) /boot/initramfs-%{{uname}}.img
%pre core
{pre}
%posttrans core
{posttrans}/bin/kernel-install add %{{uname}} /lib/modules/%{{uname}}/vmlinuz || exit $?
%preun core
/bin/kernel-install remove %{{uname}} || exit $?

%package modules-core
Summary: Core modules of the Linux kernel
AutoReqProv: no
Provides: installonlypkg(kernel-module)
Provides: {name}-modules-core-uname-r = %{{uname}}
Requires: {name}-core-uname-r = %{{uname}}
%description modules-core
Stand-in of pvprep's tests.
%files modules-core -f modules-core.list
%dir /lib/modules/%{{uname}}
/lib/modules/%{{uname}}/modules.order
/lib/modules/%{{uname}}/modules.builtin
/lib/modules/%{{uname}}/modules.builtin.modinfo
{ghosts}
%post modules-core
/sbin/depmod -a %{{uname}}
%postun modules-core
[ ! -d /lib/modules/%{{uname}}/kernel ] || /sbin/depmod -a %{{uname}}

%package modules
Summary: More modules of the Linux kernel
AutoReqProv: no
Provides: installonlypkg(kernel-module)
Provides: {name}-modules-uname-r = %{{uname}}
Requires: {name}-modules-core-uname-r = %{{uname}}
%description modules
Stand-in of pvprep's tests.
%files modules -f modules.list
%post modules
/sbin/depmod -a %{{uname}}
%postun modules
[ ! -d /lib/modules/%{{uname}}/kernel ] || /sbin/depmod -a %{{uname}}
"""
_MADE_BY_DEPMOD = (
    *("alias", "alias.bin", "builtin.alias.bin", "builtin.bin", "dep", "dep.bin", "devname"),
    *("softdep", "symbols", "symbols.bin"),
)


class KernelError(Exception):
    """Debian's kernel is not as it was, and cannot be made another; the message says how."""


def stage(tree: Path, kernel: Kernel, work: Path) -> str:
    """Lay out in `work` what the kernel's packages hold, beside their lists of files.

    tree: a Debian tree with the cloud kernel. Gives the spec; `work`/root is its build root.
    """
    (image,) = (tree / "boot").glob("vmlinuz-*-cloud-amd64")
    debian = image.name.partition("-")[2]
    target = work / "root/lib/modules" / kernel.release
    target.mkdir(parents=True)
    (target / "vmlinuz").write_bytes(_image(image.read_bytes(), debian, kernel))
    shutil.copy(tree / f"boot/System.map-{debian}", target / "System.map")
    config = (tree / f"boot/config-{debian}").read_text()
    (target / "config").write_text(_config(config, kernel))
    _modules(tree / "lib/modules" / debian, target, kernel, work)
    version, release = kernel.evr
    ghosts = (
        f"%ghost %attr(0644,root,root) /lib/modules/%{{uname}}/modules.{name}"
        for name in _MADE_BY_DEPMOD
    )
    return _SPEC.format(
        name=kernel.name,
        release=kernel.release,
        version=version,
        rpm_release=release,
        ghosts="\n".join(ghosts),
        pre="exit 1" if kernel.fails == "pre" else "exit 0",
        posttrans="exit 1\n" if kernel.fails == "posttrans" else "",
    )


def _image(image: bytes, debian: str, kernel: Kernel) -> bytes:
    """The bzImage under another name, and without its entries for Xen where it is not for PV."""
    if len(debian) != len(kernel.release):
        raise KernelError(f"{debian} and {kernel.release} are not of one length")
    # All that the kernel says of itself stands in the stream as it is.
    renamed = image.replace(debian.encode(), kernel.release.encode())
    return renamed if kernel.pv else _without_entries(renamed)


def _config(text: str, kernel: Kernel) -> str:
    unset = (() if kernel.pv else _NO_PV) + (() if kernel.frontends else _NO_FRONTENDS)
    for name in unset:
        text, count = re.subn(rf"(?m)^CONFIG_{name}=.$", f"# CONFIG_{name} is not set", text)
        if not count:
            raise KernelError(f"Debian's kernel has no CONFIG_{name}")
    return text


def _modules(source: Path, target: Path, kernel: Kernel, work: Path) -> None:
    dependencies = dict(_dependencies((source / "modules.dep").read_text()))
    left_out = () if kernel.frontends else _FRONTENDS
    core = _closure([name for name in _CORE if name not in left_out], dependencies)
    more = _closure(_MORE, dependencies) - core
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, target / name)
    for part, paths in (("modules-core", core), ("modules", more)):
        for path in paths:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, target / path)
        directories = {str(parent) for path in paths for parent in Path(path).parents}
        lines = [f"%dir /lib/modules/{kernel.release}/{name}" for name in directories - {"."}]
        lines += [f"/lib/modules/{kernel.release}/{path}" for path in paths]
        (work / f"{part}.list").write_text("\n".join(sorted(lines)) + "\n")


def _dependencies(text: str) -> Iterator[tuple[str, list[str]]]:
    """modules.dep(5): a module, and all that it needs; by path below the directory."""
    for line in text.splitlines():
        path, _, needed = line.partition(":")
        yield path, needed.split()


def _closure(names: Iterable[str], dependencies: dict[str, list[str]]) -> set[str]:
    """The paths of these modules and of what they need."""
    by_name = {Path(path).stem.replace("-", "_"): path for path in dependencies}
    paths = {by_name[name] for name in names}
    return paths | {needed for path in paths for needed in dependencies[path]}


def _without_entries(image: bytes) -> bytes:
    """The same bzImage, where the types of the notes ENTRY and PHYS32_ENTRY are none of Xen's.

    Some dozens of bytes of the BTF behind them, which the stream copies from these two, change with
    them: the kernel's description of its types for BPF is damaged, its code is not.
    """
    start, end = _payload(image)
    kernel = _unpacked(image[start:end])
    edited = bytearray(image)
    for kind in (_ENTRY, _PHYS32_ENTRY):
        # An ELF note: the sizes of its name and of its content (an address), its type, its name.
        note = kernel.find(struct.pack("<III", 4, 8, kind) + b"Xen\0")
        if note < 0:
            raise KernelError(f"Debian's kernel has no note of type {kind} for Xen")
        edited[_literal(image, start, note + 8)] = _NO_NOTE
    if _unpacked(bytes(edited[start:end])).count(b"Xen\0") != kernel.count(b"Xen\0"):
        raise KernelError("another part of the kernel repeats what was changed")
    return bytes(edited)


def _payload(image: bytes) -> tuple[int, int]:
    """Where in the bzImage its LZ4 stream lies (Linux Documentation/arch/x86/boot.rst)."""
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1F1] + 1) * 512 + offset
    return start, start + length - 4  # behind it, the size of what it unpacks to


def _unpacked(stream: bytes) -> bytes:
    return subprocess.run(["lz4", "-dc"], input=stream, check=True, stdout=subprocess.PIPE).stdout


def _literal(image: bytes, stream: int, position: int) -> int:
    """Where in the image the byte stands that is at this position of what the stream unpacks to."""
    at = stream + len(_MAGIC)
    for _ in range(position // _BLOCK):
        at += 4 + int(struct.unpack_from("<I", image, at)[0])
    (size,) = struct.unpack_from("<I", image, at)
    for unpacked, packed, length in _literals(image, at + 4, at + 4 + size):
        if unpacked <= position % _BLOCK < unpacked + length:
            return packed + position % _BLOCK - unpacked
    raise KernelError("the byte to change is a copy of an earlier one")


def _literals(image: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The runs of bytes that a block has as they are: unpacked offset, place in the image, length.

    Source: LZ4's doc/lz4_Block_format.md. Each sequence: a token, literals, then a copy (two bytes
    of offset) of four bytes at least, which the last one has not.
    """
    unpacked = 0
    while at < end:
        token = image[at]
        length, at = _length(image, token >> 4, at + 1)
        yield unpacked, at, length
        unpacked, at = unpacked + length, at + length
        if at < end:
            length, at = _length(image, token & 15, at + 2)
            unpacked += length + 4


def _length(image: bytes, length: int, at: int) -> tuple[int, int]:
    """A length of 15 goes on in the bytes that follow, up to one that is not 255."""
    if length < 15:
        return length, at
    while image[at] == 255:
        length, at = length + 255, at + 1
    return length + image[at], at + 1
