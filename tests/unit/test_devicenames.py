from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvprep.devicenames import NAME, DeviceMap, as_path, join, split, vdev_of
from pvprep.facts import Disk, Partition

SDA = Disk(
    "sda",
    partitions=(
        Partition("sda1", 1, fstype="ext4", uuid="0a1b2c3d-0000-4000-8000-000000000001"),
        Partition("sda2", 2, fstype="swap", uuid="0a1b2c3d-0000-4000-8000-000000000002"),
        Partition("sda3", 3, fstype="LVM2_member", uuid="AAAAAA-bbbb-cccc-dddd-eeee-ffff-gggggg"),
        Partition("sda4", 4),
    ),
)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("sda", ("sda", 0)),
        ("sda1", ("sda", 1)),
        ("hda1", ("hda", 1)),
        ("vda2", ("vda", 2)),
        ("xvda1", ("xvda", 1)),
        ("sdaa15", ("sdaa", 15)),
        ("nvme0n1", ("nvme0n1", 0)),
        ("nvme0n1p2", ("nvme0n1", 2)),
        ("cciss/c0d0", ("cciss/c0d0", 0)),
        ("cciss/c0d0p1", ("cciss/c0d0", 1)),
        ("mmcblk0p1", ("mmcblk0", 1)),
    ],
)
def test_disks_are_split_and_joined(name: str, parts: tuple[str, int]) -> None:
    assert split(name) == parts
    assert join(*parts) == name


@pytest.mark.parametrize(
    "name",
    ["md0", "md127p1", "dm-0", "fd0", "sr0", "scd0", "loop0", "loop0p1", "mapper/vg-root", "sd",
     "sda0", "sda01", "sda1 ", "nvme0", "nvme0p1", "nvme0n1p0", "cciss!c0d0", "disk/by-id/x", "",
     "sda1\n", "zram0", "vg/sda1"],
)
def test_what_is_no_disk(name: str) -> None:
    assert split(name) is None


def test_the_pattern_for_free_text_agrees_with_split() -> None:
    for name in ("sda", "sda1", "nvme0n1p2", "sda0", "sda01", "md0", "nvme0n1p0"):
        assert bool(re.fullmatch(NAME, name)) == (split(name) is not None)


@settings(deadline=None)
@given(st.text())
def test_any_name_splits_into_itself_or_not_at_all(name: str) -> None:
    found = split(name)
    assert found is None or join(*found) == name


def make(*names: str, scheme: str = "xvd") -> dict[str, str]:
    return dict(DeviceMap.make([Disk(name) for name in names], scheme).vdevs)


def test_guest_order_gives_the_letters() -> None:
    assert make("vdb", "vda") == {"vdb": "xvda", "vda": "xvdb"}
    assert make("nvme0n1", "cciss/c0d0", "mmcblk0") == {
        "nvme0n1": "xvda", "cciss/c0d0": "xvdb", "mmcblk0": "xvdc",
    }


def test_a_disk_with_a_pv_name_keeps_it_and_others_go_round_it() -> None:
    assert make("sda", "xvda", "sdb") == {"sda": "xvdb", "xvda": "xvda", "sdb": "xvdc"}
    assert make("sda", "hda", scheme="hd") == {"sda": "hdb", "hda": "hda"}
    assert make("sda", "xvda1") == {"sda": "xvdb", "xvda1": "xvda1"}


def test_after_z_comes_aa() -> None:
    names = [f"nvme{number}n1" for number in range(55)]
    vdevs = list(make(*names).values())
    assert vdevs[25:28] == ["xvdz", "xvdaa", "xvdab"]
    assert vdevs[51:54] == ["xvdaz", "xvdba", "xvdbb"]


def test_what_is_no_disk_gets_no_vdev() -> None:
    assert make("sr0", "sda", "fd0", "md0") == {"sda": "xvda"}


LINKS = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
ALIASES = {
    LINKS: "sda",
    LINKS + "-part1": "sda1",
    "/dev/disk/by-path/pci-0000:00:01.1-ata-1": "sda",
    "/dev/disk/by-id/dm-name-vg-root": "dm-0",
    "/dev/disk/by-id/ata-QEMU_DVD-ROM_QM00003": "sr0",
}
MAP = DeviceMap.make([SDA, Disk("nvme0n1")], aliases=ALIASES)


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("/dev/sda", "/dev/xvda"),
        ("/dev/sda1", "/dev/xvda1"),
        ("/dev/nvme0n1p2", "/dev/xvdb2"),
        ("/dev/xvda1", "/dev/xvda1"),
        (LINKS + "-part1", "/dev/xvda1"),
        (LINKS + "-part3", "/dev/xvda3"),
        ("/dev/disk/by-path/pci-0000:00:01.1-ata-1-part2", "/dev/xvda2"),
        ("sda1", None),
        ("/dev/hda1", None),
        ("/dev/sdb1", None),
        ("/dev/xvdc1", None),
        ("/dev/sr0", None),
        ("/dev/mapper/vg-root", None),
        ("/dev/disk/by-id/dm-name-vg-root", None),
        ("/dev/disk/by-uuid/0a1b", None),
        ("/dev/disk/by-label/sda1", None),
        ("UUID=0a1b", None),
        ("LABEL=/dev/sda1", None),
        ("", None),
    ],
)
def test_translate(path: str, new: str | None) -> None:
    assert MAP.translate(path) == new


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("/dev/sda1", "UUID=0a1b2c3d-0000-4000-8000-000000000001"),
        ("/dev/xvda1", "UUID=0a1b2c3d-0000-4000-8000-000000000001"),
        (LINKS + "-part2", "UUID=0a1b2c3d-0000-4000-8000-000000000002"),
        ("/dev/sda3", "/dev/xvda3"),
        ("/dev/sda4", "/dev/xvda4"),
        ("/dev/sda", "/dev/xvda"),
        ("/dev/sdb1", None),
    ],
)
def test_uuid_translate(path: str, new: str | None) -> None:
    assert MAP.uuid_translate(path) == new


