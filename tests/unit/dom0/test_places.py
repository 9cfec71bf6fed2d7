"""What a target is, and who uses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvprep_dom0 import places
from pvprep_dom0.places import Place


def test_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    (tmp_path / "link").symlink_to("disk")
    (tmp_path / "other").touch()
    (tmp_path / "loop").symlink_to("loop")
    disk, link = places.look(str(tmp_path / "disk")), places.look(str(tmp_path / "link"))
    assert (disk.kind, link.kind) == ("file", "file")
    assert link.real == str(tmp_path / "disk")
    assert places.same(disk, link)
    assert not places.same(disk, places.look(str(tmp_path / "other")))
    assert places.look(str(tmp_path / "loop")).kind == "missing"
    assert places.look(str(tmp_path)).kind == "other"
    assert places.look("/dev/null").kind == "other"
    assert places.look("/a\0b").kind == "missing"


def test_what_is_not_there_is_the_same_by_name() -> None:
    one, other = places.look("/nowhere/a"), places.look("/nowhere/b")
    assert places.same(one, places.look("/nowhere/a"))
    assert not places.same(one, other)


def test_a_block_device_has_one_identity(tmp_path: Path) -> None:
    for name in ("a", "b"):
        os.mknod(tmp_path / name, 0o60600, os.makedev(7, 200))
    one, other = (places.look(str(tmp_path / name)) for name in ("a", "b"))
    assert one.kind == "block"
    assert places.same(one, other)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """sysfs and procfs of a dom0 with one disk, 8:0, of three partitions."""
    for number, partition in ((0, ""), (1, "1"), (2, "2"), (3, "3")):
        directory = tmp_path / f"sys/dev/block/8:{number}"
        (directory / "holders").mkdir(parents=True)
        (directory / "dev").write_text(f"8:{number}\n")
        if partition:
            part = tmp_path / f"sys/dev/block/8:0/sda{partition}"
            part.mkdir()
            (part / "dev").write_text(f"8:{number}\n")
            (part / "partition").write_text(f"{partition}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("")
    (tmp_path / "proc/swaps").write_text("Filename Type Size Used Priority\n")
    return tmp_path


def user(kernel: Path, minor: int) -> str:
    place = Place("block", "/dev/sda", (0, os.makedev(8, minor)))
    return places.user(place, str(kernel / "sys"), str(kernel / "proc"))


def test_nobody_uses_it(kernel: Path) -> None:
    assert user(kernel, 0) == ""
    assert places.user(Place("file", "/x", (0, 0))) == ""


def test_a_mounted_part_makes_the_whole_used(kernel: Path) -> None:
    line = "25 1 8:2 / /home rw,relatime shared:1 - ext4 /dev/sda2 rw\n"
    (kernel / "proc/self/mountinfo").write_text(line)
    assert user(kernel, 0) == user(kernel, 2) == "dom0 has mounted it at /home"
    assert user(kernel, 1) == ""


def test_what_is_built_on_it_uses_it(kernel: Path) -> None:
    (kernel / "sys/dev/block/8:3/holders/dm-0").mkdir()
    assert user(kernel, 0) == user(kernel, 3) == "dm-0 of dom0 is built on it"


def test_swap(kernel: Path) -> None:
    os.mknod(kernel / "swap", 0o60600, os.makedev(8, 1))
    (kernel / "proc/swaps").write_text(f"Filename Type\n{kernel / 'swap'} partition 1 0 -2\n")
    assert user(kernel, 1) == "dom0 swaps there"


@pytest.mark.parametrize("path", ["a", "", "/a/../b", "/a//b", "/./a", "/a/", "//a", "/a/.."])
def test_roundabout_paths(path: str) -> None:
    assert places.roundabout(path)


def test_a_plain_path() -> None:
    assert places.roundabout("/dev/vg0/a..b") == ""
