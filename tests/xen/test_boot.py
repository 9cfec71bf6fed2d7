"""What pvprep prepares boots under a real Xen; what it has not prepared does not.

All guests of this file are Debian 12 on an MBR disk, as an HVM installation leaves it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.guests import chroot, debs, images, roots
from tests.xen import cases, convert, facts, lab, proof
from tests.xen.cases import MBR, Built
from tests.xen.expect import assert_down, assert_picked, assert_told, assert_up


@pytest.fixture(scope="module")
def prepared() -> Iterator[Built]:
    """The guest that several tests boot; none of them writes to it."""
    parent = roots.CACHE.parent / "run"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        yield cases.build(MBR, Path(directory))


@pytest.mark.xen_all  # test_whole_way.py has one for every run
def test_prepared_guest_boots_as_pv(prepared: Built, tmp_path: Path) -> None:
    result = lab.boot(prepared.disk, prepared.config, tmp_path)
    assert_up(result, MBR)
    assert_picked(result, prepared.promise, prepared.boot)
    assert_told(result, prepared.promise)
    proof.leave(10, MBR.name, "PV, pygrub", result)


@pytest.mark.xen
def test_unprepared_guest_does_not_boot_as_pv(space: Path, tmp_path: Path) -> None:
    built = cases.build(MBR, space, prepared=False)
    result = lab.boot(built.disk, built.config, tmp_path)
    # pygrub and the kernel did their part: it is the disk that is not there.
    assert_down(result, MBR.lost)
    assert_picked(result, built.promise, built.boot)
    proof.leave(80, MBR.name, "PV, not prepared", result)


@pytest.mark.xen_all
def test_prepared_guest_without_the_disk_driver_in_its_initrd(
    prepared: Built, space: Path, tmp_path: Path
) -> None:
    root = space / "root"
    subprocess.run(["cp", "-a", prepared.root, root], check=True)
    # The one that the installation left: for the emulated hardware alone.
    initrd = next((root / "boot").glob("initrd.img-*"))
    with tarfile.open(roots.build_profile(MBR.profile)) as tar:
        tar.extract(f"./boot/{initrd.name}", root)
    assert _changes_to_make(root) == {"initrd"}
    disk = space / "disk.img"
    images.mbr(root, disk)
    result = lab.boot(disk, prepared.config, tmp_path)
    assert_down(result, "ALERT!  /dev/xvda1 does not exist.")
    assert_picked(result, prepared.promise, root)
    proof.leave(81, MBR.name, "PV, prepared, but no xen-blkfront in the initrd", result)


@pytest.mark.xen_all
def test_prepared_guest_boots_as_pvh(prepared: Built, tmp_path: Path) -> None:
    config = _config(prepared, tmp_path, "--type", "pvh")
    result = lab.boot(prepared.disk, config, tmp_path)
    assert_up(result, MBR, "PVH")
    assert_picked(result, prepared.promise, prepared.boot)
    assert_told(result, prepared.promise)
    proof.leave(13, MBR.name, "PVH, pygrub", result)


@pytest.mark.xen_all
def test_prepared_guest_boots_by_pvgrub(prepared: Built, tmp_path: Path) -> None:
    config = _config(prepared, tmp_path, "--bootloader", "pvgrub")
    result = lab.boot(prepared.disk, config, tmp_path)
    assert_up(result, MBR)
    assert result.pygrub == {}
    assert_told(result, prepared.promise)
    proof.leave(11, MBR.name, "PV, GRUB in the domain (grub-xen-host)", result)


@pytest.mark.xen_all
def test_prepared_guest_boots_with_the_kernel_in_dom0(prepared: Built, tmp_path: Path) -> None:
    config = _config(prepared, tmp_path, "--bootloader", "direct")
    promise = prepared.promise
    assert isinstance(promise, convert.Promise) and promise.initrd
    files = {
        f"/REPLACE-ME/{Path(path).name}": prepared.taken(path)
        for path in (promise.kernel, promise.initrd)
    }
    result = lab.boot(prepared.disk, config, tmp_path, files=files)
    assert_up(result, MBR)
    assert result.pygrub == {}
    assert_told(result, promise)
    proof.leave(12, MBR.name, "PV, kernel and initrd in dom0", result)


@pytest.mark.xen_all
def test_each_boot_as_pv_is_recorded_by_the_guest(space: Path, tmp_path: Path) -> None:
    root = space / "root"
    roots.unpack(roots.build_profile(replace(MBR.profile, python=True)), root)
    facts.install(root)
    shutil.copy(debs.build(), root / "root/pvprep.deb")
    chroot.run(root, ["dpkg", "-i", "/root/pvprep.deb"])
    convert.emit(root, tmp_path / "bifit.cfg")
    promise = convert.promised(root)
    images.mbr(root, space / "disk.img")
    domain = lab.Domain((tmp_path / "bifit.cfg").read_text())
    results = lab.run(
        {lab.BACKEND: space / "disk.img"}, [domain, domain], tmp_path, snapshot=False
    )
    for count, result in enumerate(results, 1):
        assert_up(result, MBR)
        assert_picked(result, promise, root)
        assert_told(result, promise)
        assert result.facts and result.facts.status
        assert result.facts.status["runs_as"] == "xen-pv"
        boots = result.facts.status["boots"]
        assert [boot["up"] for boot in boots] == [True] * count
        last = boots[-1]
        (nic,) = result.facts.nics
        assert (last["as"], last["root"], last["console"]) == ("pv", "/dev/xvda1", "hvc0")
        assert last["network"] == {"ens3": [nic.address.partition("/")[0]]}
    assert len(results) == 2
    proof.leave(14, MBR.name, "PV, the second boot; both recorded by the guest", results[1])


def _config(prepared: Built, work: Path, *options: str) -> Path:
    """The prepared guest's config for another way to boot."""
    config = work / "bifit.cfg"
    convert.emit(prepared.root, config, *options, verb="config")
    return config


def _changes_to_make(root: Path) -> set[str]:
    """The steps by which `pvprep check` holds a tree for not ready."""
    document = json.loads(convert.run(root, "check", "--json", status=1))
    assert not document["ready"]
    return {change["step"] for change in document["changes"]}
