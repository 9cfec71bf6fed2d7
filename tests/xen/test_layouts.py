"""Guests with other disks, boot loaders and user spaces, prepared and booted under a real Xen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.guests import hostapt, images, profiles, roots
from tests.guests.profiles import Profile
from tests.xen import convert, facts, lab, layouts
from tests.xen.convert import Promise
from tests.xen.expect import assert_picked, assert_told, assert_up
from tests.xen.lab import Result
from tests.xen.layouts import Names

pytestmark = pytest.mark.xen_all


def test_boot_apart_on_gpt_by_uuid(space: Path, tmp_path: Path) -> None:
    root, boot, promise = _prepared_with_boot_apart(space, profiles.BOOKWORM, layouts.BY_UUID)
    images.boot_apart(root, boot, space / "disk.img")
    result = _assert_boots(space, tmp_path, boot, promise)
    assert result.facts and result.facts.root == "/dev/xvda3 ext4"
    assert result.facts.swap == ("/dev/xvda4",)


def test_xfs_root(space: Path, tmp_path: Path) -> None:
    profile = replace(profiles.BOOKWORM, extra=("xfsprogs",))
    root, boot, promise = _prepared_with_boot_apart(space, profile, layouts.XFS)
    images.boot_apart(root, boot, space / "disk.img", xfs=True)
    result = _assert_boots(space, tmp_path, boot, promise)
    assert result.facts and result.facts.root == "/dev/xvda3 xfs"


def test_lvm_root(space: Path, tmp_path: Path) -> None:
    profile = replace(profiles.BOOKWORM, extra=("lvm2",))
    root, boot, promise = _prepared_with_boot_apart(space, profile, layouts.LVM)
    images.lvm(root, boot, space / "disk.img")
    result = _assert_boots(space, tmp_path, boot, promise)
    assert result.facts and result.facts.root == "/dev/mapper/vg-root ext4"
    assert result.facts.swap == ("/dev/dm-1",)


def test_stale_menu_on_the_first_partition_is_what_pygrub_takes(
    space: Path, tmp_path: Path
) -> None:
    root, boot, _promise = _prepared_with_boot_apart(space, profiles.BOOKWORM, layouts.BY_UUID)
    # Left from before /boot became a partition of its own; hidden under it ever since.
    (root / "boot/grub").mkdir()
    menu = (boot / "grub/grub.cfg").read_text().replace("/vmlinuz-", "/boot/vmlinuz-0")
    (root / "boot/grub/grub.cfg").write_text(menu)
    images.boot_apart(root, boot, space / "disk.img", root_first=True)
    result = lab.boot(space / "disk.img", space / "bifit.cfg", tmp_path)
    assert not result.up and result.pygrub == {} and result.console == ""
    assert result.error.startswith("Error opening /boot/vmlinuz-0")


def test_32_bit_user_space_gets_a_64_bit_kernel(space: Path, tmp_path: Path) -> None:
    root = _tree(space, profiles.BOOKWORM_I386)
    with hostapt.online(root):
        promise = convert.convert(root, space / "bifit.cfg")
    images.mbr(root, space / "disk.img")
    result = _assert_boots(space, tmp_path, root, promise)
    assert result.facts and result.facts.arch == "x86_64"
    assert result.facts.root == "/dev/xvda1 ext4"


def test_grub_legacy(space: Path, tmp_path: Path) -> None:
    root = _tree(space, profiles.BOOKWORM)
    # The boot sector, which pygrub does not read, is the other GRUB's.
    shutil.copytree(root / "boot/grub/i386-pc", space / "i386-pc")
    layouts.grub_legacy(root)
    promise = convert.convert(root, space / "bifit.cfg")
    shutil.copytree(space / "i386-pc", root / "boot/grub/i386-pc")
    images.mbr(root, space / "disk.img")
    result = _assert_boots(space, tmp_path, root, promise)
    assert result.facts and result.facts.root == "/dev/xvda1 ext4"


def _tree(space: Path, profile: Profile) -> Path:
    """The profile's tree, with the unit that tells facts."""
    root = space / "root"
    roots.unpack(roots.build_profile(profile), root)
    facts.install(root)
    return root


def _prepared_with_boot_apart(
    space: Path, profile: Profile, names: Names
) -> tuple[Path, Path, Promise]:
    """A prepared tree, its /boot beside it, and what pvprep promised."""
    root, boot = _tree(space, profile), space / "boot"
    layouts.boot_apart(root, names)
    promise = convert.convert(root, space / "bifit.cfg")
    layouts.take_boot(root, boot)
    return root, boot, promise


def _assert_boots(space: Path, work: Path, boot: Path, promise: Promise) -> Result:
    """Boot the disk that is there; boot: the file system that pygrub takes the kernel from."""
    result = lab.boot(space / "disk.img", space / "bifit.cfg", work)
    assert_up(result, "PV")
    assert_picked(result, boot, promise)
    assert_told(result, promise)
    return result
