"""Files, written so that they are on the disk when the call returns, and never seen half written.

All paths here are outside the guest.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .beneath import open_regular
from .errors import Exit, PvprepError

CHUNK = 1024 * 1024
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hang us
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FULL = (errno.ENOSPC, errno.EDQUOT)
_written_through: set[int] = set()  # file systems, by st_dev


def chunks(place: str) -> Iterator[bytes]:
    """The content of a regular file, a mebibyte at a time; OSError where it is another thing."""
    with open(open_regular(place), "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def digest(content: Iterable[bytes]) -> str:
    """The SHA-256 of the content, in hex."""
    value = hashlib.sha256()
    for chunk in content:
        value.update(chunk)
    return value.hexdigest()


def create(place: str, content: Iterable[bytes]) -> str:
    """Write and sync a new file that only its owner can read; gives the SHA-256."""
    value = hashlib.sha256()
    fd = os.open(place, CREATE, 0o600)
    try:
        for chunk in content:
            value.update(chunk)
            write_all(fd, chunk)
        flush(fd)
    finally:
        os.close(fd)
    return value.hexdigest()


@contextmanager
def written_through(place: str) -> Iterator[None]:
    """Meanwhile nobody waits for the file system that the directory is on.

    For one on which each write is on the disk when it returns, and all that a new file was given
    when it has its name.
    """
    device = os.stat(place).st_dev
    _written_through.add(device)
    try:
        yield
    finally:
        _written_through.discard(device)


def flush(fd: int) -> None:
    """fsync(2) what was written to a file."""
    if os.fstat(fd).st_dev not in _written_through:
        os.fsync(fd)


def private(place: str, flags: int) -> int:
    """For open(opener=): what it creates only its owner can read."""
    return os.open(place, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def overwrite(place: str, content: Iterable[bytes]) -> None:
    """Rewrite a file in place. It is cut to length last: until then it gives up no block."""
    fd = os.open(place, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        refuse_other_than_file(fd, place)
        size = 0
        for chunk in content:
            write_all(fd, chunk)
            size += len(chunk)
        os.ftruncate(fd, size)
        os.fsync(fd)
    finally:
        os.close(fd)


def refuse_other_than_file(fd: int, place: str) -> None:
    """OSError where what was opened is a FIFO, a device or the like."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", place)


def write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written: one call may take less, and does on a full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def swap(beside: str, place: str) -> None:
    """Let a file take its place, metadata and all on the disk before and after."""
    fd = os.open(beside, READ)
    try:
        flush(fd)
    finally:
        os.close(fd)
    os.rename(beside, place)
    sync_directory(os.path.dirname(place))


def remove(place: str) -> None:
    """Unlink; that it is not there is fine."""
    try:
        os.unlink(place)
    except (FileNotFoundError, NotADirectoryError):
        pass


def remove_tree(place: str) -> None:
    """Remove a directory with all that is in it, or a file; links in it are not followed."""
    import shutil

    if os.path.islink(place) or not os.path.isdir(place):
        remove(place)
    else:
        shutil.rmtree(place)


def sync_all(place: str) -> None:
    """syncfs(2): all that was written to the file system that the directory is on.

    For thousands of files, where a sync(2) of each would take minutes.
    """
    if os.stat(place).st_dev in _written_through:
        return
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    fd = os.open(f"{place}/.", READ | os.O_DIRECTORY)  # see sync_directory
    try:
        if library.syncfs(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), place)
    finally:
        os.close(fd)


def sync(place: str, flags: int = READ) -> None:
    """fsync(2) a file by name."""
    fd = os.open(place, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(place: str) -> None:
    """fsync(2) a directory, so that its names are on the disk."""
    sync(f"{place}/.", READ | os.O_DIRECTORY)  # it may be known by a descriptor, /proc/self/fd/N


def in_words(error: Exception, doing: str, status: Exit = Exit.PUT_BACK) -> PvprepError:
    """What a failed system call means for a person."""
    code = error.errno if isinstance(error, OSError) else None
    hints = {
        errno.ENOSPC: "make room (df, df -i), then try again",
        errno.EDQUOT: "raise the quota or make room, then try again",
        errno.EROFS: "mount the file system for writing, then try again",
        errno.EPERM: "if you are root, see whether the file is immutable (lsattr, chattr -i)",
        errno.EACCES: "run pvprep as root",
        errno.EXDEV: "it would have to move to another file system; do that by hand",
        errno.EBUSY: "something is mounted there; unmount it, then try again",
        errno.EIO: "the disk or its file system fails; look at dmesg before anything else",
    }
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return PvprepError(f"{doing}: {why}", hints.get(code or 0, ""), status)
