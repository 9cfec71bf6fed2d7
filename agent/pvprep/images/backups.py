"""A cheap way back, made before an image is converted: an overlay, or a copy.

An overlay is a qcow2 file whose backing file is the untouched disk: the guest is converted in the
overlay, and the way back is to delete that. Sources: qemu-img(1), cp(1), ioctl_ficlone(2).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..synced import in_words, remove, sync, sync_directory
from . import formats
from .host import must, refusal, run
from .inuse import Held

HOW = ("qcow2-overlay", "copy", "none")
OVERLAY, COPY = ".pv.qcow2", ".before-pvprep"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A disk to be converted and started: its path and its format as QEMU calls it."""

    path: str
    format: str


@dataclass
class Prepared:
    """What to convert instead of the disks that were given, and the files that were made for it."""

    disks: tuple[Target, ...]
    made: tuple[str, ...] = ()

    def discard(self) -> None:
        """Remove what was made: for a conversion that ended before it had changed anything."""
        for path in self.made:
            remove(path)

    def keep(self) -> None:
        """From here on what was made stays, whatever comes: the disks were converted."""
        self.made = ()


def prepare_backup(disks: Sequence[str], how: str, say: Say) -> Prepared:
    """Make the way back for each disk, on the disk when this returns.

    how: one of HOW, where there is one disk also `qcow2-overlay:FILE`, `copy:FILE`; "": an
    overlay for a qcow2 file, none for the rest. UsageError for anything else. PvprepError where a
    disk is in use, there is no room or a file is in the way: then nothing is left behind.
    """
    kind, colon, place = how.partition(":")
    if (kind and kind not in HOW) or (colon and (not place or kind not in HOW[:2])):
        raise UsageError(
            f"--backup-to {how}: there is no such way",
            f"one of {', '.join(HOW)}; the first two also with :FILE",
        )
    if place and len(disks) != 1:
        raise UsageError(f"--backup-to {how}: one file for {len(disks)} disks")
    done = Prepared(())
    try:
        for disk in disks:
            target, made = _one(disk, kind, place, say)
            done = Prepared((*done.disks, target), (*done.made, *made))
    except BaseException:
        done.discard()
        raise
    return done


def _one(disk: str, kind: str, place: str, say: Say) -> tuple[Target, tuple[str, ...]]:
    held = Held(disk, read_only=True)
    try:
        form = "raw" if held.is_device else formats.of(disk)
        given = Target(disk, form)
        if not kind:
            # What is an overlay of ours already can be deleted as it is.
            kind = "qcow2-overlay" if form == "qcow2" and not disk.endswith(OVERLAY) else "none"
        if kind == "none":
            say(f"{disk}: no copy is made; `pvprep rollback --image {disk}` undoes the conversion")
            return given, ()
        if not place and held.is_device:
            raise refusal(
                f"{disk} is a block device: beside it there is no room for a file",
                f"say where: --backup-to {kind}:FILE",
            )
        if kind == "copy":
            made = place or disk + COPY
            _create(made, lambda: _copy(disk, made, held))
            say(f"{made} is a copy of {disk} as it was")
            return given, (made,)
        made = place or disk + OVERLAY
        _create(made, lambda: _overlay(disk, form, made))
        say(
            f"{made} is converted instead of {disk}, which must not change while that is used; "
            f"the way back: rm {made}"
        )
        return Target(made, "qcow2"), (made,)
    finally:
        held.close()


def _create(path: str, fill: Callable[[], None]) -> None:
    """A new file, filled and synced; gone where that fails. One that is there is left alone."""
    if os.path.dirname(os.path.abspath(path)).startswith("/dev/") or path.startswith("/dev/"):
        raise refusal(f"{path} would be a file in /dev", "give a place on a disk")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise refusal(
            f"{path} exists: it may be the only way back from an earlier run",
            "if it is not needed any more, remove it; to go on with an overlay: --image OVERLAY",
        ) from None
    except OSError as error:
        raise in_words(error, f"cannot make {path}") from error
    try:
        fill()
        sync(path)
        sync_directory(os.path.dirname(os.path.abspath(path)))
    except OSError as error:
        remove(path)
        raise in_words(error, f"cannot write {path}") from error
    except BaseException:
        remove(path)
        raise


def _overlay(disk: str, form: str, made: str) -> None:
    if form != "raw":
        formats.check(disk, form)
    disk, directory = os.path.abspath(disk), os.path.dirname(os.path.abspath(made))
    # By its bare name where both lie together, so that they can be moved together.
    backing = os.path.basename(disk) if os.path.dirname(disk) == directory else disk
    if ":" in backing.split("/")[0]:
        backing = disk  # QEMU would take it for a protocol
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", backing, made]
    must(command, f"cannot make {made}")
    if stat.S_ISREG(os.stat(disk).st_mode):
        os.chmod(made, stat.S_IMODE(os.stat(disk).st_mode))


def _copy(disk: str, made: str, held: Held) -> None:
    like = [] if held.is_device else ["--preserve=mode,ownership,timestamps"]
    if held.is_device or run(["cp", "--reflink=always", *like, "--", disk, made]).status:
        info = os.stat(disk)
        needed = held.size if held.is_device else min(info.st_blocks * 512, info.st_size)
        room = os.statvfs(os.path.dirname(os.path.abspath(made)))
        free = room.f_bavail * room.f_frsize
        if needed > free:
            raise refusal(
                f"{made} needs {needed >> 20} MiB, and {free >> 20} MiB are free there",
                "make room, say another place with --backup-to copy:FILE, or take an overlay",
            )
        copy = ["cp", "--reflink=auto", "--sparse=always", *like, "--", disk, made]
        must(copy, f"cannot copy {disk}")
