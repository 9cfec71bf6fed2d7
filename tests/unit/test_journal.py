"""Transactions: what they do, what they refuse, and that rollback gives back what was there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.journal_tools import FakeWorkers, age, changed, killed, mounted, snapshot

from pvprep.changes import (
    BuildInitrd,
    Change,
    InstallPackages,
    MakeDir,
    MakeLink,
    Move,
    Remove,
    WriteFile,
)
from pvprep.errors import Exit, PvprepError
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.manifest import State

FSTAB = WriteFile("devices", "/etc/fstab", b"new", b"old", why=("/etc/fstab:1 sda1 -> xvda1",))
INSTALL = InstallPackages(
    "kernel", ("linux-2",), touches=("/boot", "/boot/grub/grub.cfg", "/vmlinuz")
)


class World:
    """A small guest, its journal and its package manager."""

    def __init__(self, base: Path) -> None:
        self.root = root = base / "root"
        for directory in ("etc/conf.d", "boot/grub", "var/lib/pvprep", "lib/tls/i686"):
            (root / directory).mkdir(parents=True)
        (root / "etc/fstab").write_bytes(b"old")
        (root / "etc/conf.d/a").write_bytes(b"a")
        (root / "boot/grub/grub.cfg").write_bytes(b"menu")
        (root / "boot/initrd-1").write_bytes(b"old initrd")
        (root / "boot/initrd-1").chmod(0o600)
        (root / "lib/tls/i686/libc").write_bytes(b"elf")
        os.symlink("boot/vmlinuz-1", root / "vmlinuz")
        age(root)
        self.start = snapshot(root)
        database = base / "packages"
        database.write_text('{"libc": "1", "firmware": "1"}')
        self.workers = FakeWorkers(root, database)
        self.guest = Guest(str(root))
        self.journal = Journal(self.guest)

    def close(self) -> None:
        """So that it can be unmounted."""
        self.guest.close()

    def commit(self, *changes: Change) -> None:
        """One transaction."""
        transaction = self.journal.begin({"what": "test"})
        for change in changes:
            transaction.apply(change, self.workers)
        transaction.commit()

    def fails(self, change: Change, match: str) -> PvprepError:
        """The change is refused, and undoing leaves everything as it was."""
        before = snapshot(self.root)
        transaction = self.journal.begin({})
        with pytest.raises(PvprepError, match=match) as caught:
            transaction.apply(change, self.workers)
        assert transaction.undo(self.workers) == []
        assert changed(before, snapshot(self.root)) == {}
        return caught.value

    def rollback(self) -> Any:
        return self.journal.rollback(self.workers)

    def recover(self) -> Any:
        return self.journal.recover(self.workers)

    def refused(self) -> str:
        """A rollback is refused and changes nothing; what it says."""
        before = snapshot(self.root)
        with pytest.raises(PvprepError) as caught:
            self.rollback()
        assert caught.value.status is Exit.NOT_READY
        assert changed(before, snapshot(self.root)) == {}
        assert self.journal.pending() == []
        return caught.value.message

    def is_at_the_start(self) -> None:
        assert changed(self.start, snapshot(self.root)) == {}
        assert self.problems() == []

    def problems(self) -> list[tuple[str, str]]:
        """What verify complains about."""
        return [(one.path, one.problem) for one in self.journal.verify() if one.problem]

    def file(self, path: str) -> Path:
        return self.root / path.lstrip("/")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync does nothing: these tests cut no power."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr("pvprep.manifest.RESERVE_SIZE", 4096)


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


# Rollback and what others did since


def test_edits_are_not_lost(world: World) -> None:
    world.commit(FSTAB, Remove("s", "/etc/conf.d/a"), MakeLink("s", "/etc/link", "fstab"), INSTALL)
    world.file("/etc/fstab").write_bytes(b"mine")
    world.file("/etc/conf.d/a").write_bytes(b"mine")
    world.file("/boot/grub/grub.cfg").write_bytes(b"regenerated by a newer kernel")
    message = world.refused()
    assert "/etc/fstab: its content differs; what it was before is " in message
    assert "/etc/conf.d/a: it was absent and is a file; what it was before is " in message
    assert "/boot/grub/grub.cfg: its content differs" in message
    assert "/etc/link" not in message
    assert [path for path, _ in world.problems()] == [
        "/boot/grub/grub.cfg",
        "/etc/conf.d/a",
        "/etc/fstab",
    ]
    for line in message.splitlines()[1:]:  # the remedy that is given
        path, backup = line.split(":")[0].strip(), line.split(" before is ")[1]
        shutil.copyfile(backup, world.file(path))
    for place in (world.file("/boot/grub/grub.cfg"), world.file("/etc/conf.d/a")):
        os.utime(place.parent, ns=(7, 7))
    assert world.rollback().problems == ()
    found = changed(world.start, snapshot(world.root))
    assert {path: now[-1] for path, (_, now) in found.items()} == {
        "/boot/grub": 7,
        "/etc/conf.d": 7,
    }


def test_edits_between_two_runs_are_not_lost(world: World) -> None:
    world.commit(FSTAB)
    world.file("/etc/fstab").write_bytes(b"mine")
    world.commit(WriteFile("s", "/etc/fstab", b"newer", b"mine"))
    assert "/etc/fstab: edited between two runs of pvprep" in world.refused()
    world.file("/etc/fstab").write_bytes(b"old")
    world.rollback()
    world.is_at_the_start()


def test_edits_of_what_moved_since_are_not_lost(world: World) -> None:
    world.commit(FSTAB)
    world.commit(Move("s", "/etc", "/etc.moved"))
    world.file("/etc.moved/fstab").write_bytes(b"mine")
    assert "/etc.moved/fstab: its content differs" in world.refused()


@pytest.mark.parametrize("what", ["mode", "owner", "xattr", "target", "kind", "gone", "home"])
def test_any_edit_counts(world: World, what: str) -> None:
    world.commit(FSTAB, MakeLink("s", "/l", "a"), Move("s", "/lib/tls", "/lib/off"))
    fstab = world.file("/etc/fstab")
    if what == "mode":
        fstab.chmod(0o600)
    elif what == "owner":
        os.chown(fstab, 1, 0)
    elif what == "xattr":
        os.setxattr(fstab, "user.x", b"")
    elif what == "target":
        world.file("/l").unlink()
        os.symlink("b", world.file("/l"))
    elif what == "kind":
        fstab.unlink()
        fstab.mkdir()
    elif what == "gone":
        shutil.rmtree(world.file("/lib/off"))
    else:
        world.file("/lib/tls").mkdir()
    assert world.refused().count("\n") == 1


def test_times_and_labels_are_no_edits(world: World) -> None:
    world.commit(FSTAB)
    os.utime(world.file("/etc/fstab"))
    os.setxattr(world.file("/etc/fstab"), "security.selinux", b"system_u:object_r:etc_t:s0")
    world.rollback()
    world.is_at_the_start()


def test_a_damaged_backup_is_seen_in_time(world: World) -> None:
    world.commit(FSTAB)
    backup = Path(world.journal.transactions()[0].store, "1")
    backup.write_bytes(b"damaged")
    assert "is damaged" in world.refused()
    assert "is damaged" in world.problems()[0][1]
    backup.unlink()
    assert "No such file" in world.refused()


def test_the_times_of_directories_that_others_changed_stay(world: World) -> None:
    world.commit(FSTAB, Remove("s", "/etc/conf.d/a"))
    world.file("/etc/theirs").write_bytes(b"")
    os.utime(world.file("/etc"), ns=(5, 5))
    world.rollback()
    assert world.file("/etc").stat().st_mtime_ns == 5
    world.file("/etc/theirs").unlink()
    os.utime(world.file("/etc"), ns=(5, world.start["/etc"][-1]))
    world.is_at_the_start()


def test_what_others_put_into_our_directories_stays(world: World) -> None:
    world.commit(MakeDir("s", "/etc/new/deep"), WriteFile("s", "/etc/new/deep/a", b"", None))
    world.file("/etc/new/theirs").write_bytes(b"")
    assert world.rollback().problems == ("/etc/new: it was absent and is a directory",)
    assert world.file("/etc/new/theirs").exists()
    assert not world.file("/etc/new/deep").exists()


def test_verify_sees_a_change_after_the_rollback(world: World) -> None:
    world.commit(FSTAB, Remove("s", "/etc/conf.d/a"))
    world.rollback()
    assert world.problems() == []
    os.utime(world.file("/etc/fstab"))
    assert world.problems() == [("/etc/fstab", "its time differs")]


@pytest.mark.usefixtures("quick")
def test_what_is_edited_between_a_kill_and_the_recovery_is_kept(world: World) -> None:
    at = 1
    while not any(one.done for one in world.journal.pending()):
        world.recover()
        assert killed(at, lambda: world.commit(FSTAB, Remove("s", "/etc/conf.d/a")))
        at += 1
    world.file("/etc/fstab").write_bytes(b"mine")
    (problem,) = world.recover().problems
    assert problem.startswith("/etc/fstab had been edited since; that version is kept as ")
    assert Path(problem.split(" kept as ")[1]).read_bytes() == b"mine"
    world.is_at_the_start()


# Packages


def test_only_what_came_with_it_is_purged(world: World) -> None:
    world.commit(INSTALL)
    packages = {**world.workers.installed(), "theirs": "1", "libc": "2"}
    world.workers.database.write_text(json.dumps(packages))
    assert world.rollback().problems == ()
    assert world.workers.purged == ["linux-2"]
    assert world.workers.installed() == {"libc": "2", "firmware": "1", "theirs": "1"}


def test_what_was_upgraded_is_named(world: World) -> None:
    install = world.workers.install

    def upgrade(change: InstallPackages) -> None:
        install(change)
        packages = {**world.workers.installed(), "libc": "2"}
        del packages["firmware"]
        world.workers.database.write_text(json.dumps(packages))

    world.workers.install = upgrade  # type: ignore[method-assign]
    world.commit(INSTALL)
    assert world.rollback().problems == (
        "package firmware 1 was removed",
        "package libc 1 was replaced by 2",
    )


def test_half_installed_packages_go_too(world: World) -> None:
    world.workers.fail = "install"
    transaction = world.journal.begin({})
    with pytest.raises(PvprepError, match="install failed"):
        transaction.apply(INSTALL, world.workers)
    world.workers.fail = "mend"  # a package that cannot be configured can still be purged
    assert transaction.undo(world.workers) == []
    assert world.workers.installed() == {"libc": "1", "firmware": "1"}
    world.is_at_the_start()


@pytest.mark.parametrize("how", ["raises", "does nothing"])
def test_a_purge_that_fails_is_tried_again(world: World, how: str) -> None:
    transaction = world.journal.begin({})
    for change in (FSTAB, INSTALL, Remove("s", "/etc/conf.d/a")):
        transaction.apply(change, world.workers)
    purge = world.workers.purge
    if how == "raises":
        world.workers.fail = "purge"
    else:
        world.workers.purge = lambda names: None  # type: ignore[method-assign]
    with pytest.raises(PvprepError, match=r"purge failed|still installed: linux-2") as caught:
        transaction.undo(world.workers)
    assert caught.value.status is Exit.HALF_WAY
    assert "pvprep recover" in caught.value.hint
    assert world.file("/etc/conf.d/a").exists()
    world.workers.fail = None
    world.workers.purge = purge  # type: ignore[method-assign]
    with pytest.raises(PvprepError, match="another pvprep"):
        world.recover()
    assert transaction.undo(world.workers) == []
    assert world.file("/etc/fstab").read_bytes() == b"old"


def test_a_purge_that_takes_a_directory_along(world: World) -> None:
    world.commit(INSTALL)
    purge = world.workers.purge

    def thorough(names: Any) -> None:
        purge(names)
        shutil.rmtree(world.file("/boot/grub"))

    world.workers.purge = thorough  # type: ignore[method-assign]
    assert world.rollback().problems == ()
    world.is_at_the_start()


def test_what_a_lost_run_left_of_an_initrd_is_in_nobodys_way(world: World) -> None:
    world.file("/boot/.pvprep-initrd-1").write_bytes(b"left")
    world.commit(BuildInitrd("s", "1", "/boot/initrd-1", "fake"))
    assert world.file("/boot/initrd-1").read_bytes() == b"new initrd"
    assert not world.file("/boot/.pvprep-initrd-1").exists()


# Manifests that are torn, damaged or hostile


@pytest.mark.usefixtures("quick")
def test_a_torn_last_line_does_not_count(world: World) -> None:
    world.commit(FSTAB)
    (store,) = [Path(one.store) for one in world.journal.transactions()]
    whole = (store / "manifest").read_bytes()
    fstab = world.file("/etc/fstab").read_bytes()
    for size in [*range(0, len(whole), 7), len(whole) - 1]:
        (store / "manifest").write_bytes(whole[:size])
        world.recover()
        lines = (store / "manifest").read_bytes().splitlines()
        assert all(json.loads(line) for line in lines)
        assert world.journal.pending() == []
        world.file("/etc/fstab").write_bytes(fstab)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"1",
        b"{}",
        b"\xff",
        b'{"mark": "done", "number": 7, "done": {}}',
        b'{"mark": "undo", "number": 1, "undo": {"times": {"/etc": 1}, "notes": []}}',
        b'{"mark": "change", "entry": {"number": 2}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_manifest_is_refused(world: World, line: bytes) -> None:
    world.commit(FSTAB)
    (store,) = [Path(one.store) for one in world.journal.transactions()]
    with open(store / "manifest", "ab") as file:
        file.write(line + b"\n")
    for verb in (world.journal.transactions, world.rollback, world.recover, world.journal.verify):
        with pytest.raises(PvprepError, match=r"manifest:\d+ is damaged"):
            verb()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"backup": "1"', '"backup": "../../../../../../secret"'),
        ('"path": "/etc/fstab"', '"path": "/etc/../../secret"'),
        ('"path": "/etc/fstab"', '"path": "/out/secret"'),
        ('"temp": ".pvprep-', '"temp": "../../.pvprep-'),
        ('"temp": ".pvprep-', '"temp": "fstab'),
        ('"mode": ', '"mode": 99999999999999999999'),
        ('"mtime": ', '"mtime": 99999999999999999999'),
        ('"xattrs": {}', '"xattrs": {"user.x": "A"}'),
        ('"kind": "file"', '"kind": "spoon"'),
    ],
)
def test_a_hostile_manifest_harms_nobody(world: World, tmp_path: Path, old: str, new: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"outside")
    os.symlink(tmp_path, world.file("/out"))
    world.commit(FSTAB)
    manifest = Path(world.journal.transactions()[0].store, "manifest")
    text = manifest.read_text()
    assert old in text
    lines = text.replace(old, new).splitlines()[:2]  # as if killed: recover does not look for edits
    manifest.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(PvprepError):
        world.recover()
    assert secret.read_bytes() == b"outside"
    assert sorted(os.listdir(tmp_path)) == ["packages", "root", "secret"]


def test_odd_things_in_the_journals_directory(world: World) -> None:
    world.commit(FSTAB)
    home = Path(world.journal.home).resolve()
    (home / "000002-20200101T000000Z").write_bytes(b"a file")
    os.symlink("/etc", home / "000003-20200101T000000Z")
    (home / "9lives").mkdir()
    assert len(world.journal.transactions()) == 1
    store = home / "000004-20200101T000000Z"
    store.mkdir()
    os.mkfifo(store / "manifest")
    with pytest.raises(PvprepError, match="is not a manifest"):
        world.journal.transactions()


def test_the_journal_is_private(world: World) -> None:
    os.rmdir(os.path.realpath(world.journal.home))
    world.commit(FSTAB)
    for where, _, names in os.walk(world.journal.home):
        assert os.stat(where).st_mode & 0o7777 == 0o700
        for name in names:
            assert os.stat(f"{where}/{name}").st_mode & 0o7777 == 0o600


# A full disk


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


# Anything at all

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
TREES = st.dictionaries(PATHS, st.sampled_from(["file", "dir", "link", "hard", "fifo"]), max_size=8)
WRITES = st.builds(
    WriteFile,
    st.just("s"),
    PATHS,
    st.sampled_from([b"", b"1", b"22"]),
    st.sampled_from([None, b"", b"1", b"22", b"f"]),
)
CHANGES = st.one_of(
    WRITES,
    WRITES,
    st.builds(Remove, st.just("s"), PATHS),
    st.builds(Move, st.just("s"), PATHS, PATHS),
    st.builds(Move, st.just("s"), PATHS, PATHS),
    st.builds(MakeDir, st.just("s"), PATHS, st.sampled_from([0o700, 0o1777])),
    st.builds(MakeLink, st.just("s"), PATHS, NAMES),
)


def plant(root: Path, tree: dict[str, str]) -> None:
    """Make the tree, as far as its parts fit together."""
    files: list[Path] = []
    for path, kind in sorted(tree.items()):
        place = root / path[1:]
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "hard" and files:
                os.link(files[0], place)
            elif kind in ("file", "hard"):
                place.write_bytes(b"f")
                files.append(place)
            elif kind == "dir":
                place.mkdir()
            elif kind == "link":
                os.symlink("b", place)
            else:
                os.mkfifo(place)
        except OSError:
            pass


KILLS = st.integers(1, 150)
PLANS = st.lists(st.lists(CHANGES, min_size=1, max_size=5), min_size=1, max_size=4)
ANYTHING = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.usefixtures("quick")
@ANYTHING
@given(TREES, PLANS)
def test_rollback_is_exact_whatever_was_done(
    tree: dict[str, str], transactions: list[list[Change]]
) -> None:
    with planted(tree) as (root, journal, workers):
        start = snapshot(root)
        for changes in transactions:
            before = snapshot(root)
            if not run(journal, workers, changes):
                assert changed(before, snapshot(root)) == {}
            assert [one for one in journal.verify() if one.problem] == []
        assert journal.rollback(workers).problems == ()
        assert changed(start, snapshot(root)) == {}
        assert [one for one in journal.verify() if one.problem] == []


@pytest.mark.usefixtures("quick")
@ANYTHING
@given(TREES, PLANS, st.lists(KILLS, min_size=12, max_size=12))
def test_rollback_is_exact_whatever_was_killed(
    tree: dict[str, str], transactions: list[list[Change]], kills: list[int]
) -> None:
    with planted(tree) as (root, journal, workers):
        start = snapshot(root)
        for changes in transactions:
            before = snapshot(root)
            killed(kills.pop(), lambda changes=changes: run(journal, workers, changes))
            killed(kills.pop(), lambda: journal.recover(workers))
            assert journal.recover(workers).problems == ()
            if all(one.state is State.ROLLED_BACK for one in journal.transactions()[-1:]):
                assert changed(before, snapshot(root)) == {}
            assert [one for one in journal.verify() if one.problem] == []
        killed(kills.pop(), lambda: journal.rollback(workers))
        killed(kills.pop(), lambda: journal.recover(workers))
        assert journal.recover(workers).problems == ()
        assert journal.rollback(workers).problems == ()
        assert changed(start, snapshot(root)) == {}
        assert [one for one in journal.verify() if one.problem] == []


@contextmanager
def planted(tree: dict[str, str]) -> Iterator[tuple[Path, Journal, FakeWorkers]]:
    """The tree, in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        root = Path(base, "root")
        (root / "var/lib/pvprep").mkdir(parents=True)
        plant(root, tree)
        age(root)
        yield root, Journal(Guest(str(root))), FakeWorkers(root, root)


def run(journal: Journal, workers: FakeWorkers, changes: list[Change]) -> bool:
    """One transaction; False where a change was refused, and all undone."""
    transaction = journal.begin({})
    try:
        for change in changes:
            transaction.apply(change, workers)
        transaction.commit()
    except PvprepError:
        assert transaction.undo(workers) == []
        return False
    return True
