"""What pygrub will see of a draft: which volumes, in which order, with which files."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.unit.building import (
    GRUB_CFG,
    MENU_LST,
    VERSION,
    Content,
    disk,
    entry,
    grub_cfg,
    guest,
    mount,
    stanza,
)

from pvprep.changes import BuildInitrd
from pvprep.draft import Draft
from pvprep.facts import Facts
from pvprep.predict import CONFIGURATIONS, READS, guest_path, predict, volumes
from pvprep.pygrub import CONFIG_FILES, Pick, Refusal

IMAGE = f"/boot/vmlinuz-{VERSION}"


def look(facts: Facts) -> Pick | Refusal:
    return predict(Draft(facts))


def test_the_search_order_is_the_simulations() -> None:
    assert list(CONFIGURATIONS) == [path for path, _ in CONFIG_FILES]
    assert set(CONFIGURATIONS) < set(READS)
    assert "/boot/boot/grub/grub.cfg" in READS, "a link boot -> . on a /boot of its own"


def test_the_pick_is_of_the_draft_not_of_the_facts() -> None:
    facts = guest()
    draft = Draft(facts)
    draft.create("x", GRUB_CFG, grub_cfg(entry(args="root=/dev/new")), "")
    pick = predict(draft)
    assert isinstance(pick, Pick)
    assert pick.args == "root=/dev/new"
    draft.remove("x", GRUB_CFG, "")
    assert isinstance(predict(draft), Refusal)


@pytest.mark.parametrize(
    ("paths", "taken"),
    [
        ([GRUB_CFG, MENU_LST], GRUB_CFG),
        ([MENU_LST, "/boot/grub/grub.conf"], MENU_LST),
        (["/boot/grub/grub.conf"], "/boot/grub/grub.conf"),
        (["/boot/grub2/grub.cfg", MENU_LST], "/boot/grub2/grub.cfg"),
    ],
)
def test_the_first_configuration_counts(paths: list[str], taken: str) -> None:
    files: dict[str, Content] = {
        path: grub_cfg() if path.endswith("grub.cfg") else stanza() for path in paths
    }
    pick = look(guest(files, grub=False))
    assert isinstance(pick, Pick)
    assert pick.config == taken


def test_a_directory_is_no_configuration() -> None:
    from tests.unit.building import directory

    assert isinstance(look(guest({GRUB_CFG: directory(GRUB_CFG)})), Refusal)


def test_an_initrd_that_will_be_built_is_there() -> None:
    facts = guest()
    sizes = {path: size for path, size in facts.boot_files.items() if "initrd" not in path}
    facts = dataclasses.replace(facts, boot_files=sizes)
    assert isinstance(look(facts), Refusal)
    draft = Draft(facts)
    draft.build(BuildInitrd("initrd", VERSION, f"/boot/initrd.img-{VERSION}", "dracut"))
    assert isinstance(predict(draft), Pick)


TWO = disk("sda", "ext4", "ext4")


def apart(root: str, boot: str, **more: Any) -> Facts:
    return guest({GRUB_CFG: grub_cfg(entry(boot="/"))}, disks=[TWO],
                 mounts=[mount("/", root), mount("/boot", boot)], **more)  # fmt: skip


@pytest.mark.parametrize(("root", "boot"), [("sda1", "sda2"), ("sda2", "sda1")])
def test_a_boot_of_its_own_is_a_root_to_pygrub(root: str, boot: str) -> None:
    facts = apart(root, boot)
    pick = look(facts)
    assert isinstance(pick, Pick)
    assert (pick.volume, pick.config) == (f"/dev/{boot}", "/grub/grub.cfg")
    assert guest_path(facts, pick, pick.kernel) == IMAGE


def test_what_a_mount_hides_is_seen_by_pygrub() -> None:
    stale = {GRUB_CFG: grub_cfg(entry("5.10")).encode()}
    found = look(apart("sda1", "sda2", stale=stale))
    assert isinstance(found, Refusal)
    assert "vmlinuz-5.10" in found.reason


def test_a_kernel_beside_a_stale_configuration_is_not_there() -> None:
    """The names are the same, but the files lie on the other file system."""
    stale = {GRUB_CFG: grub_cfg().encode()}
    assert isinstance(look(apart("sda1", "sda2", stale=stale)), Refusal)


def test_a_bind_mount_or_subvolume_is_not_the_file_system() -> None:
    facts = guest(mounts=[mount("/", "sda1", subdir="/@")])
    found = look(facts)
    assert isinstance(found, Refusal)
    assert not found.misses[0].known


def test_only_the_first_disk_counts() -> None:
    facts = guest(disks=[disk("sda", "ext4"), disk("sdb", "ext4")], mounts=[mount("/", "sdb1")])
    assert isinstance(look(facts), Refusal)


@pytest.mark.parametrize("table", ["dos", "gpt"])
def test_logical_partitions_are_seen_on_gpt_only(table: str) -> None:
    many = disk("sda", *["ext4"] * 6, table=table)
    found = look(guest(disks=[many], mounts=[mount("/", "sda6")]))
    assert isinstance(found, Pick if table == "gpt" else Refusal)


def test_a_part_that_is_mounted_twice_is_seen_from_the_root() -> None:
    facts = guest(mounts=[mount("/boot", "sda1", subdir="/"), mount("/", "sda1")])
    paths = [volume.read("/etc/none") for volume in volumes(Draft(facts)) if volume.known]
    assert paths == [None]


# Trees


def tree(*mounts: Any, disks: Any = (), **more: Any) -> Facts:
    return guest(mounts=mounts, disks=disks, is_tree=True, **more)


def test_a_tree_by_uuid_is_read_as_its_fstab_says() -> None:
    facts = tree(mount("/", "", device="UUID=1", parts=()))
    pick = look(facts)
    assert isinstance(pick, Pick)
    assert pick.volume == "UUID=1"
    assert guest_path(facts, pick, pick.kernel) == IMAGE


def test_a_tree_with_a_boot_of_its_own() -> None:
    facts = tree(
        mount("/", "", device="UUID=1", parts=()), mount("/boot", "", device="UUID=2", parts=()),
        files={GRUB_CFG: grub_cfg(entry(boot="/"))},
    )  # fmt: skip
    pick = look(facts)
    assert isinstance(pick, Pick)
    assert pick.volume == "UUID=2"
    assert guest_path(facts, pick, pick.kernel) == IMAGE


def test_a_tree_by_device_names() -> None:
    named = dataclasses.replace(disk("sda", "", ""), table="", size=0)
    pick = look(tree(mount("/", "sda1"), disks=[named]))
    assert isinstance(pick, Pick)
    assert pick.volume == "/dev/sda1"


@pytest.mark.parametrize("kind", ["lvm", "crypt", "raid"])
def test_a_tree_on_what_pygrub_cannot_read(kind: str) -> None:
    assert isinstance(look(tree(mount("/", "", device="/dev/a/b", parts=(), kind=kind))), Refusal)


def test_a_tree_on_btrfs() -> None:
    found = look(tree(mount("/", "", "btrfs", device="UUID=1", parts=())))
    assert isinstance(found, Refusal)
    assert "btrfs" in found.reason


def test_a_guest_without_disks() -> None:
    assert isinstance(look(guest(disks=[], mounts=[])), Refusal)
