"""Disks, partitions and mounts, from samples of lsblk and mountinfo and from a tree's own files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.building import disk, guest, run, written

from pvprep import plan, survey
from pvprep.errors import PvprepError
from pvprep.facts import Disk, Layout, Mount, Partition
from pvprep.guest import Completed, Guest
from pvprep.steps import fallback
from pvprep.survey import storage


def dev(name: str, kind: str = "disk", *children: Any, **more: Any) -> dict[str, Any]:
    """A device as lsblk 2.38 tells it."""
    row = {
        "kname": name, "maj:min": more.pop("number", f"  8:{abs(hash(name)) % 1000}"),
        "type": kind, "size": 2**30, "fstype": None, "uuid": None, "label": None,
        "partuuid": None, "parttype": None, "pttype": None, "rm": False, "model": None, **more,
    }  # fmt: skip
    return {**row, "children": list(children)} if children else row


class Says(Guest):
    """A running system whose lsblk says this."""

    running = True  # type: ignore[assignment]
    status = 0

    def __init__(self, said: str) -> None:
        super().__init__("/")
        self.said = said

    def run(self, argv: Any, **_more: Any) -> Completed:
        assert list(argv)[:1] == ["lsblk"]
        return Completed(tuple(argv), self.status, self.said)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Partition numbers and starts as sysfs has them."""
    for name, number in (("sda1", 1), ("sda2", 2), ("sda5", 5), ("nvme0n1p1", 1),
                         ("cciss!c0d0p1", 1)):  # fmt: skip
        place = tmp_path / "sys/class/block" / name
        place.mkdir(parents=True)
        (place / "partition").write_text(f"{number}\n")
        (place / "start").write_text(f"{2048 * number}\n")
    return tmp_path


def found(root: Path, *devices: dict[str, Any]) -> tuple[Disk, ...]:
    return storage.disks(Guest(str(root)), list(devices))


def test_a_disk_with_partitions(root: Path) -> None:
    swap = dev("sda2", "part", fstype="swap")
    part = dev("sda1", "part", fstype="ext4", uuid="u", label="l", partuuid="p", parttype="0x83")
    assert found(root, dev("sda", "disk", swap, part, pttype="dos", model="QEMU  ")) == (
        Disk(
            "sda", 2**30, "dos",
            (
                Partition("sda1", 1, 2048 * 512, 2**30, "ext4", "u", "l", "p", "0x83"),
                Partition("sda2", 2, 4096 * 512, 2**30, "swap"),
            ),
            "QEMU",
        ),
    )  # fmt: skip


def test_names_of_all_drivers_in_guest_order(root: Path) -> None:
    names = ["sdaa", "sdb", "nvme1n1", "nvme0n1", "cciss!c0d0", "sda", "vda", "xvdb", "hda"]
    disks = found(root, *(dev(name) for name in names))
    assert [one.name for one in disks] == [
        "cciss/c0d0", "hda", "nvme0n1", "nvme1n1", "sda", "sdb", "sdaa", "vda", "xvdb",
    ]  # fmt: skip


