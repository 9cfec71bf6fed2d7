"""The way back from a conversion: overlays and copies by the real qemu-img and cp."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from pvprep.errors import PvprepError, UsageError
from pvprep.guest import Completed
from pvprep.images import backups

MIB = 1 << 20


def _quiet(_line: str) -> None:
    pass


def _disk(path: Path, form: str) -> str:
    subprocess.run(["qemu-img", "create", "-q", "-f", form, path, "64M"], check=True)
    _write(path, form, "0x11")
    return str(path)


def _write(path: Path, form: str, pattern: str) -> None:
    argv = ["qemu-io", "-f", form, "-c", f"write -P {pattern} 1M 1M", path]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _info(path: str) -> dict[str, str]:
    argv = ["qemu-img", "info", "--output=json", path]
    said: dict[str, str] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return said


@pytest.mark.parametrize(("name", "form"), [("d.qcow2", "qcow2"), ("d.img", "raw")])
def test_original_is_byte_identical_after_the_overlay_was_written(
    tmp_path: Path, name: str, form: str
) -> None:
    disk = _disk(tmp_path / name, form)
    before = _hash(disk)
    (target,) = backups.prepare_backup([disk], "qcow2-overlay", _quiet).disks
    assert target == backups.Target(f"{disk}.pv.qcow2", "qcow2")
    _write(Path(target.path), "qcow2", "0x22")
    assert _hash(disk) == before
    compared = subprocess.run(["qemu-img", "compare", "-q", disk, target.path])
    assert compared.returncode == 1  # the overlay has what was written


def test_overlay_says_the_format_of_what_it_rests_on(tmp_path: Path) -> None:
    disk = _disk(tmp_path / "d.img", "raw")
    os.chmod(disk, 0o640)
    (target,) = backups.prepare_backup([disk], "qcow2-overlay", _quiet).disks
    said = _info(target.path)
    assert (said["backing-filename"], said["backing-filename-format"]) == ("d.img", "raw")
    assert os.stat(target.path).st_mode & 0o777 == 0o640


def test_overlay_moves_together_with_its_disk(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    disk = _disk(tmp_path / "here" / "d.qcow2", "qcow2")
    backups.prepare_backup([disk], "qcow2-overlay", _quiet)
    moved = (tmp_path / "here").rename(tmp_path / "there")
    done = subprocess.run(
        ["qemu-img", "compare", "-q", moved / "d.qcow2", moved / "d.qcow2.pv.qcow2"]
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "form", "made"),
    [("d.qcow2", "qcow2", ".pv.qcow2"), ("d.img", "raw", ""), ("d.pv.qcow2", "qcow2", "")],
)
def test_only_a_qcow2_file_gets_an_overlay_unasked(
    tmp_path: Path, name: str, form: str, made: str
) -> None:
    disk = _disk(tmp_path / name, form)
    said: list[str] = []
    (target,) = backups.prepare_backup([disk], "", said.append).disks
    assert target.path == disk + made
    assert [("rollback --image" in line) for line in said] == [not made]


def test_copy_is_sparse_and_the_disk_itself_is_converted(tmp_path: Path) -> None:
    disk = tmp_path / "d.img"
    with disk.open("wb") as file:
        file.write(b"x" * MIB)
        file.truncate(512 * MIB)
    prepared = backups.prepare_backup([str(disk)], "copy", _quiet)
    assert prepared.disks == (backups.Target(str(disk), "raw"),)
    copy = tmp_path / "d.img.before-pvprep"
    assert _hash(str(copy)) == _hash(str(disk))
    assert copy.stat().st_blocks * 512 < 8 * MIB
    assert copy.stat().st_mtime_ns == disk.stat().st_mtime_ns


@pytest.mark.parametrize(
    ("how", "name"), [("copy", ".before-pvprep"), ("qcow2-overlay", ".pv.qcow2")]
)
def test_what_is_there_is_not_overwritten(tmp_path: Path, how: str, name: str) -> None:
    disk = _disk(tmp_path / "d.img", "raw")
    Path(disk + name).write_text("the way back")
    with pytest.raises(PvprepError, match="exists"):
        backups.prepare_backup([disk], how, _quiet)
    assert Path(disk + name).read_text() == "the way back"


def test_nothing_is_left_where_the_second_disk_fails(tmp_path: Path) -> None:
    disk = _disk(tmp_path / "d.qcow2", "qcow2")
    with pytest.raises(PvprepError):
        backups.prepare_backup([disk, str(tmp_path / "absent")], "qcow2-overlay", _quiet)
    assert sorted(os.listdir(tmp_path)) == ["d.qcow2"]


def test_discard_leaves_the_disk_alone(tmp_path: Path) -> None:
    disk = _disk(tmp_path / "d.qcow2", "qcow2")
    backups.prepare_backup([disk], "qcow2-overlay", _quiet).discard()
    assert os.listdir(tmp_path) == ["d.qcow2"]


def test_copy_is_refused_without_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = _disk(tmp_path / "d.img", "raw")
    full = list(os.statvfs(tmp_path))
    full[4] = 1  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(full))
    monkeypatch.setattr(backups, "run", _no_reflink)
    with pytest.raises(PvprepError, match="MiB"):
        backups.prepare_backup([disk], "copy", _quiet)
    assert os.listdir(tmp_path) == ["d.img"]


def _no_reflink(argv: list[str]) -> Completed:
    return Completed(tuple(argv), 1, "")


@pytest.mark.parametrize("how", ["tape", "none:x", "copy:", "qcow2-overlay:"])
def test_an_unknown_way_is_wrong_usage(tmp_path: Path, how: str) -> None:
    with pytest.raises(UsageError):
        backups.prepare_backup([_disk(tmp_path / "d.img", "raw")], how, _quiet)


def test_one_file_for_two_disks_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        backups.prepare_backup(["a", "b"], f"copy:{tmp_path}/c", _quiet)


def test_a_given_file_is_taken(tmp_path: Path) -> None:
    disk = _disk(tmp_path / "d.img", "raw")
    place = tmp_path / "else" / "o.qcow2"
    place.parent.mkdir()
    (target,) = backups.prepare_backup([disk], f"qcow2-overlay:{place}", _quiet).disks
    assert target.path == str(place)
    assert _info(target.path)["backing-filename"] == disk