def test_a_uuid_that_two_partitions_have_names_neither() -> None:
    twins = [Disk(d, partitions=(Partition(d + "1", 1, fstype="ext4", uuid="abcd"),))
             for d in ("sda", "sdb")]
    assert DeviceMap.make(twins).uuid_translate("/dev/sdb1") == "/dev/xvdb1"


def test_a_uuid_that_could_break_out_of_its_field_is_not_used() -> None:
    odd = Disk("sda", partitions=(Partition("sda1", 1, fstype="ext4", uuid="a b\n/dev/x"),))
    assert DeviceMap.make([odd]).uuid_translate("/dev/sda1") == "/dev/xvda1"


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        ("/dev/sdb1", True),
        ("/dev/hda", True),
        ("/dev/xvdc", True),
        ("/dev/cciss/c0d0p1", True),
        ("/dev/disk/by-id/ata-GONE-part1", True),
        ("/dev/disk/by-path/pci-0000:00:09.0", True),
        ("/dev/sda9", False),
        ("/dev/xvda1", False),
        (LINKS, False),
        ("/dev/disk/by-id/ata-QEMU_DVD-ROM_QM00003", False),
        ("/dev/disk/by-id/md-uuid-1:2", False),
        ("/dev/disk/by-uuid/1", False),
        ("/dev/mapper/sdb1", False),
        ("/dev/sr0", False),
        ("/dev/md0", False),
        ("sdb1", False),
    ],
)
def test_unknown(path: str, unknown: bool) -> None:
    assert MAP.unknown(path) is unknown


def test_a_tag_as_a_path() -> None:
    assert as_path("UUID=12-34") == "/dev/disk/by-uuid/12-34"
    assert as_path("/dev/xvda1") == "/dev/xvda1"


DISKS = st.lists(
    st.from_regex(r"(?:sd|hd|vd|xvd)[a-z]{1,2}|nvme[0-9]n1|mmcblk[0-9]|cciss/c0d[0-9]",
                  fullmatch=True), max_size=12, unique=True)


@settings(deadline=None)
@given(DISKS, st.sampled_from(["xvd", "hd"]), st.integers(0, 99))
def test_every_disk_has_one_vdev_and_translating_twice_is_once(
    names: list[str], scheme: str, number: int
) -> None:
    device_map = DeviceMap.make([Disk(name) for name in names], scheme)
    assert list(device_map.vdevs) == names
    assert len(set(device_map.vdevs.values())) == len(names)
    for name in names:
        once = device_map.translate("/dev/" + join(name, number))
        assert once is not None
        assert device_map.translate(once) == once


@settings(deadline=None)
@given(st.text())
def test_any_path_is_answered(path: str) -> None:
    for whole in (path, "/dev/" + path, "/dev/disk/by-id/" + path):
        assert not (MAP.translate(whole) and MAP.unknown(whole))


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (768, "hda"), (832, "hdb"), (5632, "hdc"), (5696, "hdd"), (769, "hda1"), (5697, "hdd1"),
        (2048, "sda"), (2064, "sdb"), (2063, "sda15"), (51712, "xvda"), (51713, "xvda1"),
        (51952, "xvdp"), ((1 << 28) + (16 << 8), "xvdq"), ((1 << 28) + (701 << 8) + 17, "xvdzz17"),
        ((1 << 28) + (536 << 8) + 37, "xvdtq37"), (896, ""), (5760, ""), (2 << 28, ""), (0, ""),
    ],
)  # fmt: skip
def test_numbers_of_virtual_disks(number: int, name: str) -> None:
    """As xen-vbd-interface(7) encodes them; its own examples are among these."""
    assert vdev_of(number) == name


@pytest.mark.parametrize("name", ["hda", "sda", "xvda"])
def test_what_is_given_for_a_disk_by_any_of_its_names(name: str) -> None:
    devices = DeviceMap.make([Disk("sda"), Disk("sdb")], "hd")
    assert devices.given("sda", {name: "/dev/vg/a"}) == "/dev/vg/a"
    assert devices.given("sdb", {name: "/dev/vg/a"}) is None
    assert name in devices.known()


def test_the_name_under_pv_goes_first() -> None:
    devices = DeviceMap.make([Disk("sda"), Disk("xvda")])
    assert devices.given("sda", {"sda": "1", "xvdb": "2"}) == "2"
    assert "hda" not in devices.known()
