"""Names that describe hardware, in a tree whose hardware nobody can ask."""

from __future__ import annotations

import pytest

from pvprep.facts import Disk
from pvprep.survey.byid import aliases, disks

ID = "/dev/disk/by-id"
SLES = {
    "/etc/fstab": f"{ID}/ata-QEMU_HARDDISK_QM00001-part2 / ext3 acl 1 1\n"
    f"{ID}/ata-QEMU_HARDDISK_QM00001-part1 swap swap defaults 0 0\n"
    f"#{ID}/ata-OLD_QM00009-part1 /old ext3 acl 1 1\n"
    f"{ID}/usb-Flash_Disk_1-part1 /stick vfat noauto 0 0\n",
    "/boot/grub/menu.lst": "    kernel /boot/vmlinuz-3.0.101-63-default "
    f"root={ID}/scsi-SATA_QEMU_HARDDISK_QM00001-part2 resume=/dev/sda1\n",
    "/etc/motd": f"{ID}/ata-QEMU_HARDDISK_QM00007\n",
}
FIRST = {f"{ID}/ata-QEMU_HARDDISK_QM00001": "sda",
         f"{ID}/scsi-SATA_QEMU_HARDDISK_QM00001": "sda"}  # fmt: skip


def test_the_names_of_the_only_disk() -> None:
    assert aliases(SLES, [Disk("sda")]) == FIRST
    assert [(disk.name, [part.name for part in disk.partitions]) for disk in disks(SLES)] == [
        ("sda", ["sda1", "sda2"])
    ]


def test_qemu_numbers_its_disks() -> None:
    text = f"{ID}/ata-QEMU_HARDDISK_QM00002-part1 /srv ext3 acl 1 2\n"
    two = {**SLES, "/etc/crypttab": text}
    assert aliases(two, [Disk("sda"), Disk("sdb")]) == {
        **FIRST, f"{ID}/ata-QEMU_HARDDISK_QM00002": "sdb"
    }  # fmt: skip
    assert [disk.name for disk in disks(two)] == ["sda", "sdb"]


@pytest.mark.parametrize("known", [[], [Disk("sda"), Disk("sdb")]])
def test_nothing_is_guessed_where_the_numbers_differ(known: list[Disk]) -> None:
    assert aliases(SLES, known) == {}


@pytest.mark.parametrize(
    "name", ["by-id/edd-int13_dev80", "by-path/pci-0000:00:01.1-ide-0:0", "by-id/ata-QEMU_QM00001"]
)
def test_by_the_bios_or_the_bus(name: str) -> None:
    fstab = {"/etc/fstab": f"/dev/disk/{name}-part1 / ext3 defaults 1 1\n"}
    assert aliases(fstab, [Disk("hda")]) == {f"/dev/disk/{name}": "hda"}


@pytest.mark.parametrize(
    "name", ["by-id/dm-name-a-b", "by-id/md-uuid-1", "by-id/ata-QEMU_DVD-ROM_QM00003",
             "by-path/pci-0000:00:1d.7-usb-0:1"],
)  # fmt: skip
def test_what_is_no_disk_of_the_domain(name: str) -> None:
    fstab = {"/etc/fstab": f"/dev/disk/{name} /x auto defaults 0 0\n"}
    assert aliases(fstab, [Disk("sda")]) == {}
    assert disks(fstab) == ()


def test_an_option_of_update_grub_is_read() -> None:
    text = f"# kopt=root={ID}/ata-A_QM00001-part1 ro\n# groot=(hd0,0)\n"
    assert aliases({"/boot/grub/menu.lst": text}, [Disk("sda")]) == {f"{ID}/ata-A_QM00001": "sda"}
