"""What is put behind an initrd, for every builder; and when nothing can be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.building import (
    DRACUT_OPTIONS,
    REDHAT,
    SUSE,
    VERSION,
    XENLINUX,
    guest,
    ids,
    kernel,
    kinds,
    plan,
    said,
)

from pvprep.changes import Additions, BuildInitrd
from pvprep.facts import Facts, File, InitrdProof
from pvprep.findings import Level
from pvprep.plan import Plan

IMAGE = f"/boot/initrd.img-{VERSION}"
NASH = b"#!/bin/nash\ninsmod /lib/ext3.ko\nresume /dev/sda2\nmkrootdev -t ext3 /dev/sda1\n"
START = b"[ \"$RESOLVED_INITRD_MODULES\" ] || RESOLVED_INITRD_MODULES='thermal piix'\n"


def facts(tool: str, files: Mapping[str, bytes], proof: Any = None, **more: Any) -> Facts:
    """A guest whose initrd lacks all, with these files in it."""
    kind = "mkinitrd" if tool == "mkinitrd-suse" else tool
    known = InitrdProof(kind=kind, compression=("gzip",), versions=(VERSION,), files=files)
    known = dataclasses.replace(known, **(proof or {}))
    made = guest(initrd_tool=tool, **more)
    return dataclasses.replace(made, initrds={one.initrd: known for one in made.kernels})


def adds(planned: Plan) -> Additions:
    (build,) = kinds(planned, BuildInitrd)
    assert build.adds
    return build.adds  # type: ignore[no-any-return]


def append(*arguments: Any, **more: Any) -> Plan:
    return plan(facts(*arguments, **more), initrd="append")


def test_by_default_it_is_built() -> None:
    (build,) = kinds(plan(facts("initramfs-tools", {})), BuildInitrd)
    assert build.adds is None


def test_initramfs_tools() -> None:
    old = {
        "conf/modules": b"# none\next4\n",
        "conf/conf.d/resume": b"RESUME=/dev/sda2\n",
        "conf/initramfs.conf": b"MODULES=dep\nRESUME=UUID=1\n",
        "cryptroot/crypttab": b"x /dev/sda3 none luks\n",
    }
    found = adds(append("initramfs-tools", old))
    assert (found.modules, found.flat) == (("xen-blkfront", "xen-netfront"), False)
    files = dict(found.files)
    assert files["conf/modules"] == b"# none\nxen-blkfront\nxen-netfront\next4\n"
    assert files["conf/conf.d/resume"] == b"RESUME=/dev/xvda2\n"
    assert files["cryptroot/crypttab"] == b"x /dev/xvda3 none luks\n"
    assert "conf/initramfs.conf" not in files
    assert b'SYMLINK+="xvda"' in files["etc/udev/rules.d/59-pvprep-names.rules"]


@pytest.mark.parametrize(
    ("fstype", "inside", "more"),
    [
        ("xfs", {"ext4"}, ("xfs",)), ("xfs", {"xfs"}, ()), ("ext3", {"ext4"}, ()),
        ("ext3", {"xfs"}, ("ext4",)), ("vfat", {"xfs"}, ()),
    ],
)  # fmt: skip
def test_the_driver_of_the_root_file_system_comes_where_it_lacks(
    fstype: str, inside: set[str], more: tuple[str, ...]
) -> None:
    """A kernel without vfat has it built in, for all that is known."""
    modules = frozenset({"xen_blkfront", "xen_netfront", "xfs", "ext4"})
    found = facts(
        "initramfs-tools", {"conf/modules": b""}, {"modules": frozenset(inside)},
        kernels=[kernel(modules=modules)],
    )  # fmt: skip
    mounts = [dataclasses.replace(one, fstype=fstype) for one in found.mounts if one.target == "/"]
    planned = plan(dataclasses.replace(found, mounts=tuple(mounts)), initrd="append")
    assert adds(planned).modules == ("xen-blkfront", "xen-netfront", *more)


def test_names_of_network_cards_go_where_the_hook_of_udev_puts_them() -> None:
    old = {"usr/lib/systemd/network/99-default.link": b"", "conf/modules": b""}
    files = dict(adds(append("initramfs-tools", old)).files)
    (name,) = [path for path in files if path.endswith(".link")]
    assert name.startswith("usr/lib/systemd/network/10-pvprep-")
    assert b"MACAddress=" in files[name]
    without = dict(adds(append("initramfs-tools", {"conf/modules": b""})).files)
    assert not [path for path in without if path.endswith(".link")]


def test_dracut() -> None:
    old = {
        "etc/cmdline.d/95resume.conf": b" resume=/dev/sda2 \n",
        "etc/cmdline.d/20-force_drivers.conf": b"rd.driver.pre=other\n",
        "etc/cmdline.d/95root-dev.conf": b" root=UUID=1 \n",
        "lib/dracut/hooks/initqueue/finished/devexists-x.sh": b'[ -e "/dev/sda2" ]\n',
    }
    more = {"initrd_options": DRACUT_OPTIONS} if DRACUT_OPTIONS else {}
    files = dict(adds(append("dracut", old, **more)).files)
    assert files["etc/cmdline.d/95resume.conf"] == b" resume=/dev/xvda2 \n"
    assert files["etc/cmdline.d/20-force_drivers.conf"] == (
        b"rd.driver.pre=xen-blkfront\nrd.driver.pre=xen-netfront\nrd.driver.pre=other\n"
    )
    assert files["lib/dracut/hooks/initqueue/finished/devexists-x.sh"] == b'[ -e "/dev/xvda2" ]\n'
    assert "etc/cmdline.d/95root-dev.conf" not in files


def test_nash() -> None:
    found = adds(append("mkinitrd", {"init": NASH}, distro=REDHAT, kernels=[XENLINUX]))
    assert (found.modules, found.flat) == (("xenblk", "xennet"), True)
    ((path, init),) = found.files
    assert path == "init"
    assert init.index(b"insmod /lib/xennet.ko\n") < init.index(b"insmod /lib/ext3.ko\n")
    assert b"resume /dev/hda2\nmkrootdev -t ext3 /dev/hda1\n" in init


@pytest.mark.parametrize("more", [{}, {"run_all.sh": START}])
def test_suse(more: Mapping[str, bytes]) -> None:
    old = {"config/start.sh": START, "config/storage.sh": b"rootdev='/dev/sda1'\n", **more}
    files = dict(adds(append("mkinitrd-suse", old, distro=SUSE, kernels=[XENLINUX])).files)
    listed = START.replace(b"'thermal", b"'xenblk xennet thermal")
    assert files["config/start.sh"] == listed
    assert files["config/storage.sh"].rstrip() == b"rootdev='/dev/hda1'"
    assert files.get("run_all.sh") == (listed if more else None)


def test_drivers_that_are_there_or_built_in_are_not_added() -> None:
    there = {"modules": frozenset({"xen_blkfront", "xen_netfront"})}
    assert adds(append("initramfs-tools", {"conf/modules": b""}, there)).modules == ()
    builtin = frozenset({"xen_blkfront", "xen_netfront"})
    found = append("initramfs-tools", {}, kernels=[kernel(builtin=builtin)])
    assert not [one for one in kinds(found, BuildInitrd) if one.adds and one.adds.modules]


def test_the_frontends_of_another_kernel_do_not_count() -> None:
    other = {"modules": frozenset({"xen_blkfront", "xen_netfront"}), "versions": ("5.10.0-1",)}
    assert adds(append("initramfs-tools", {}, other)).modules == ("xen-blkfront", "xen-netfront")


@pytest.mark.parametrize(
    ("tool", "files", "proof", "why"),
    [
        ("initramfs-tools", {}, {"problem": "it is cut off"}, "it is cut off"),
        ("initramfs-tools", {}, {"kind": "dracut"}, "not made by initramfs-tools"),
        ("mkinitrd", {"init": b"#!/bin/sh\nmodprobe x\n"}, {}, "not a script of nash"),
        ("mkinitrd-suse", {"config/start.sh": b""}, {}, "RESOLVED_INITRD_MODULES"),
    ],
)
def test_what_cannot_be_extended_is_an_error_that_names_the_other_way(
    tool: str, files: Mapping[str, bytes], proof: Any, why: str
) -> None:
    found = append(tool, files, proof)
    finding = said(found, "initrd.not-appendable")
    assert (finding.level, finding.where) == (Level.ERROR, IMAGE)
    assert why in finding.evidence
    assert "--initrd rebuild" in finding.remedy
    assert kinds(found, BuildInitrd) == []


@pytest.mark.parametrize(("version", "able"), [("5.4.0-1", False), ("6.1.0-1", True)])
def test_behind_lz4_only_newer_kernels_read_on(version: str, able: bool) -> None:
    found = append(
        "initramfs-tools", {}, {"compression": ("none", "lz4")}, kernels=[kernel(version)]
    )
    assert ("initrd.not-appendable" not in ids(found)) == able


def test_without_an_initrd_there_is_nothing_to_append_to() -> None:
    found = plan(guest(kernels=[kernel(initrd="")]), initrd="append")
    finding = said(found, "initrd.nothing-to-append-to")
    assert finding.message.startswith(f"{VERSION} has no initrd")
    assert "--initrd rebuild" in finding.remedy


def test_hooks_that_are_left_out_are_named() -> None:
    place = "/etc/initramfs/post-update.d"
    known = facts("initramfs-tools", {})
    hooks = {
        path: File(path, mode=mode)
        for path, mode in ((f"{place}/lilo", 0o755), (f"{place}/README", 0o644))
    }
    known = dataclasses.replace(known, files={**known.files, **hooks})
    finding = said(plan(known, initrd="append"), "initrd.hooks-left-out")
    assert finding.level is Level.WARN and finding.message.endswith(": lilo")
    assert "initrd.hooks-left-out" not in ids(plan(known))
    assert "initrd.hooks-left-out" not in ids(append("initramfs-tools", {}))
