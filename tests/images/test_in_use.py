"""Disks that somebody has: refused, with who it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.images import disks
from tests.images.test_attach import on, refused

from pvprep.images import inuse

pytestmark = pytest.mark.roots


def test_in_use_by_a_mount_or_a_loop_device(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    loop = disks.run(["losetup", "--find", "--show", image]).strip()
    try:
        assert f"is in use: {loop} is attached to it" in refused(image).message
    finally:
        disks.run(["losetup", "--detach", loop])


def test_in_use_by_a_device_that_is_mounted(tmp_path: Path) -> None:
    image = disks.blank(tmp_path / "whole.img", 24)
    disks.ext4(image, disks.tree(tmp_path / "tree"), 0, 24)
    loop = disks.run(["losetup", "--find", "--show", image]).strip()
    (tmp_path / "here").mkdir()
    disks.run(["mount", "-o", "ro", loop, tmp_path / "here"])
    try:
        message = refused(Path(loop)).message
        assert message.startswith(f"{loop} is in use: {loop[5:]} is mounted on {tmp_path}/here")
    finally:
        disks.run(["umount", tmp_path / "here"])
        disks.run(["losetup", "--detach", loop])


def test_a_block_device(tmp_path: Path) -> None:
    loop = disks.run(["losetup", "--find", "--show", disks.mbr(tmp_path)]).strip()
    try:
        with on(Path(loop)) as guest:
            Path(guest.host("/etc/hostname")).write_text("written\n")
            assert "another pvprep" in refused(Path(loop)).message
    finally:
        disks.run(["losetup", "--detach", loop])
    with on(tmp_path / "bifit.img") as guest:
        assert guest.text("/etc/hostname") == "written\n"


def test_in_use_by_a_process_that_writes(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    with subprocess.Popen(["sleep", "60"], stdout=image.open("ab")) as process:
        message = refused(image).message
        process.kill()
    assert f"is in use: process {process.pid} (sleep) has it open for writing" in message


def test_in_use_by_a_qemu_of_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = disks.mbr(tmp_path)
    monkeypatch.setattr(inuse, "_pids", list)  # its processes cannot be seen from here
    argv = ["qemu-io", "-f", "raw", image]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"length\n")
        process.stdin.flush()
        process.stdout.readline()
        message = refused(image).message
        process.stdin.close()
    assert message == f"{image} is in use: a QEMU has locked it"


def test_a_second_one_is_told(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    with on(image):
        assert "is in use: another pvprep has it" in refused(image, read_only=True).message
        done = subprocess.run(["qemu-io", "-f", "raw", "-c", "w 0 512", image], capture_output=True)
        assert b"lock" in done.stderr
