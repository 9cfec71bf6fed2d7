"""Kill it anywhere: recover gives one of the two ends, and rollback the start, exactly."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from tests.unit.journal_tools import FakeWorkers, age, calls, changed, killed, snapshot

from pvprep.beneath import shown
from pvprep.changes import (
    BuildInitrd,
    Change,
    InstallPackages,
    MakeDir,
    MakeLink,
    Move,
    PlaceKernel,
    Remove,
    WriteFile,
)
from pvprep.errors import PvprepError
from pvprep.facts import Layout
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.manifest import State

FIRST: list[Change] = [
    WriteFile("s", "/etc/fstab", b"/dev/xvda1 /\n", b"/dev/sda1 /\n"),
    WriteFile("s", "/etc/linked", b"rewritten in place, and longer", b"two names"),
    WriteFile("s", "/etc/new.d/deep/x.conf", b"new", None, mode=0o600),
    Remove("s", "/etc/70-net.rules"),
    Remove("s", "/etc/other-linked"),
    Move("s", "/lib/tls", "/lib/tls.disabled"),
    MakeDir("s", "/lib/tls", mode=0o700),
    WriteFile("s", "/lib/tls.disabled/i686/libc.so", b"other", b"elf"),
]
PLACED = PlaceKernel(
    "s", "3", "/source", "/lib/modules/3", {"/boot/vmlinuz-3": "", "/boot/config-3": ""}
)
SECOND: list[Change] = [
    InstallPackages("s", ("linux-2",), touches=("/boot/grub/grub.cfg", "/vmlinuz", "/boot/x")),
    WriteFile("s", "/etc/fstab", b"UUID=1 /\n", b"/dev/xvda1 /\n"),
    BuildInitrd("s", "2", "/boot/initrd-2", "fake"),
    BuildInitrd("s", "1", "/boot/initrd-1", "fake"),
    PLACED,
    PlaceKernel("s", "4", "/source", "", {"/boot/vmlinuz-4": ""}),
    MakeLink("s", "/initrd", "boot/initrd-2"),
    Remove("s", "/etc/mtab"),
]


class World:
    """A guest to be built anew as often as one likes."""

    def __init__(self, base: Path, layout: Optional[Layout]) -> None:
        self.base = base
        self.layout = layout
        self.count = 0

    def build(self) -> World:
        """A fresh tree, and a fresh package database."""
        if self.count:
            self.guest.close()
        self.count += 1
        shutil.rmtree(self.base / f"{self.count - 1}", ignore_errors=True)
        self.root = root = self.base / f"{self.count}"
        for directory in ("etc", "boot/grub", "lib/tls/i686", "var/lib/pvprep"):
            (root / directory).mkdir(parents=True)
        files = {
            "etc/fstab": b"/dev/sda1 /\n",
            "etc/linked": b"two names",
            "etc/other-linked": b"two more",
            "etc/70-net.rules": b"rule",
            "lib/tls/i686/libc.so": b"elf",
            "boot/grub/grub.cfg": b"edited by hand",
            "boot/initrd-1": b"old initrd",
        }
        for name, content in files.items():
            (root / name).write_bytes(content)
        os.link(root / "etc/linked", root / "lib/linked")
        os.link(root / "etc/other-linked", root / "lib/other-linked")
        os.symlink("/proc/mounts", root / "etc/mtab")
        os.symlink("boot/vmlinuz-1", root / "vmlinuz")
        os.chown(root / "etc/fstab", 1, 2)
        (root / "etc/fstab").chmod(0o640)
        os.setxattr(root / "etc/70-net.rules", "trusted.note", b"\0kept")
        age(root)
        self.guest = Guest(str(root), self.layout)
        self.database = self.base / f"{self.count}.packages"
        self.database.write_text('{"libc": "1"}')
        self.start = snapshot(root)
        return self

    @property
    def workers(self) -> FakeWorkers:
        return FakeWorkers(self.root, self.database)

    @property
    def journal(self) -> Journal:
        return Journal(self.guest)

    def run(self, changes: list[Change]) -> None:
        """One transaction, from begin to commit."""
        transaction = self.journal.begin({"step": "test"})
        for change in changes:
            transaction.apply(change, self.workers)
        transaction.commit()

    def recover(self) -> Any:
        return self.journal.recover(self.workers)

    def rollback(self) -> Any:
        return self.journal.rollback(self.workers)

    def is_at_the_start(self) -> None:
        """Nothing is left of anything."""
        assert changed(self.start, snapshot(self.root)) == {}
        assert self.workers.installed() == {"libc": "1"}
        assert [check for check in self.journal.verify() if check.problem] == []
        assert {one.state for one in self.journal.transactions()} <= {State.ROLLED_BACK}
        assert not list(Path(self.journal.home).rglob("*.link"))
        assert not list(self.root.rglob(".pvprep-*"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync does nothing here: what a killed process wrote is not lost."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr("pvprep.manifest.RESERVE_SIZE", 4096)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """In memory, as it is built a thousand times."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        yield World(Path(base), getattr(request, "param", None))


# Of a tree, and of a guest that has all names of its files (hard links are rewritten in place).
of_both = pytest.mark.parametrize(
    "world", [None, Layout((), ())], indirect=True, ids=["tree", "whole guest"]
)


def each_kill(prepare: Callable[[], object], work: Callable[[], object], step: int = 1) -> Any:
    """Prepare anew and do the work with a kill at every (or each so many) call, to the end."""
    at = 1
    while True:
        prepare()
        if not killed(at, work):
            assert at > 1
            return
        yield at
        at += step


