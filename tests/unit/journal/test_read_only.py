"""A file system that gives up in the middle, as ext4 does after an error of its disk."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.journal.world import FSTAB, World
from tests.unit.journal_tools import changed, mounted, snapshot

from pvprep.changes import MakeLink, WriteFile
from pvprep.errors import Exit, PvprepError
from pvprep.guest import Guest
from pvprep.journal import Journal

LINK = MakeLink("s", "/etc/link", "fstab")
AGAIN = WriteFile("devices", "/etc/fstab", b"newer", b"new")


def _run(*argv: object) -> None:
    path = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run([str(word) for word in argv], check=True, env=path, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_it_is_recovered_once_that_is_mended(tmp_path: Path, count: int) -> None:
    with mounted(tmp_path, 4, "-I", "256") as base:  # which keep times to the nanosecond
        with closing(World(base)) as world:
            _run("sync", "--file-system", base)  # the guest is older than all this
            transaction = world.journal.begin({})
            for change in (FSTAB, LINK)[:count]:
                transaction.apply(change, world.workers)
            _run("mount", "-o", "remount,abort", base)
            with pytest.raises(PvprepError, match="Read-only file system") as caught:
                transaction.apply((FSTAB, LINK, AGAIN)[count], world.workers)
            assert "mount the file system for writing" in caught.value.hint
            with pytest.raises(PvprepError, match="Read-only file system") as caught:
                transaction.undo(world.workers)
            assert caught.value.status is Exit.HALF_WAY
            transaction._lock.release()  # as when the process ends
        _run("umount", base)
        subprocess.run(["e2fsck", "-fy", tmp_path / "image"], stdout=subprocess.DEVNULL)
        _run("mount", "-o", "loop", tmp_path / "image", base)
        with closing(Guest(str(world.root))) as guest:
            journal = Journal(guest)
            assert len(journal.pending()) == 1
            assert journal.recover(world.workers).problems == ()
            assert changed(world.start, snapshot(world.root)) == {}
            assert [one.problem for one in journal.verify() if one.problem] == []
