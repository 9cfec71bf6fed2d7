"""Mounts that nobody else sees and that end with this process. Sources: mount_namespaces(7),
setns(2), umount(2), ext4(5), xfs(5), btrfs(5).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import PvprepError
from ..namespace import MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REC, MS_SLAVE, mount, new_namespace
from .host import refusal, run
from .record import DIRECTORY

_CLONE_NEWNS = 0x00020000
_MNT_DETACH = 2
_SAFE = MS_NOSUID | MS_NODEV
# What the kernel needs to be told so that it writes nothing, and takes a copy's UUID.
_READ_ONLY = {
    "ext3": "noload", "ext4": "noload", "xfs": "norecovery,nouuid", "btrfs": "rescue=nologreplay"
}  # fmt: skip
_WRITING = {"xfs": "nouuid"}


class Apart:
    """A mount namespace of this process alone; place: an empty directory in memory there."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Be in it, and in none that was made since: what was mounted there goes."""
        _set(self._namespace)

    def close(self) -> None:
        """It goes when this process leaves it."""
        os.close(self._namespace)


@contextmanager
def apart() -> Iterator[Apart]:
    """A mount namespace to work in; afterwards this process is back where it was.

    What the host unmounts meanwhile goes here as well (slave), or we would keep it busy.
    """
    before = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        new_namespace()
        try:
            mount("none", "/", "", MS_REC | MS_SLAVE)
            mount(
                "tmpfs", DIRECTORY, "tmpfs", _SAFE, "mode=711"
            )  # apt fetches as a user of its own
            own = Apart(DIRECTORY)
            try:
                yield own
            finally:
                own.close()
        finally:
            _back(before, root, here)
    finally:
        for fd in (before, root, here):
            os.close(fd)


def attach(
    device: str, place: str, fstype: str, *, name: str, read_only: bool, subvolume: str = ""
) -> None:
    """Mount a file system; no device node and no set-user-ID program of it has an effect.

    PvprepError where the kernel refuses; name: of the file system, for people.
    """
    words = [_READ_ONLY.get(fstype, "") if read_only else _WRITING.get(fstype, "")]
    if subvolume:
        words.append(("subvolid=" if subvolume.isdigit() else "subvol=") + subvolume)
    options = ",".join(word for word in words if word)
    flags = _SAFE | (MS_RDONLY if read_only else 0)
    try:
        mount(device, place, fstype, flags, options)
    except PvprepError as error:
        why = error.message.rpartition(": ")[2]
        raise refusal(
            f"{name} ({fstype}) cannot be mounted: {why}",
            "see the end of `dmesg`; a kernel that does not know it: --attach guestfs",
        ) from None


def detach(place: str) -> bool:
    """Unmount; False where something in it was still open (it goes when that is closed)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not libc.umount2(os.fsencode(place), 0):
        return True
    number = ctypes.get_errno()
    if number == errno.EBUSY and not libc.umount2(os.fsencode(place), _MNT_DETACH):
        return False
    raise PvprepError(f"{place} cannot be unmounted: {os.strerror(number)}", "see `dmesg`")


def forget(device: str, fstype: str) -> None:
    """Let the kernel forget a device of btrfs, which it would take for one of the host's."""
    if fstype == "btrfs":
        run(["btrfs", "device", "scan", "--forget", device])


def known(fstype: str, uuid: str) -> bool:
    """Whether this host has a btrfs of this UUID mounted: the kernel would mix the two up."""
    return fstype == "btrfs" and os.path.exists(f"/sys/fs/btrfs/{uuid}")


def _back(before: int, root: int, here: int) -> None:
    """setns(2) puts root and working directory to the namespace's own."""
    _set(before)
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(here)


def _set(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNS):
        raise PvprepError(f"no way back from the namespace: {os.strerror(ctypes.get_errno())}")
