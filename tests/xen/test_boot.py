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
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.guests import chroot, debs, images, profiles, roots
from tests.xen import convert, facts, lab
from tests.xen.convert import Promise
from tests.xen.expect import assert_picked, assert_told, assert_up, digest


@dataclass(frozen=True)
class Prepared:
    """A prepared guest: its tree, its disk, the config that was emitted, what pygrub will take."""

    root: Path
    disk: Path
    config: Path
    promise: Promise


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    """The guest that several tests boot; none of them writes to it."""
    with tempfile.TemporaryDirectory(dir=_run_directory()) as directory:
        space = Path(directory)
        root = _tree(space)
        promise = convert.convert(root, space / "bifit.cfg")
        images.mbr(root, space / "disk.img")
        yield Prepared(root, space / "disk.img", space / "bifit.cfg", promise)


@pytest.mark.xen
def test_prepared_guest_boots_as_pv(prepared: Prepared, tmp_path: Path) -> None:
    result = lab.boot(prepared.disk, prepared.config, tmp_path)
    assert_up(result, "PV")
    assert_picked(result, prepared.root, prepared.promise)
    assert_told(result, prepared.promise)
    assert result.facts and result.facts.root == "/dev/xvda1 ext4"
    assert result.facts.swap == ("/dev/xvda2",)


@pytest.mark.xen
def test_unprepared_guest_does_not_boot_as_pv(space: Path, tmp_path: Path) -> None:
    root = _tree(space)
    images.mbr(root, space / "disk.img")
    convert.emit(root, tmp_path / "bifit.cfg", "--dry-run")
    result = lab.boot(space / "disk.img", tmp_path / "bifit.cfg", tmp_path)
    assert not result.up and not result.login and result.facts is None
    # pygrub and the kernel did their part: it is the disk that is not there.
    assert result.pygrub["kernel"] == digest(next((root / "boot").glob("vmlinuz-*")))
    assert result.error == "ALERT!  /dev/sda1 does not exist.  Dropping to a shell!"


@pytest.mark.xen_all
def test_prepared_guest_boots_as_pvh(prepared: Prepared, tmp_path: Path) -> None:
    config = _config(prepared, tmp_path, "--type", "pvh")
    result = lab.boot(prepared.disk, config, tmp_path)
    assert_up(result, "PVH")
    assert_picked(result, prepared.root, prepared.promise)
    assert_told(result, prepared.promise)
    assert result.facts and result.facts.root == "/dev/xvda1 ext4"


@pytest.mark.xen_all
def test_prepared_guest_boots_by_pvgrub(prepared: Prepared, tmp_path: Path) -> None:
    config = _config(prepared, tmp_path, "--bootloader", "pvgrub")
    result = lab.boot(prepared.disk, config, tmp_path)
    assert_up(result, "PV")
    assert result.pygrub == {}
    assert_told(result, prepared.promise)


@pytest.mark.xen_all
def test_prepared_guest_boots_with_the_kernel_in_dom0(prepared: Prepared, tmp_path: Path) -> None:
    config = _config(prepared, tmp_path, "--bootloader", "direct")
    promise = prepared.promise
    assert promise.initrd
    files = {
        f"/REPLACE-ME/{Path(path).name}": prepared.root / path.lstrip("/")
        for path in (promise.kernel, promise.initrd)
    }
    result = lab.boot(prepared.disk, config, tmp_path, files=files)
    assert_up(result, "PV")
    assert result.pygrub == {}
    assert_told(result, promise)


@pytest.mark.xen_all
def test_each_boot_as_pv_is_recorded_by_the_guest(space: Path, tmp_path: Path) -> None:
    root = space / "root"
    roots.unpack(roots.build_profile(profiles.BOOKWORM_WITH_PYTHON), root)
    facts.install(root)
    shutil.copy(debs.build(), root / "root/pvprep.deb")
    chroot.run(root, ["dpkg", "-i", "/root/pvprep.deb"])
    convert.convert(root, tmp_path / "bifit.cfg")
    images.mbr(root, space / "disk.img")
    for count in (1, 2):
        result = lab.boot(space / "disk.img", tmp_path / "bifit.cfg", tmp_path, snapshot=False)
        assert_up(result, "PV")
        assert result.facts and result.facts.status
        assert result.facts.status["runs_as"] == "xen-pv"
        boots = result.facts.status["boots"]
        assert len(boots) == count
        assert [boot["up"] for boot in boots] == [True] * count
        last = boots[-1]
        (nic,) = result.facts.nics
        assert (last["as"], last["root"], last["console"]) == ("pv", "/dev/xvda1", "hvc0")
        assert last["network"] == {"ens3": [nic.address.partition("/")[0]]}


@pytest.mark.xen_all
def test_prepared_guest_without_the_disk_driver_in_its_initrd(
    prepared: Prepared, space: Path, tmp_path: Path
) -> None:
    root = space / "root"
    subprocess.run(["cp", "-a", prepared.root, root], check=True)
    # The one that the installation left: for the emulated hardware alone.
    initrd = next((root / "boot").glob("initrd.img-*"))
    with tarfile.open(roots.build_profile(profiles.BOOKWORM)) as tar:
        tar.extract(f"./boot/{initrd.name}", root)
    assert _changes_to_make(root) == {"initrd"}
    images.mbr(root, space / "disk.img")
    result = lab.boot(space / "disk.img", prepared.config, tmp_path)
    assert not result.up and result.facts is None
    assert_picked(result, root, prepared.promise)
    assert result.error == "ALERT!  /dev/xvda1 does not exist.  Dropping to a shell!"


def _run_directory() -> Path:
    parent = roots.CACHE.parent / "run"
    parent.mkdir(parents=True, exist_ok=True)
    return parent


def _tree(space: Path) -> Path:
    """Debian 12, with the unit that tells facts."""
    root = space / "root"
    roots.unpack(roots.build_profile(profiles.BOOKWORM), root)
    facts.install(root)
    return root


def _config(prepared: Prepared, work: Path, *options: str) -> Path:
    """The prepared guest's config for another way to boot."""
    config = work / "bifit.cfg"
    convert.emit(prepared.root, config, *options, verb="config")
    return config


def _changes_to_make(root: Path) -> set[str]:
    """The steps by which `pvprep check` holds a tree for not ready."""
    document = json.loads(convert.run(root, "check", "--json", status=1))
    assert not document["ready"]
    return {change["step"] for change in document["changes"]}
