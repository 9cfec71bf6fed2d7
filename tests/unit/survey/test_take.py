"""A survey as a whole, of trees on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.unit import trees
from tests.unit.building import GRUB_CFG, ids

from pvprep import plan, survey
from pvprep.errors import PvprepError
from pvprep.facts import Facts
from pvprep.guest import Guest
from pvprep.options import Options


def take(root: Path) -> Facts:
    return survey.take(Guest(str(root)), plan.reads())


def test_a_tree_is_surveyed_and_planned_without_being_touched(tmp_path: Path) -> None:
    facts = take(trees.make(tmp_path))
    assert (facts.is_tree, facts.in_chroot, facts.has_proc, facts.has_sys) == (True, False, True,
                                                                               True)  # fmt: skip
    assert facts.distro.codename == "bookworm"
    assert facts.initrd_tool == "initramfs-tools"
    assert [disk.name for disk in facts.disks] == ["sda"]
    assert GRUB_CFG in facts.files
    assert facts.findings == ()
    assert not plan.make(facts, Options()).errors


def test_a_second_look_takes_the_files_anew_and_nothing_else(tmp_path: Path) -> None:
    root = trees.make(tmp_path)
    facts = take(root)
    (root / "etc/hostname").write_text("other\n")
    (root / "etc/fstab").write_text("# new\n")
    again = survey.take_files(Guest(str(root)), facts, plan.reads())
    assert again.text("/etc/fstab") == "# new\n"
    assert dataclasses.replace(again, files=facts.files) == facts


def test_another_distribution_is_a_finding(tmp_path: Path) -> None:
    root = trees.make(tmp_path, {"etc/os-release": "ID=void\n"})
    (root / "var/lib/dpkg/status").unlink()
    assert "distro.unknown" in ids(plan.make(take(root), Options()))


def test_a_debian_without_dpkgs_database_has_words(tmp_path: Path) -> None:
    root = trees.make(tmp_path)
    (root / "var/lib/dpkg/status").unlink()
    with pytest.raises(PvprepError, match="/var/lib/dpkg/status is missing"):
        take(root)


def test_a_large_unified_image_is_a_finding(tmp_path: Path) -> None:
    root = trees.make(tmp_path)
    for path in (root / "boot").glob("vmlinuz-*"):
        path.unlink()
    place = root / "boot/efi/EFI/Linux"
    place.mkdir(parents=True)
    with open(place / "debian.efi", "wb") as file:
        file.truncate(60 * 1024 * 1024)
    assert "kernel.esp-only" in ids(plan.make(take(root), Options()))


def test_an_empty_tree(tmp_path: Path) -> None:
    found = plan.make(take(tmp_path), Options())
    assert {"distro.unknown", "kernel.none", "bootloader.pygrub-refuses"} & set(ids(found))
    assert found.errors