def finish(world: World, middle: Any, end: Any) -> None:
    """After recover: one of these two ends, whole; and the way back from it."""
    world.recover()
    assert world.journal.pending() == []
    now = snapshot(world.root, times=False)
    assert now in (middle, end), changed(middle, now)
    assert [check for check in world.journal.verify() if check.problem] == []
    world.rollback()
    world.is_at_the_start()


@pytest.fixture
def ends(world: World) -> list[Any]:
    """The tree before, between and after the two transactions; times do not count."""
    found = [snapshot(world.build().root, times=False)]
    for changes in (FIRST, SECOND):
        world.run(changes)
        found.append(snapshot(world.root, times=False))
    world.rollback()
    world.is_at_the_start()
    return found


@of_both
def test_killed_in_the_first_transaction(world: World, ends: list[Any]) -> None:
    for _ in each_kill(world.build, lambda: world.run(FIRST)):
        finish(world, ends[0], ends[1])


def test_killed_in_the_second_transaction(world: World, ends: list[Any]) -> None:
    def prepare() -> None:
        world.build().run(FIRST)

    for _ in each_kill(prepare, lambda: world.run(SECOND)):
        finish(world, ends[1], ends[2])


@pytest.mark.parametrize("changes", [FIRST, SECOND[:1] + SECOND[2:]])
def test_killed_while_recovering_again_and_again(world: World, changes: list[Change]) -> None:
    for at in each_kill(world.build, lambda: world.run(changes), step=4):
        for again in (at * 7 % 41 + 1, at * 13 % 83 + 1, at * 5 % 23 + 1):
            killed(again, world.recover)
        world.recover()
        world.rollback()  # only where the kill came after the last change
        world.is_at_the_start()


@of_both
def test_killed_while_recovering_at_every_call(world: World) -> None:
    def fail() -> None:
        with pytest.raises(PvprepError, match="absent"):
            world.run([*FIRST, SECOND[0], SECOND[3], PLACED, Move("s", "/absent", "/x")])

    def prepare() -> None:
        world.build()
        assert not killed(10_000, fail)

    for _ in each_kill(prepare, world.recover):
        world.recover()
        world.is_at_the_start()


def test_killed_while_rolling_back_at_every_call(world: World) -> None:
    def prepare() -> None:
        world.build().run(FIRST)
        world.run(SECOND)

    whole = 0
    for _ in each_kill(prepare, world.rollback):
        world.recover()
        if world.journal.transactions()[0].state is State.COMMITTED:
            whole += 1  # killed before it was decided
            world.rollback()
        world.is_at_the_start()
    assert 0 < whole < 10


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()],
    ids=["EIO", "ENOSPC", "interrupt"],
)
def test_any_call_fails_and_the_caller_undoes(world: World, failure: BaseException) -> None:
    at = 0
    failed = True
    while failed:
        at += 1
        world.build()
        transaction = world.journal.begin({})
        count = 0

        def before(name: str, args: tuple[Any, ...], at: int = at) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise failure

        failed = False
        with calls(before):
            try:
                for change in [*FIRST, SECOND[0], SECOND[3], PLACED]:
                    transaction.apply(change, world.workers)
                transaction.commit()
            except (PvprepError, KeyboardInterrupt):
                failed = True
        if failed:
            with calls(lambda *_: None):
                assert transaction.undo(world.workers) == []
            world.is_at_the_start()
    assert at > 100


def test_what_is_on_the_disk_when(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a power cut: nothing in the guest changes ahead of its intent, nor takes its place
    before its content is synced, nor is called done before its directory is."""
    world.build()
    dirty: set[str] = set()
    names: set[str] = set()
    swapped = 0

    def name_of(fd: int) -> str:
        return os.readlink(f"/proc/self/fd/{fd}")

    def before(name: str, args: tuple[Any, ...]) -> None:
        nonlocal swapped
        if isinstance(args[0], str) and not args[0].startswith("/"):
            return  # removed with the directory that it is in
        if name == "fsync":
            dirty.discard(name_of(args[0]))
            names.discard(name_of(args[0]))
        elif name == "write":
            place = name_of(args[0])
            if place.endswith("/manifest"):
                assert dirty | names <= {str(world.base)}, (dirty, names)
            dirty.add(place)
        elif name in ("chown", "chmod", "setxattr", "removexattr", "utime"):
            if not os.path.islink(args[0]):  # a link goes with its directory
                dirty.add(os.path.normpath(args[0]))
        elif name in ("rename", "link"):
            assert args[0] not in dirty
            dirty.discard(args[1])
            assert not any(place.endswith("/manifest") for place in dirty)
            names.update(os.path.dirname(place) for place in args[name == "link" : 2])
            swapped += 1
        elif name in ("unlink", "mkdir", "rmdir", "symlink"):
            place = args[0] if name != "symlink" else args[1]
            assert not any(place.endswith("/manifest") for place in dirty)
            names.discard(place)
            if name == "rmdir":
                names.difference_update([one for one in names if one.startswith(f"{place}/")])
            if "/var/lib/pvprep" not in place:
                names.add(os.path.dirname(place))
        elif name == "open" and not args[0].endswith(("/manifest", "/lock", "/reserve")):
            assert not any(place.endswith("/manifest") for place in dirty)
            names.add(os.path.dirname(args[0]))

    def sync_all(outside: str) -> None:
        place = shown(outside)
        for what in (dirty, names):
            what -= {one for one in what if one == place or one.startswith(f"{place}/")}

    monkeypatch.setattr("pvprep.placing.sync_all", sync_all)
    monkeypatch.setattr("pvprep.transaction.sync_all", sync_all)
    with calls(before):
        world.run([*FIRST, *SECOND])
        world.rollback()
    world.is_at_the_start()
    assert swapped >= 5
