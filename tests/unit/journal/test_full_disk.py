"""A full disk."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.journal.world import FSTAB, World
from tests.unit.journal_tools import changed, mounted, snapshot

from pvprep.changes import BuildInitrd, Change, MakeLink, Remove, WriteFile
from pvprep.errors import Exit, PvprepError


def fill(place: Path, leave: int = 0) -> None:
    """Take all room but so many KiB."""
    with open(place, "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            os.ftruncate(file.fileno(), max(0, os.fstat(file.fileno()).st_size - leave * 1024))
            os.fsync(file.fileno())


@pytest.mark.parametrize("grab", [False, True], ids=["", "others take what becomes free"])
def test_no_room(tmp_path: Path, grab: bool) -> None:
    with mounted(tmp_path, 4) as base, closing(World(base)) as world:
        seen = set()
        for leave in range(0, 420, 12):
            fill(base / "filler", leave)
            before = snapshot(world.root)
            try:
                transaction = world.journal.begin({})
            except PvprepError as error:
                assert "No space left" in error.message
                assert error.status is Exit.NOT_READY
                seen.add("begin")
            else:
                try:
                    big = WriteFile("s", "/etc/big/b", bytes(30_000), None)
                    for change in (FSTAB, big, BuildInitrd("s", "1", "/boot/initrd-1", "fake")):
                        transaction.apply(change, world.workers)
                    transaction.commit()
                    seen.add("commit")
                except PvprepError as error:
                    assert "No space left" in error.message
                    assert "df" in error.hint
                    seen.add("apply")
                    if grab:
                        fill(base / "more")
                    assert transaction.undo(world.workers) == []
                else:
                    if grab:
                        fill(base / "more")
                    world.rollback()
            assert changed(before, snapshot(world.root)) == {}
            (base / "more").unlink(missing_ok=True)
            (base / "filler").unlink()
            for one in world.journal.transactions():
                shutil.rmtree(os.path.realpath(one.store))
        assert seen == {"begin", "apply", "commit"}


def _take_inodes(directory: Path, leave: int = 0) -> None:
    """Take all inodes but so many."""
    directory.mkdir(exist_ok=True)
    count = len(os.listdir(directory))
    try:
        while True:
            count += 1
            (directory / str(count)).touch()
    except OSError as error:
        assert error.errno == errno.ENOSPC
    for name in os.listdir(directory)[:leave]:
        (directory / name).unlink()


@pytest.mark.parametrize("grab", [False, True], ids=["", "others take what becomes free"])
def test_no_inode(tmp_path: Path, grab: bool) -> None:
    """An undo needs one for the file that takes another's place: that of the reserve."""
    new, removed = WriteFile("s", "/etc/new/b", b"b", None), Remove("s", "/etc/conf.d/a")
    changes: list[Change] = [FSTAB, new, removed, BuildInitrd("s", "1", "/boot/initrd-1", "fake")]
    with mounted(tmp_path, 4, "-N", "256") as base, closing(World(base)) as world:
        seen = set()
        for leave in range(24):
            before = snapshot(world.root)
            _take_inodes(base / "taken", leave)
            try:
                transaction = world.journal.begin({})
            except PvprepError as error:
                assert (error.status, "df -i" in error.hint) == (Exit.NOT_READY, True)
                seen.add("begin")
            else:
                try:
                    for change in changes:
                        transaction.apply(change, world.workers)
                    transaction.commit()
                    seen.add("commit")
                except PvprepError as error:
                    assert "df -i" in error.hint
                    seen.add("apply")
                    if grab:
                        _take_inodes(base / "taken")
                    assert transaction.undo(world.workers) == []
                else:
                    if grab:
                        _take_inodes(base / "taken")
                    assert world.rollback().problems == ()
            shutil.rmtree(base / "taken")
            assert changed(before, snapshot(world.root)) == {}
            for one in world.journal.transactions():
                shutil.rmtree(os.path.realpath(one.store))
        assert seen == {"begin", "apply", "commit"}


def test_a_rollback_finds_room_for_its_lines(tmp_path: Path) -> None:
    with mounted(tmp_path, 4) as base, closing(World(base)) as world:
        world.commit(*(MakeLink("s", f"/etc/l{number}", "x") for number in range(40)))
        fill(base / "filler")
        assert world.rollback().problems == ()
        world.is_at_the_start()


def test_boot_is_full_and_the_initrd_goes_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    shutil.rmtree(world.file("/boot"))
    with mounted(tmp_path, 4) as boot, closing(world):
        # A second mount of it inside the guest, as /boot is one of its own.
        world.file("/boot").mkdir()
        os.system(f"mount --bind {boot} {world.file('/boot')}")
        try:
            (boot / "initrd-1").write_bytes(os.urandom(1_200_000))
            start = snapshot(world.root)
            world.commit(BuildInitrd("s", "1", "/boot/initrd-1", "fake"))
            assert (boot / "initrd-1").read_bytes() == b"new initrd"
            (boot / "initrd-1").write_bytes(b"rebuilt" * 190_000)
            fill(boot / "filler")
            assert "content differs" in world.refused()
            store = world.journal.transactions()[0].store
            shutil.copyfile(f"{store}/1", boot / "initrd-1")
            world.rollback()
            (boot / "filler").unlink()
            os.utime(boot, ns=(1, start["/boot"][-1]))
            assert changed(start, snapshot(world.root)) == {}
        finally:
            world.close()
            os.system(f"umount {world.file('/boot')}")
