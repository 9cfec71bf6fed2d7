"""Attach with what the host's kernel has: loop devices, mappings, its own file systems."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from types import FrameType
from typing import Optional

from ..errors import Exit, Interrupted, PvprepError
from ..facts import Disk, Layout, Mount
from ..guest import Guest
from ..survey import hidden
from . import formats, fsck, mounting, roots, stack, tables
from .devices import Device, Devices
from .host import refusal
from .inuse import Held
from .record import Record
from .request import Request
from .volumes import Range, Volume

Say = Callable[[str], None]


@contextmanager
def attached(request: Request, say: Say) -> Iterator[Guest]:
    """The guest on these disks, mounted; afterwards the host is as it was. See images.attached."""
    with ExitStack() as exits, orderly():
        held = held_all(request, exits)
        record = Record()
        exits.callback(record.close)
        apart = exits.enter_context(mounting.apart())
        session = _Session(request, say, record, apart.place, exits)
        session.disks(held)
        session.find()
        failed = True
        try:
            session.mount()
            yield Guest(session.root, layout=session.layout())
            failed = False
        finally:
            # What ran in the guest may have had a namespace of its own, and mounts in it.
            apart.enter()
            session.end(failed)


class _Session:
    """What is attached, in the order in which it comes."""

    def __init__(
        self, request: Request, say: Say, record: Record, place: str, exits: ExitStack
    ) -> None:
        self.root = f"{place}/root"
        self._look = f"{place}/look"
        for path in (self.root, self._look):
            os.mkdir(path)
        self._request, self._say, self._place, self._exits = request, say, place, exits
        self._record = record
        self._read_only = request.read_only
        self._disks: tuple[Disk, ...] = ()
        self._slots: list[tables.Slot] = []
        self._nodes: tuple[stack.Node, ...] = ()
        self._devices = Devices(record)
        self._open: dict[str, tuple[stack.Node, Device]] = {}
        self._mounted: list[tuple[str, stack.Node]] = []
        self._rows: list[roots.Wanted] = []
        self._stale: dict[str, bytes] = {}
        self._found: Optional[roots.Root] = None

    def disks(self, held: list[Held]) -> None:
        """Each disk as a raw file or device, and its partitions."""
        disks = []
        for number, (one, path) in enumerate(zip(held, self._request.disks)):
            raw, size = self._raw(one, path, number)
            disk, slots = tables.partitions(raw, size, number)
            disks.append(disk)
            self._slots += slots
        self._disks = tuple(disks)
        if self._request.how == "kpartx":
            sizes = {disk.name: disk.size for disk in disks}
            mapped = {}
            for slot in self._slots:
                if slot.part.number and slot.volume.plain:
                    size = sizes[slot.part.name[: slot.part.name.rindex("p")]]
                    mapped[slot.volume.plain] = size, slot.part.number
            self._devices = Devices(self._record, mapped)

    def find(self) -> None:
        """All file systems, and which of them is the root."""
        self._nodes = stack.nodes(self._slots, self._unlock)
        asleep = [node.name for node in self._nodes if node.content.fstype == "swsuspend"]
        if asleep and not self._read_only:
            raise refusal(
                f"the guest is suspended to disk: {asleep[0]} holds its memory",
                "start it, and shut it down: what it remembers of its disks must not change",
            )
        found = self._all_roots() or self._all_roots_replayed()
        self._found = roots.choose(found, Layout(self._disks, ()), self._nodes)

    def mount(self) -> None:
        """Check what will be mounted, then mount it."""
        assert self._found
        root = self._found
        layout = Layout(self._disks, ())
        self._check(root.node)
        self._mount(root.node, self.root, root.subvolume)
        with closing(Guest(self.root)) as guest:
            self._mount_below(guest, root, layout)

    def _mount_below(self, guest: Guest, root: roots.Root, layout: Layout) -> None:
        # A journal may have had the last of it.
        self._found = root = replace(root, texts=roots.texts(guest))
        self._rows = roots.wanted(root, layout, self._nodes, self._say)
        for row in self._rows[1:]:
            self._check(row.node)
        if any(row.target == "/boot" for row in self._rows):
            self._stale = {
                path: guest.read(path) or b"" for path in hidden.CANDIDATES if guest.is_file(path)
            }
        for row in self._rows[1:]:
            if not guest.is_dir(row.target):
                raise refusal(f"{root.name} has no directory {row.target} to mount on")
            subvolume = _subvolume(row.options)
            self._mount(row.node, guest.named(row.target), subvolume, guest.within(row.target))

    def layout(self) -> Layout:
        """What there is, in the terms of the facts."""
        mounts = tuple(
            Mount(
                row.target,
                row.device,
                row.fstype,
                row.options,
                row.node.kind,
                row.node.parts,
                "/" + _subvolume(row.options).lstrip("/"),
            )
            for row in self._rows
        )
        return Layout(self._disks, mounts, self._stale)

    def end(self, failed: bool) -> None:
        """Unmount, check, let go. failed: another error is on its way, ours are only told."""
        problems: list[PvprepError] = []
        for path, node in reversed(self._mounted):
            if not mounting.detach(path):
                what = f"{node.name} is still in use by a program that was started in it"
                problems.append(PvprepError(what, status=Exit.NOT_READY))
        for node, device in self._open.values():
            try:
                if not self._read_only and not problems:
                    fsck.after(device.path, node.content.fstype, node.name)
            except PvprepError as error:
                problems.append(error)
            mounting.forget(device.path, node.content.fstype)
            device.close()
        for problem in problems if failed else problems[1:]:
            self._say(f"{problem.message}; {problem.hint}" if problem.hint else problem.message)
        if problems and not failed:
            raise problems[0]

    def _raw(self, held: Held, path: str, number: int) -> tuple[str, int]:
        if held.is_device:
            return held.path, held.size
        form = formats.of(path)
        if form == "raw":
            held.lock_out_qemu()
            return held.path, held.size
        formats.check(held.path, form)
        directory = f"{self._place}/{number}"
        os.mkdir(directory)
        export = formats.Export(held.path, form, self._read_only, directory)
        self._exits.callback(export.close)
        return export.path, export.size

    def _unlock(self, volume: Volume, name: str) -> Volume:
        device = self._devices.unlock(volume, name, self._request.key_file, self._read_only)
        self._exits.callback(device.close)
        with open(device.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
        return Volume.of(Range(device.path, 0, size))

    def _all_roots(self) -> list[roots.Root]:
        return [root for node in self._file_systems() for root in self._roots(node)]

    def _all_roots_replayed(self) -> list[roots.Root]:
        """Where none was found: what a journal has not brought to the disk may be a root, too."""
        dirty = [node for node in self._file_systems() if self._dirty(node)]
        if dirty and self._read_only:
            names = ", ".join(node.name for node in dirty)
            raise refusal(
                f"no system is found as long as the journal of {names} is not replayed",
                "a run that converts does that; so does the guest's own start",
            )
        for node in dirty:
            self._check(node)
        return self._all_roots() if dirty else []

    def _file_systems(self) -> list[stack.Node]:
        known = (node for node in self._nodes if node.content.fstype in roots.FILE_SYSTEMS)
        return [node for node in known if node.volume]

    def _dirty(self, node: stack.Node) -> bool:
        assert node.volume
        with self._devices.open(node.volume, True) as device:
            return fsck.dirty(device.path, node.content.fstype)

    def _roots(self, node: stack.Node) -> list[roots.Root]:
        """The root of a system, where there is one on this file system."""
        assert node.volume
        fstype = node.content.fstype
        if mounting.known(fstype, node.content.uuid):
            raise refusal(
                f"{node.name}: this host has mounted a btrfs with the same UUID",
                "unmount that, or --attach guestfs",
            )
        with self._devices.open(node.volume, True) as device:
            try:
                found = self._look_at(node, device, "")
                if found is None and fstype == "btrfs":
                    return self._subvolumes(node, device)
                return [found] if found else []
            except (PvprepError, OSError):
                if not fsck.dirty(device.path, fstype):
                    raise
                return []  # without its journal it need not make sense
            finally:
                mounting.forget(device.path, fstype)

    def _look_at(self, node: stack.Node, device: Device, subvolume: str) -> Optional[roots.Root]:
        with self._seen(node, device, subvolume), closing(Guest(self._look)) as guest:
            if roots.is_root(guest):
                return roots.Root(node, roots.texts(guest), subvolume)
            return None

    def _subvolumes(self, node: stack.Node, device: Device) -> list[roots.Root]:
        """Those at the top that hold a system: what fstab of one calls its root, or all."""
        with self._seen(node, device, _TOP), closing(Guest(self._look)) as top:
            # The root of a subvolume has a fixed inode number (BTRFS_FIRST_FREE_OBJECTID).
            names = [name for name in top.names("/") if _inode(top, name) == 256]
        found = [self._look_at(node, device, name) for name in names]
        return [one for one in found if one]

    @contextmanager
    def _seen(self, node: stack.Node, device: Device, subvolume: str) -> Iterator[None]:
        mounting.attach(
            device.path, self._look, node.content.fstype,
            name=node.name, read_only=True, subvolume=subvolume,
        )  # fmt: skip
        try:
            yield
        finally:
            mounting.detach(self._look)

    def _device(self, node: stack.Node) -> Device:
        assert node.volume
        if node.name not in self._open:
            self._open[node.name] = node, self._devices.open(node.volume, self._read_only)
        return self._open[node.name][1]

    def _check(self, node: stack.Node) -> None:
        if node.name in self._open:
            return
        device, fstype = self._device(node), node.content.fstype
        dirty = fsck.dirty(device.path, fstype)
        if self._read_only:
            if dirty:
                self._say(f"{node.name}: its journal is not replayed; what is read may be old")
            return
        if dirty:
            self._say(f"{node.name}: its journal is replayed")
        if dirty and fstype == "xfs":
            mounting.attach(device.path, self._look, fstype, name=node.name, read_only=False)
            mounting.detach(self._look)
        fsck.before(device.path, fstype, node.name, _size(node))

    def _mount(self, node: stack.Node, place: str, subvolume: str, held: str = "") -> None:
        """Mount it on the directory `place`, by a name that is sure to be this one if there is."""
        mounting.attach(
            self._device(node).path, held or place, node.content.fstype,
            name=node.name, read_only=self._read_only, subvolume=subvolume,
        )  # fmt: skip
        self._mounted.append((place, node))


_TOP = "5"  # the ID of a btrfs's own root (BTRFS_FS_TREE_OBJECTID)


def _subvolume(options: tuple[str, ...]) -> str:
    named = [word for word in options if word.startswith(("subvol=", "subvolid="))]
    return named[0].partition("=")[2] if named else ""


def _size(node: stack.Node) -> int:
    return node.volume.size if node.volume else 0


def _inode(guest: Guest, name: str) -> int:
    info = guest.lstat(f"/{name}")
    return info.st_ino if info else 0


def held_all(request: Request, exits: ExitStack) -> list[Held]:
    """All disks, ours until the stack is left. PvprepError where one is in use, or given twice."""
    held = [exits.enter_context(_held(path, request.read_only)) for path in request.disks]
    for number, one in enumerate(held):
        if one.path in [other.path for other in held[:number]]:
            raise refusal(f"{one.path} is given twice", "give each disk once")
    return held


@contextmanager
def _held(path: str, read_only: bool) -> Iterator[Held]:
    """The disk is ours; in the end all that was written is where every other opener sees it."""
    held = Held(path, read_only)
    try:
        yield held
        held.flush()
    finally:
        held.close()


@contextmanager
def orderly() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does, unless somebody handles them already."""

    def stop(number: int, _frame: Optional[FrameType]) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    main = threading.current_thread() is threading.main_thread()
    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if main and signal.getsignal(number) == signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
