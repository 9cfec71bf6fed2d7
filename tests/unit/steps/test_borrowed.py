"""An initrd made of another kernel's: which one, with which modules, and when it is useless."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit import building
from tests.unit.building import REDHAT, SDA, SUSE, guest, ids, kernel, kinds, said

from pvprep import plan as plans
from pvprep.changes import BuildInitrd, PlaceKernel
from pvprep.facts import Facts, InitrdProof, Kernel, Mount, Offer, Space
from pvprep.findings import Level
from pvprep.options import Options
from pvprep.plan import Plan
from pvprep.pygrub import Pick
from pvprep.report import headline

V = "6.1.0-99-amd64"
OLD, OLDER = "4.19.0-2-686", "4.19.0-1-686"
NAMES = frozenset(
    {"xen_blkfront", "xen_netfront", "ext4", "crc32c_generic", "dm_mod", "dm_crypt", "usbhid"}
)
UNABLE = kernel(OLD, pv=False, builtin=frozenset({"usbhid", "fat"}))
NEW = kernel(V, initrd="", modules=NAMES)
START = b"RESOLVED_INITRD_MODULES='thermal piix'\n"
FLAT = {"files": {"init": b"#!/bin/nash\ninsmod /lib/ext3.ko\n"}}
SCRIPTS = {"files": {"config/start.sh": START}}


def proof(version: str = OLD, **more: Any) -> InitrdProof:
    """An initrd of initramfs-tools with some modules for this kernel."""
    names = more.pop("modules", frozenset({"ext4", "crc32c_generic", "e1000"}))
    return dataclasses.replace(
        InitrdProof("initramfs-tools", ("zstd",), names, (version,), {version: names}), **more
    )


def facts(
    new: Kernel = NEW,
    *,
    offered: bool = True,
    kernels: tuple[Kernel, ...] = (UNABLE,),
    proofs: Mapping[str, InitrdProof] = {f"/boot/initrd.img-{OLD}": proof()},
    **more: Any,
) -> Facts:
    """A guest that has an initrd for another kernel; the new one is offered from outside, or its
    own."""
    offer = Offer(new, "/srv", f"/usr/lib/modules/{V}", {new.image: "0"}, boot_size=9 << 20)
    made = guest(kernels=kernels if offered else (*kernels, new), **more)
    return dataclasses.replace(made, initrds=proofs, offers=(offer,) if offered else ())


def plan(found: Facts) -> Plan:
    return plans.make(found, Options(kernel_from="/srv", initrd="append"))


def build(found: Plan) -> BuildInitrd:
    (change,) = kinds(found, BuildInitrd)
    assert change.adds
    return change  # type: ignore[no-any-return]


@pytest.mark.parametrize("offered", [True, False])
def test_a_kernel_without_an_initrd_gets_one_of_another_s(offered: bool) -> None:
    found = plan(facts(offered=offered))
    change = build(found)
    assert change.adds
    assert (change.path, change.version) == (f"/boot/initrd.img-{V}", V)
    assert change.adds.base == f"/boot/initrd.img-{OLD}"
    assert change.adds.modules == (
        "xen-blkfront", "xen-netfront", "ext4", "crc32c_generic", "usbhid",
    )  # fmt: skip
    assert dict(change.adds.files)["conf/modules"] == b"xen-blkfront\nxen-netfront\n"
    assert change.why == (
        f"{V} has no initrd",
        f"/boot/initrd.img-{V} made of /boot/initrd.img-{OLD} and 5 modules of {V}",
    )
    assert headline(change).startswith(f"make /boot/initrd.img-{V} of /boot/initrd.img-{OLD} and")
    assert [type(one) for one in found.changes if isinstance(one, (PlaceKernel, BuildInitrd))] == (
        [PlaceKernel, BuildInitrd] if offered else [BuildInitrd]
    )
    assert isinstance(found.pick, Pick)
    assert found.pick.initrd == f"/boot/initrd.img-{V}"


def test_it_is_that_of_the_newest_of_which_one_can_be_made() -> None:
    paths = [f"/boot/initrd.img-{version}" for version in (OLDER, OLD)]
    older = kernel(OLDER, pv=False)
    both = {"kernels": (older, UNABLE), "proofs": {one: proof() for one in paths}}
    change = build(plan(facts(**both)))  # type: ignore[arg-type]
    assert change.adds and change.adds.base == paths[1]
    both["proofs"] = {paths[0]: proof(OLDER), paths[1]: proof(kind="dracut")}
    change = build(plan(facts(**both)))  # type: ignore[arg-type]
    assert change.adds and change.adds.base == paths[0]


@pytest.mark.parametrize(
    ("tool", "more", "new", "why"),
    [
        ("initramfs-tools", {"problem": "it is cut off"}, {}, "it is cut off"),
        ("initramfs-tools", {"kind": "dracut"}, {}, "was not made by initramfs-tools"),
        ("mkinitrd", {"kind": "mkinitrd", **FLAT}, {}, "loads modules by their files"),
        ("initramfs-tools", {}, {"config": {"RD_ZSTD": "n"}}, f"{V} does not unpack zstd"),
        ("initramfs-tools", {}, {"version": "5.4.0-9"}, "5.4.0-9 does not unpack zstd"),
    ],
)
def test_none_is_made_where_that_would_not_be_unpacked_or_not_run(
    tool: str, more: Any, new: Any, why: str
) -> None:
    proofs = {f"/boot/initrd.img-{OLD}": proof(**more)}
    known = facts(dataclasses.replace(NEW, **new), proofs=proofs, initrd_tool=tool)
    if tool == "mkinitrd":
        known = dataclasses.replace(known, distro=REDHAT)
    found = plan(known)
    finding = said(found, "initrd.nothing-to-append-to")
    assert finding.level is Level.ERROR
    assert finding.evidence.startswith(f"/boot/initrd.img-{OLD}: ")
    assert why in finding.evidence
    assert "--initrd rebuild" in finding.remedy
    assert kinds(found, BuildInitrd) == []


def test_what_the_kernel_says_of_itself_counts_more_than_its_version() -> None:
    able = dataclasses.replace(NEW, version="5.4.0-9", config={"XEN_PV": "y", "RD_ZSTD": "y"})
    assert build(plan(facts(able))).version == "5.4.0-9"


@pytest.mark.parametrize(
    ("lacks", "mount", "inside", "lost"),
    [
        ("ext4", {}, {"ext4"}, "ext4"),
        ("ext4", {"fstype": "ext3"}, {"ext3"}, "ext3 or ext4"),
        ("dm_crypt", {"kind": "crypt"}, {"dm_crypt"}, "dm_crypt"),
        ("dm_crypt", {"kind": "lvm"}, {"dm_mod", "dm_crypt"}, "dm_crypt"),
        ("dm_mod", {"kind": "lvm"}, {"dm_mod"}, "dm_mod"),
    ],
)
def test_a_kernel_that_cannot_mount_the_root_is_refused(
    lacks: str, mount: Any, inside: set[str], lost: str
) -> None:
    root = Mount(**{"target": "/", "device": "/dev/sda1", "fstype": "ext4",
                    "parts": ("sda1",), **mount})  # fmt: skip
    proofs = {f"/boot/initrd.img-{OLD}": proof(modules=frozenset(inside))}
    new = dataclasses.replace(NEW, modules=NAMES - {lacks})
    found = plan(facts(new, proofs=proofs, mounts=[root]))
    finding = said(found, "initrd.no-root")
    assert finding.level is Level.ERROR
    assert finding.message == f"{V} has no {lost}, which / needs: no initrd would find it"
    assert OLD in finding.evidence and "nor built in" in finding.evidence
    assert kinds(found, BuildInitrd) == []
    built_in = dataclasses.replace(new, builtin=frozenset({lacks}))
    assert "initrd.no-root" not in ids(plan(facts(built_in, proofs=proofs, mounts=[root])))


def test_what_another_kernel_has_built_in_is_a_module_here() -> None:
    """And what lies below / is there whatever the survey saw of it."""
    root = Mount("/", "/dev/mapper/x", "ext4", kind="lvm", parts=("sda1",))
    proofs = {f"/boot/initrd.img-{OLD}": proof(modules=frozenset())}
    builtin = dataclasses.replace(UNABLE, builtin=frozenset({"ext4", "dm_mod"}))
    change = build(plan(facts(kernels=(builtin,), proofs=proofs, mounts=[root])))
    assert change.adds
    assert set(change.adds.modules[2:]) == {"dm_crypt", "dm_mod", "ext4"}


def test_suse() -> None:
    image = f"/boot/initrd-{OLD}"
    one = dataclasses.replace(UNABLE, initrd=image)
    proofs = {image: proof(kind="mkinitrd", compression=("gzip",), **SCRIPTS)}
    change = build(plan(facts(
        kernels=(one,), proofs=proofs, distro=SUSE, initrd_tool="mkinitrd-suse"
    )))  # fmt: skip
    assert change.path == f"/boot/initrd-{V}"
    assert change.adds and not change.adds.flat
    listed = b"RESOLVED_INITRD_MODULES='xen-blkfront xen-netfront thermal piix'\n"
    assert dict(change.adds.files)["config/start.sh"] == listed


@pytest.mark.parametrize(("free", "full"), [(70, True), (90, False)])
def test_it_has_to_find_room(free: int, full: bool) -> None:
    spaces = {"/boot": Space("/boot", free << 20, 99999)}
    known = facts(spaces=spaces)
    known = dataclasses.replace(
        known, boot_files={**known.boot_files, f"/boot/initrd.img-{OLD}": 20 << 20}
    )
    assert ("boot.full" in ids(plan(known))) == full


def test_an_initrd_that_lacks_the_root_s_driver_is_not_right() -> None:
    one = kernel(modules=frozenset({"xen_blkfront", "xen_netfront", "ext4"}))
    names = frozenset({"xen_blkfront", "xen_netfront"})
    known = building.guest(kernels=[one], disks=[SDA])
    whole = InitrdProof("initramfs-tools", ("gzip",), names, (one.version,), {one.version: names},
                        preload=("xen_blkfront", "xen_netfront"))  # fmt: skip
    known = dataclasses.replace(known, initrds={one.initrd: whole})
    (change,) = kinds(plans.make(known, Options()), BuildInitrd)
    assert "lacks ext4, which mounts /" in change.why[0]


def test_the_modules_of_other_kernels_do_not_count() -> None:
    names = frozenset({"a", "b"})
    found = InitrdProof(modules=names | {"c"}, by_version={"1": names, "2": frozenset({"b"})})
    assert found.loadable("1") == {"a", "b", "c"}
    assert found.loadable("2") == {"b", "c"}
    assert found.loadable("3") == {"c"}