def test_partitions_of_nvme_and_cciss(root: Path) -> None:
    disks = found(
        root,
        dev("nvme0n1", "disk", dev("nvme0n1p1", "part"), pttype="gpt"),
        dev("cciss!c0d0", "disk", dev("cciss!c0d0p1", "part")),
    )
    assert [(d.table, d.partitions[0].name, d.partitions[0].number) for d in disks] == [
        ("", "cciss/c0d0p1", 1), ("gpt", "nvme0n1p1", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "device",
    [dev("sr0", "rom"), dev("loop0", "loop"), dev("loop1"), dev("fd0"), dev("zram0"), dev("ram0"),
     dev("md0", "raid1"), dev("dm-0", "lvm"), dev("nbd0"), dev("sdb", rm=True), dev("sdb", rm="1"),
     dev("sdb", size=0), dev("sdb", size=None)],
    ids=lambda one: f"{one['kname']}-{one['type']}",
)  # fmt: skip
def test_what_is_no_disk_of_the_domain(root: Path, device: dict[str, Any]) -> None:
    assert found(root, device) == ()


def test_a_file_system_on_the_whole_disk(root: Path) -> None:
    (one,) = found(root, dev("sda", fstype="ext4", uuid="u"))
    assert one.table == ""
    assert one.partitions == (Partition("sda", 0, 0, 2**30, "ext4", "u"),)


def test_lvm_on_the_whole_disk(root: Path) -> None:
    (one,) = found(root, dev("sda", "disk", dev("dm-0", "lvm", fstype="ext4"),
                             fstype="LVM2_member"))  # fmt: skip
    assert [(part.number, part.fstype) for part in one.partitions] == [(0, "LVM2_member")]


def test_an_empty_disk(root: Path) -> None:
    assert found(root, dev("sdb", pttype="mac")) == (Disk("sdb", 2**30),)


# lsblk itself


def test_lsblk_is_asked_on_a_running_system_only(root: Path) -> None:
    assert storage.block_devices(Guest(str(root))) == []
    devices = [dev("sda")]
    assert storage.block_devices(Says(json.dumps({"blockdevices": devices}))) == devices


def test_complaints_before_the_document_are_passed_over() -> None:
    text = 'lsblk: sdb: failed to get dm name\n{"blockdevices": []}\n'
    assert storage.block_devices(Says(text)) == []


@pytest.mark.parametrize("text", ["", "none", "{", "{}", '{"blockdevices'])
def test_what_cannot_be_read_has_words(text: str) -> None:
    with pytest.raises(PvprepError, match="lsblk"):
        storage.block_devices(Says(text))


def test_a_failing_lsblk_gives_nothing() -> None:
    says = Says("no /sys")
    says.status = 1
    assert storage.block_devices(says) == []


def test_the_real_lsblk_has_all_the_columns() -> None:
    for device in storage.block_devices(Guest("/")):
        assert set(storage.COLUMNS.lower().split(",")) <= set(device)


# Mounts


def mounts(root: Path, text: str, *devices: dict[str, Any]) -> tuple[Mount, ...]:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/mountinfo").write_text(text)
    return storage.mounts(Guest(str(root)), list(devices))


SDA = dev("sda", "disk", dev("sda1", "part", number="8:1"), number="8:0")


def test_a_partition_that_is_mounted(root: Path) -> None:
    text = "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=x\n"
    assert mounts(root, text, SDA) == (
        Mount("/", "/dev/sda1", "ext4", ("rw", "errors=x"), "part", ("sda1",)),
    )


def test_what_is_no_block_device_is_not_there(root: Path) -> None:
    text = "22 1 0:20 / /proc rw - proc proc rw\n23 1 0:5 / /dev rw - devtmpfs udev rw\n\nx\n"
    assert mounts(root, text, SDA) == ()


def test_lvm_rests_on_partitions(root: Path) -> None:
    volume = dev("dm-0", "lvm", number="254:0")
    pv = dev("sda1", "part", volume, number="8:1")
    text = "25 1 254:0 / / rw - xfs /dev/mapper/vg-root rw\n"
    (found,) = mounts(root, text, dev("sda", "disk", pv))
    assert (found.kind, found.device, found.parts) == ("lvm", "/dev/mapper/vg-root", ("sda1",))


@pytest.mark.parametrize("kind", ["raid1", "lvm", "crypt"])
def test_what_rests_on_two_disks_has_both(root: Path, kind: str) -> None:
    both = dev("md0", kind, number="9:0")
    disks = [dev(d, "disk", dev(f"{d}1", "part", both)) for d in ("sda", "sdb")]
    (found,) = mounts(root, "25 1 9:0 / / rw - ext4 /dev/md0 rw\n", *disks)
    assert (found.kind, found.parts) == (kind, ("sda1", "sdb1"))


def test_btrfs_has_numbers_of_its_own(root: Path) -> None:
    text = "25 1 0:30 /@ / rw - btrfs /dev/sda1 rw,subvol=/@\n"
    (found,) = mounts(root, text, SDA)
    assert (found.kind, found.parts, found.subdir) == ("part", ("sda1",), "/@")


def test_a_device_that_nobody_knows(root: Path) -> None:
    (found,) = mounts(root, "25 1 7:0 / /snap rw - squashfs /dev/loop0 ro\n", SDA)
    assert (found.kind, found.parts) == ("other", ())


def test_names_with_blanks(root: Path) -> None:
    (found,) = mounts(root, "25 1 8:1 /a\\040b /x\\134y rw - ext4 /dev/sda1\n", SDA)
    assert (found.target, found.subdir, found.options) == ("/x\\y", "/a b", ())


# Trees


def named(**texts: str) -> tuple[Disk, ...]:
    return storage.disks_named({path.replace("_", "/"): text for path, text in texts.items()})


def test_a_trees_disks_are_those_that_it_names() -> None:
    fstab = "/dev/sdb1 /a\n# /dev/sdc1\nUUID=1 /\n/dev/nvme0n1p2 /b\n/dev/cciss/c0d0p3 /c\n"
    disks = named(_etc_fstab=fstab, _etc_crypttab="c /dev/sdb5\nd /dev/sda\n")
    assert [(one.name, [part.name for part in one.partitions]) for one in disks] == [
        ("cciss/c0d0", ["cciss/c0d0p3"]), ("nvme0n1", ["nvme0n1p2"]), ("sda", []),
        ("sdb", ["sdb1", "sdb5"]),
    ]  # fmt: skip


def test_what_others_name_is_not_used() -> None:
    assert named(_etc_smartd="/dev/sda -a") == ()
    assert named(_etc_fstab="/dev/sdax1x\n/mnt/dev/mapper/sda1\n/dev/sr0\n/dev/md0\n") == ()


@pytest.mark.parametrize("name", ["sda", "nvme0n1", "cciss/c0d0"])
def test_a_converted_tree_still_knows_what_its_disks_were(name: str) -> None:
    rules = written(run("fallback", guest(disks=[disk(name, "ext4")])))[fallback.RULES]
    disks = storage.disks_named({fallback.RULES: rules, "/etc/fstab": "/dev/xvda1 / ext4\n"})
    assert [one.name for one in disks] == [name]
    assert disks[0].partitions[0].number == 1


@pytest.mark.parametrize(
    ("line", "device", "kind", "parts"),
    [
        ("/dev/sda1 / ext4 rw,x 0 1", "/dev/sda1", "part", ("sda1",)),
        ("/dev/nvme0n1p1 / ext4 x", "/dev/nvme0n1p1", "part", ("nvme0n1p1",)),
        ("/dev/cciss/c0d0p1 / ext4 x", "/dev/cciss/c0d0p1", "part", ("cciss/c0d0p1",)),
        ("UUID=1 / ext4 x", "UUID=1", "part", ()),
        ("/dev/disk/by-uuid/1 / ext4 x", "/dev/disk/by-uuid/1", "part", ()),
        ("/dev/mapper/vg-root / ext4 x", "/dev/mapper/vg-root", "lvm", ()),
        ("/dev/vg/root / ext4 x", "/dev/vg/root", "lvm", ()),
        ("/dev/md0 / ext4 x", "/dev/md0", "raid", ()),
        ("/dev/md/root / ext4 x", "/dev/md/root", "raid", ()),
    ],
)
def test_a_trees_mounts_are_those_of_its_fstab(
    tmp_path: Path, line: str, device: str, kind: str, parts: tuple[str, ...]
) -> None:
    for path, text in {
        "etc/fstab": f"# x\n{line}\n/dev/sda2 none swap sw\nbad\n",
        "etc/os-release": "ID=debian\n",
        "var/lib/dpkg/status": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (mount,) = survey.take(Guest(str(tmp_path)), plan.reads()).mounts
    assert (mount.target, mount.device, mount.kind, mount.parts) == ("/", device, kind, parts)
    assert mount.options[-1] == "x"


def test_room_is_told_where_things_are_written(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "usr").write_text("")
    spaces = storage.spaces(Guest(str(tmp_path)))
    assert sorted(spaces) == ["/", "/boot"]
    info = os.statvfs(tmp_path)
    assert spaces["/boot"].free <= info.f_blocks * info.f_frsize
    assert not spaces["/boot"].read_only


def test_a_tree_has_no_hardware_names(tmp_path: Path) -> None:
    (tmp_path / "dev/disk/by-id").mkdir(parents=True)
    (tmp_path / "dev/disk/by-id/ata-x").symlink_to("../../sda")
    assert storage.aliases(Guest(str(tmp_path))) == {}


@pytest.mark.parametrize(
    ("fstype", "at", "value", "quirk"),
    [
        ("xfs", 101, b"\xb5", "XFS v5"), ("xfs", 101, b"\xb4", ""),
        ("ext4", 1024 + 0x64, b"\x00\x02", "bigalloc"), ("ext4", 1024 + 0x64, b"\xff\xfd", ""),
        ("ext3", 1024 + 0x64, b"\x00\x02", ""), ("btrfs", 0, b"", ""),
    ],
)  # fmt: skip
def test_variants_that_pygrub_cannot_read(
    tmp_path: Path, fstype: str, at: int, value: bytes, quirk: str
) -> None:
    block = bytearray(b"XFSB" + bytes(4092))
    block[at : at + len(value)] = value
    (tmp_path / "device").write_bytes(block)
    assert storage._quirk_of(str(tmp_path / "device"), fstype) == quirk
    assert storage._quirk_of("/dev/none", fstype) == ""


def _layout(*counts: int) -> Layout:
    disks = tuple(
        Disk(
            f"disk{at}", 1 << 30, "dos",
            tuple(Partition(f"disk{at}p{number}", number) for number in range(1, count + 1)),
        )
        for at, count in enumerate(counts)
    )  # fmt: skip
    return Layout(disks, (Mount("/", "UUID=1", "ext4", parts=("disk0p1",)),))


@pytest.mark.parametrize(
    ("known", "names"),
    [
        ((), ("sda", "sdb")),
        (("hda",), ("hda", "hdb")),
        (("hda", "hdc", "hdd"), ("hda", "hdc")),
        (("nvme0n1",), ("nvme0n1", "sda")),
        (("vdb",), ("vda", "vdb")),
        (("sdb", "sdc"), ("sda", "sdb")),
    ],
)
def test_attached_disks_have_the_names_that_the_guest_knows(
    known: tuple[str, ...], names: tuple[str, ...]
) -> None:
    found = storage.named(_layout(2, 1), [Disk(name) for name in known])
    assert tuple(disk.name for disk in found.disks) == names
    first = storage.partition_name(names[0], 1)
    assert found.disks[0].partitions[0].name == first
    assert found.mounts[0].parts == (first,)
