"""Devices for volumes: loop devices with offsets, mappings where a volume is in pieces, LUKS.

Every one goes with its last user, so that a kill leaves none: loop devices by autoclear, mappings
by a deferred removal asked for as soon as they are open. Sources: dmsetup(8), kpartx(8).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Optional

from . import luks
from .host import must
from .keys import key_of
from .loops import Loop
from .record import Record
from .volumes import Range, Volume, table

_NO_DM = "modprobe dm_mod; where the kernel has none: --attach guestfs"


class Device:
    """A block device that is there until close(): its path."""

    def __init__(self, path: str, stack: ExitStack) -> None:
        self.path = path
        self._stack = stack

    def close(self) -> None:
        """Let it go; what is mounted from it keeps it until that is gone, too."""
        self._stack.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


class Devices:
    """Makes devices.

    partitions: those that kpartx shall map, each with its disk's size and its number.
    """

    def __init__(
        self, record: Record, partitions: Optional[Mapping[Range, tuple[int, int]]] = None
    ) -> None:
        self._record = record
        self._partitions = partitions or {}

    def open(self, volume: Volume, read_only: bool) -> Device:
        """A device with the volume's content. PvprepError where it cannot be made."""
        with ExitStack() as stack:
            one = volume.plain
            if one is None:
                path = self._mapping(volume, read_only, stack)
            else:
                path = self._partition(one, read_only, stack)
                if not path:
                    path = stack.enter_context(Loop(one, read_only)).path
            return Device(path, stack.pop_all())
        raise AssertionError  # for mypy: an ExitStack may swallow

    def unlock(self, volume: Volume, name: str, key_file: str, read_only: bool) -> Device:
        """The inside of a LUKS container, by a key file or a passphrase asked for at the terminal.

        PvprepError where the key is wrong or the container cannot be opened.
        """
        with ExitStack() as stack:
            below = stack.enter_context(self.open(volume, read_only))
            mapping = self._record.name()
            luks.activate(below.path, mapping, name, key_of(name, key_file), read_only)
            path = _held(mapping, stack)
            return Device(path, stack.pop_all())
        raise AssertionError

    def _mapping(self, volume: Volume, read_only: bool, stack: ExitStack) -> str:
        paths: dict[Range, str] = {}
        with ExitStack() as loops:  # the mapping keeps them from then on
            for segment in volume.segments:
                for one in segment.ranges:
                    if one not in paths:
                        paths[one] = loops.enter_context(Loop(one, read_only)).path
            name = self._record.name()
            options = ["--readonly"] if read_only else []
            command = ["dmsetup", "create", name, *options, "--table", table(volume, paths)]
            must(command, "no mapping can be made", _NO_DM)
            return _held(name, stack)

    def _partition(self, one: Range, read_only: bool, stack: ExitStack) -> str:
        """kpartx's mapping of a partition; "" for what is none."""
        if one not in self._partitions:
            return ""
        size, number = self._partitions[one]
        with Loop(Range(one.path, 0, size), read_only) as disk:
            delimiter = f"-{self._record.prefix}-"
            options = ["-r"] if read_only else []
            listed = must(["kpartx", "-l", "-p", delimiter, disk.path], "kpartx finds no table")
            names = [line.split(" ")[0] for line in listed.splitlines() if delimiter in line]
            self._record.add(*names)
            what = f"the partitions of {one.path} cannot be mapped"
            must(["kpartx", "-a", "-s", *options, "-p", delimiter, disk.path], what, _NO_DM)
            path = ""
            for name in names:
                if name.endswith(f"{delimiter}{number}"):
                    path = _open(name, stack)
            for name in reversed(names):  # those that nobody has open go at once
                _let_go(name)
            return path


def _held(mapping: str, stack: ExitStack) -> str:
    """The path of a new mapping, open; the kernel removes it with its last user."""
    path = _open(mapping, stack)
    _let_go(mapping)
    return path


def _open(mapping: str, stack: ExitStack) -> str:
    said = must(
        ["dmsetup", "info", "--columns", "--noheadings", "-o", "blkdevname", mapping],
        f"{mapping} cannot be found",
    )
    path = f"/dev/{said.strip()}"
    stack.callback(os.close, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return path


def _let_go(mapping: str) -> None:
    must(["dmsetup", "remove", "--deferred", mapping], f"{mapping} would be left behind")
    try:
        os.unlink(f"/dev/mapper/{mapping}")  # made by libdm: nobody would take it away later
    except FileNotFoundError:
        pass
