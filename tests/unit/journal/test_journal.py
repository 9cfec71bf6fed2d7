"""Transactions: what they do, what they refuse, and that rollback gives back what was there."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.journal.world import FSTAB, INSTALL, World
from tests.unit.journal_tools import killed, mounted

from pvprep.changes import BuildInitrd, Change, MakeDir, MakeLink, Move, Remove, WriteFile
from pvprep.errors import Exit, PvprepError
from pvprep.manifest import State


def test_one_of_each(world: World) -> None:
    world.commit(
        FSTAB,
        WriteFile("s", "/etc/new/deep/b", b"b", None, mode=0o600),
        Remove("s", "/etc/conf.d/a"),
        Move("s", "/lib/tls", "/lib/tls.off"),
        MakeDir("s", "/lib/tls", mode=0o750),
        MakeLink("s", "/etc/link", "fstab"),
        INSTALL,
        BuildInitrd("s", "1", "/boot/initrd-1", "fake"),
        BuildInitrd("s", "2", "/boot/initrd-2", "fake"),
    )
    assert world.file("/etc/fstab").read_bytes() == b"new"
    assert world.file("/etc/new/deep/b").stat().st_mode & 0o7777 == 0o600
    assert world.file("/etc/new").stat().st_mode & 0o7777 == 0o755
    assert not world.file("/etc/conf.d/a").exists()
    assert world.file("/lib/tls.off/i686/libc").read_bytes() == b"elf"
    assert world.file("/lib/tls").stat().st_mode & 0o7777 == 0o750
    assert os.readlink(world.file("/etc/link")) == "fstab"
    assert world.file("/boot/initrd-1").read_bytes() == b"new initrd"
    assert world.file("/boot/initrd-1").stat().st_mode & 0o7777 == 0o600
    assert world.file("/boot/initrd-2").read_bytes() == b"new initrd"
    assert world.workers.installed() == {"libc": "1", "firmware": "1", "linux-2": "1"}
    assert not list(world.root.rglob(".pvprep*"))
    (one,) = world.journal.transactions()
    assert one.state is State.COMMITTED
    assert one.summary == {"what": "test"}
    assert one.entries[0].why == FSTAB.why
    assert [check.path for check in world.journal.verify()]
    assert world.problems() == []
    outcome = world.rollback()
    assert outcome.message == "rolled back: 9 changes undone"
    assert outcome.problems == ()
    world.is_at_the_start()
    assert world.journal.verify()[0].state is State.ROLLED_BACK
    assert world.rollback().message == "nothing to roll back"
    assert world.recover().message == "nothing to recover"


def test_several_transactions_go_back_together(world: World) -> None:
    world.commit(FSTAB)
    world.commit(WriteFile("s", "/etc/fstab", b"newer", b"new"), Remove("s", "/etc/conf.d/a"))
    world.commit(Move("s", "/etc/fstab", "/etc/conf.d/fstab"))
    world.commit(WriteFile("s", "/etc/conf.d/fstab", b"newest", b"newer"))
    assert world.problems() == []
    assert len(world.rollback().transactions) == 4
    world.is_at_the_start()
    world.commit(FSTAB)
    assert world.problems() == []
    world.rollback()
    world.is_at_the_start()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (WriteFile("s", "/etc/fstab", b"new", b"other"), "has changed since"),
        (WriteFile("s", "/etc/fstab", b"new", None), "has changed since"),
        (WriteFile("s", "/etc/none", b"new", b"old"), "has changed since"),
        (WriteFile("s", "/etc/conf.d", b"new", None), "WriteFile: /etc/conf.d is a directory"),
        (WriteFile("s", "/vmlinuz", b"new", None), "WriteFile: /vmlinuz is a symlink"),
        (WriteFile("s", "/etc/fstab/x", b"new", None), "/etc/fstab is a file, not a directory"),
        (WriteFile("s", "/", b"new", None), "WriteFile: / is a directory"),
        (WriteFile("s", "/etc/../x", b"new", None), "symlink"),
        (WriteFile("s", "/a/" + "x" * 300, b"new", None), "File name too long"),
        (WriteFile("s", "/etc/a\0b", b"new", None), "null"),
        (WriteFile("s", "/etc/\ud800", b"new", None), "surrogates"),
        (Remove("s", "/etc/none"), "Remove: /etc/none is absent"),
        (Remove("s", "/etc"), "Remove: /etc is a directory"),
        (Move("s", "/none", "/x"), "/none is absent"),
        (Move("s", "/etc/fstab", "/etc/conf.d"), "/etc/conf.d is a directory"),
        (Move("s", "/etc", "/etc/conf.d/below/itself"), "Invalid argument"),
        (MakeDir("s", "/etc/fstab"), "MakeDir: /etc/fstab is a file"),
        (MakeDir("s", "/vmlinuz"), "MakeDir: /vmlinuz is a symlink"),
        (MakeLink("s", "/vmlinuz", "x"), "MakeLink: /vmlinuz is a symlink"),
        (BuildInitrd("s", "../1", "/boot/initrd-1", "fake"), "not the version of a kernel"),
    ],
)
def test_refused(world: World, change: Change, match: str) -> None:
    world.fails(change, match)
    world.is_at_the_start()
    assert [one.state for one in world.journal.transactions()] == [State.ROLLED_BACK]


def test_a_directory_that_became_a_symlink(world: World) -> None:
    shutil.move(world.file("/etc"), world.file("/etc.real"))
    os.symlink("etc.real", world.file("/etc"))
    world.fails(FSTAB, "has become a symlink")


def test_a_directory_that_is_there_is_fine(world: World) -> None:
    world.commit(MakeDir("s", "/etc/conf.d", mode=0o700))
    world.is_at_the_start()
    world.rollback()
    world.is_at_the_start()


def test_immutable(world: World, tmp_path: Path) -> None:
    with mounted(tmp_path, 8) as base, closing(World(base)) as there:
        there.workers = world.workers
        os.system(f"chattr +i {there.file('/etc/fstab')}")
        try:
            error = there.fails(FSTAB, "cannot change /etc/fstab: Operation not permitted")
            assert "lsattr" in error.hint
        finally:
            os.system(f"chattr -i {there.file('/etc/fstab')}")


def test_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path, 8) as base, closing(World(base)) as there:
        os.system(f"mount -o remount,ro {base}")
        with pytest.raises(PvprepError, match="Read-only") as caught:
            there.journal.begin({})
        assert caught.value.status is Exit.NOT_READY
        there.is_at_the_start()


def test_one_at_a_time(world: World) -> None:
    transaction = world.journal.begin({})
    for second in (lambda: world.journal.begin({}), world.rollback, world.recover):
        with pytest.raises(PvprepError, match=rf"another pvprep is running \(pid {os.getpid()}\)"):
            second()
    transaction.commit()
    world.journal.begin({}).commit()


def test_nothing_starts_while_one_is_half_done(world: World) -> None:
    assert killed(40, lambda: world.commit(FSTAB, Remove("s", "/etc/conf.d/a")))
    assert len(world.journal.pending()) == 1
    for second in (lambda: world.journal.begin({}), world.rollback):
        with pytest.raises(PvprepError, match="half way") as caught:
            second()
        assert caught.value.status is Exit.HALF_WAY
        assert "pvprep recover" in caught.value.hint
    assert {one.state for one in world.journal.verify()} == {State.OPEN}
    assert world.recover().message.startswith("put back what was half done")
    world.is_at_the_start()


def test_only_the_commit_was_missing(world: World) -> None:
    world.commit(FSTAB)
    manifest = Path(world.journal.transactions()[0].store, "manifest")
    whole = manifest.read_bytes()
    manifest.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert world.recover().message == "all changes had been made; committed them"
    assert manifest.read_bytes() == whole
    assert world.file("/etc/fstab").read_bytes() == b"new"


@pytest.mark.usefixtures("quick")
def test_there_is_no_way_forward_from_an_undo(world: World) -> None:
    def undo() -> None:
        transaction = world.journal.begin({})
        for change in (FSTAB, Remove("s", "/etc/conf.d/a")):
            transaction.apply(change, world.workers)
        transaction.commit()
        transaction.undo(world.workers)  # as when an interrupt comes at the last moment

    at = 1
    while not any("applied" in one.marks and one.undo for one in world.journal.pending()):
        assert killed(at, undo)
        if not any(one.undo for one in world.journal.pending()):
            world.recover()
            world.rollback()
        at += 1
    assert world.recover().message == "put back what was half done: 2 changes undone"
    world.is_at_the_start()


@pytest.mark.parametrize(
    "change", [BuildInitrd("s", "1", "/boot/initrd-1", "fake"), Remove("s", "/none")]
)
def test_a_failed_change_cannot_be_passed_over(world: World, change: Change) -> None:
    transaction = world.journal.begin({})
    world.workers.fail = "build"
    with pytest.raises(PvprepError, match=r"build failed|absent"):
        transaction.apply(change, world.workers)
    for go_on in (lambda: transaction.apply(FSTAB, world.workers), transaction.commit):
        with pytest.raises(PvprepError, match="failed"):
            go_on()
    assert transaction.undo(world.workers) == []
    world.is_at_the_start()
    assert transaction.undo(world.workers) == []  # done already
    world.commit(FSTAB)


def test_ids_sort_when_the_clock_is_set_back(world: World, monkeypatch: Any) -> None:
    world.commit(FSTAB)
    monkeypatch.setattr("time.gmtime", lambda: (1999, 1, 1, 0, 0, 0, 0, 1, 0))
    world.commit(Remove("s", "/etc/fstab"))
    first, second = [one.id for one in world.journal.transactions()]
    assert first < second == "000002-19990101T000000Z"
