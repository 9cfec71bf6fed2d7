"""Kernels to be taken from outside: as a root, as Enterprise Linux has them, as packages."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from tests.unit.survey.synthetic import LINUX_PV, LINUX_PVH, bzimage, elf, notes

V = "6.1.0-99-amd64"
MODULES = f"lib/modules/{V}"
CONFIG = b"CONFIG_XEN=y\nCONFIG_XEN_PV=y\n"
TIME = 1_700_000_000


def image(version: str = V, pv: bool = True, bits: int = 64) -> bytes:
    """A kernel's image."""
    content = notes({**LINUX_PV, **LINUX_PVH}) if pv else b""
    return bzimage(elf(content, bits=bits), version=f"{version} (nobody) #1 SMP")


def files(version: str = V, **more: bool) -> dict[str, bytes]:
    """A kernel as Debian's packages have it, by name; its modules are none, in form."""
    drivers = f"lib/modules/{version}/kernel/drivers"
    return {
        f"boot/vmlinuz-{version}": image(version, **more),
        f"boot/config-{version}": CONFIG,
        f"boot/System.map-{version}": b"ffffffff B here\n",
        f"{drivers}/block/xen-blkfront.ko": b"block",
        f"{drivers}/net/xen-netfront.ko": b"net",
        f"lib/modules/{version}/modules.order": b"kernel/drivers/block/xen-blkfront.ko\n",
        f"lib/modules/{version}/modules.builtin": b"kernel/fs/ext4/ext4.ko\n",
        f"lib/modules/{version}/modules.builtin.modinfo": b"",
    }


def in_modules(version: str = V) -> dict[str, bytes]:
    """The same as Enterprise Linux has it: all with the modules, in /usr."""
    found = {}
    for name, content in files(version).items():
        what = name[len("boot/") : -len(version) - 1]
        name = f"lib/modules/{version}/{what}" if name.startswith("boot/") else name
        found[f"usr/{name}"] = content
    return found


def root(place: Path, content: Mapping[str, bytes]) -> Path:
    """As a directory, with the links that packages have, and an old time."""
    for name, data in content.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
        os.utime(place / name, (TIME, TIME))
    for modules in place.glob("**/lib/modules/*"):
        os.symlink("/usr/src/linux-headers", modules / "build")
        os.symlink("xen-blkfront.ko", modules / "kernel/drivers/block/alias.ko")
        os.symlink("../../../../etc/shadow", modules / "kernel/out.ko")
        (modules / "modules.dep").write_bytes(b"stale")
    return place


def deb(place: Path, content: Mapping[str, bytes]) -> Path:
    """As a Debian package whose scripts would be noticed."""
    tree = root(place.with_suffix(".tree"), content)
    (tree / "DEBIAN").mkdir()
    text = "Package: k\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.org>\n"
    (tree / "DEBIAN/control").write_text(f"{text}Description: a kernel\n")
    for script in ("preinst", "postinst"):
        (tree / "DEBIAN" / script).write_text(f"#!/bin/sh\ntouch {place}.{script}\n")
        (tree / "DEBIAN" / script).chmod(0o755)
    command = ["dpkg-deb", "--root-owner-group", "-b", tree, place]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return place


def hostile_deb(place: Path, members: Sequence[tarfile.TarInfo]) -> Path:
    """A package of a good kernel and of members that dpkg-deb(1) would not build."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files().items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in members:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    control = io.BytesIO()
    with tarfile.open(fileobj=control, mode="w:gz"):
        pass
    parts = (("debian-binary", b"2.0\n"), ("control.tar.gz", control.getvalue()),
             ("data.tar.gz", data.getvalue()))  # fmt: skip
    with place.open("wb") as out:  # ar(5)
        out.write(b"!<arch>\n")
        for name, content in parts:
            out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            out.write(content + b"\n" * (len(content) % 2))
    return place


def info(name: str, kind: Optional[bytes] = None, target: str = "") -> tarfile.TarInfo:
    """A member of a hostile package."""
    found = tarfile.TarInfo(name)
    found.type = kind or tarfile.REGTYPE
    found.size = 0 if kind else 1
    found.linkname = target
    return found


SPEC = """\
%define __os_install_post %{{nil}}
%define debug_package %{{nil}}
Name: {name}
Version: 1
Release: 1
Summary: a kernel
License: GPL-2.0-only
AutoReqProv: no
%description
A kernel.
%install
cp -a {tree}/. %{{buildroot}}
%post
touch {tree}.post
%files
{names}
"""


def rpm(place: Path, content: Mapping[str, bytes]) -> Path:
    """As an RPM package, built by rpmbuild."""
    tree = root(place.with_suffix(".tree"), content)
    names = "".join(
        f"/{path.relative_to(tree)}\n"
        for path in sorted(tree.rglob("*"))
        if path.is_symlink() or path.is_file()
    )
    top = place.with_suffix(".build")
    top.mkdir()
    spec = top / "k.spec"
    spec.write_text(SPEC.format(name=place.stem, tree=tree, names=names))
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}", spec]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = top.glob("RPMS/*/*.rpm")
    built.rename(place)
    return place
