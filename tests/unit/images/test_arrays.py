"""Arrays: which members make one up, and which array is not touched."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pvprep.errors import PvprepError
from pvprep.images import arrays
from pvprep.images.volumes import Range, Volume

MIB = 1 << 20


def member(number: int, level: int = 1, **more: object) -> arrays.Member:
    data = Volume.of(Range(f"disk{number}", MIB, 8 * MIB))
    one = arrays.Member("1:2:3:4", "0", level, 2, number, 17, True, 65536, data, f"disk{number}p1")
    return replace(one, **more)  # type: ignore[arg-type]


def test_a_mirror_is_both_of_its_copies() -> None:
    (array,) = arrays.arrays([member(1), member(0)])
    assert array.volume and array.volume.segments[0].chunk == 0
    assert array.volume.segments[0].ranges == (
        Range("disk0", MIB, 8 * MIB), Range("disk1", MIB, 8 * MIB),
    )  # fmt: skip
    assert (array.names, array.kind) == (("/dev/md/0", "/dev/md0"), "raid1")


def test_a_stripe_set_is_its_stripes_in_order() -> None:
    (array,) = arrays.arrays([member(1, 0), member(0, 0)])
    assert array.volume and array.volume.size == 16 * MIB
    assert array.volume.segments[0].chunk == 65536
    assert array.volume.segments[0].ranges[0].path == "disk0"


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([member(0)], "1 of its 2 members are on these disks"),
        ([member(0), member(1, role=None)], "1 of its 2 members are on these disks"),
        ([member(0), member(0)], "2 of its 2 members are on these disks"),
        ([member(0), member(1, events=16)], "its members are not the same: it was not stopped, "
         "or one of them is old"),
        ([member(0), member(1, clean=False)], "its members are not the same: it was not stopped, "
         "or one of them is old"),
        ([member(0, 5), member(1, 5)], "it is of RAID 5"),
        ([member(0, 10), member(1, 10)], "it is of RAID 10"),
        ([member(0, 0), member(1, 0, data=Volume.of(Range("x", 0, MIB)))],
         "its members differ in size"),
    ],
)  # fmt: skip
def test_an_array_that_is_not_whole_is_not_touched(
    members: list[arrays.Member], problem: str
) -> None:
    (array,) = arrays.arrays(members)
    assert (array.volume, array.problem) == (None, problem)


def superblock(**more: int) -> bytes:
    """A member's, version 1.2, as md_p.h lays it out."""
    block = bytearray(512)
    struct.pack_into("<IIII16s32sQII", block, 0, 0xA92B4EFC, 1, more.get("feature", 1), 0,
                     bytes(range(16)), b"bifit:root", 0, 1, 0)  # fmt: skip
    struct.pack_into("<QII", block, 80, 8 * 2048, 0, 2)
    struct.pack_into("<QQ", block, 128, 2048, 9 * 2048)
    struct.pack_into("<I", block, 160, 1)
    struct.pack_into("<QQ", block, 200, 17, more.get("resync", 0xFFFFFFFFFFFFFFFF))
    struct.pack_into("<I", block, 220, 4)
    struct.pack_into("<HHHH", block, 256, 0, more.get("role", 1), 0xFFFF, 0xFFFF)
    return bytes(block)


def on_disk(tmp_path: Path, block: bytes) -> Volume:
    with (tmp_path / "disk").open("wb") as file:
        file.seek(4096)
        file.write(block)
        file.truncate(16 * MIB)
    return Volume.of(Range(str(tmp_path / "disk"), 0, 16 * MIB))


def test_a_superblock_says_where_the_data_are(tmp_path: Path) -> None:
    one = arrays.member(on_disk(tmp_path, superblock()), "disk0p1")
    assert one.uuid == "00010203:04050607:08090a0b:0c0d0e0f"
    assert (one.name, one.level, one.disks, one.role, one.events) == ("root", 1, 2, 1, 17)
    assert one.clean
    assert one.data.plain == Range(str(tmp_path / "disk"), MIB, 8 * MIB)


def test_what_a_member_must_not_be(tmp_path: Path) -> None:
    assert not arrays.member(on_disk(tmp_path, superblock(resync=0)), "x").clean
    for more in ({"role": 0xFFFF}, {"role": 0xFFFE}, {"feature": 1 | 4}, {"feature": 8}):
        assert arrays.member(on_disk(tmp_path, superblock(**more)), "x").role is None
    with pytest.raises(PvprepError, match="of a kind not known here"):
        arrays.member(on_disk(tmp_path, bytes(512)), "x")


@pytest.mark.parametrize(("level", "more"), [(0, {"chunk": 0}), (1, {"disks": 0, "role": None})])
def test_nonsense_in_a_superblock(level: int, more: dict[str, object]) -> None:
    members = [member(number, level, **{"role": number, **more}) for number in (0, 1)]
    (array,) = arrays.arrays(members)
    assert (array.volume, array.problem) == (None, "its superblock is damaged")
