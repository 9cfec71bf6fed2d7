"""Paths that stay beneath a root, whoever changes the tree meanwhile.

Every component is looked up by the kernel in a directory that is held open, by openat(2) with
O_NOFOLLOW; the text of a link is followed from the root that was given, and `..` goes back to a
directory that is already held. So no link, not even one of /proc that jumps, and no directory that
somebody swaps for a link leads outside: it is what openat2(2) does with RESOLVE_IN_ROOT and
RESOLVE_NO_MAGICLINKS, on kernels before 5.6 (RHEL 8) too, and it tells the names on the way.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Optional

from .errors import Exit, PvprepError, told

MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)
HELD = "/proc/self/fd"
# Below this nothing is, and nobody can make anything: no descriptor has such a number.
NOWHERE = f"{HELD}/-"
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symlink",
}
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class Found:
    """Where a path leads: itself without links, and the directory that holds its last name.

    directory: a descriptor, None where the directory is not there. name: `.` for the root.
    """

    path: str
    directory: Optional[int]
    name: str


@contextmanager
def found(root: int, path: str, follow: bool = True) -> Iterator[Found]:
    """Walk the path below the directory root; what is found is held as long as the context lasts.

    follow: whether a link in the last place is followed too. PvprepError for a loop of links.
    """
    held = [os.dup(root)]  # held[n]: the directory of names[:n], as far as that is there
    try:
        names = _walk(held, path, follow)
        if not names:
            yield Found("/", held[0], ".")
            return
        there = held[len(names) - 1] if len(held) >= len(names) else None
        yield Found("/" + "/".join(names), there, names[-1])
    finally:
        for fd in held:
            os.close(fd)


def _walk(held: list[int], path: str, follow: bool) -> list[str]:
    names: list[str] = []
    todo = split(path)
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del names[-1:]
            _drop(held, len(names) + 1)
            continue
        last = not todo and not follow
        fd = None if last or len(held) <= len(names) else _open(part, held[-1])
        if fd is None:
            names.append(part)
            continue
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            names.append(part)
            held.append(fd)
            continue
        try:
            target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(mode) else None
        finally:
            os.close(fd)
        if target is None:
            names.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise too_many(path)
        if target.startswith("/"):
            names = []
            _drop(held, 1)
        todo += split(target)
    return names


def split(path: str) -> list[str]:
    """The components of a path, the last one first."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]


def too_many(path: str) -> PvprepError:
    """A loop of links, as an error."""
    return PvprepError(f"{told(path)}: too many symlinks", "a loop of links; mend it first")


def _drop(held: list[int], keep: int) -> None:
    while len(held) > keep:
        os.close(held.pop())


def _open(name: str, directory: int) -> Optional[int]:
    """The thing itself, not opened for anything; None where it cannot be reached."""
    try:
        return os.open(name, _PATH, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return None


def open_regular(place: str, directory: Optional[int] = None) -> int:
    """A descriptor for reading a regular file, in a directory or by its path outside.

    OSError where it is anything else: a link, a FIFO, a device. Not even opened is what is none:
    that alone makes some devices act (watchdogs, tapes). The name of a descriptor is what that is.
    """
    held = place.startswith(f"{HELD}/") and place[len(HELD) + 1 :].isdigit()
    there = os.open(place, _PATH & ~os.O_NOFOLLOW if held else _PATH, dir_fd=directory)
    try:
        mode = os.fstat(there).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(
                errno.EINVAL,
                f"it is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a regular file",
                place,
            )
        with suppress(FileNotFoundError):
            return os.open(f"{HELD}/{there}", _READ & ~os.O_NOFOLLOW)
        # A chroot without /proc: then it is our own root, and nobody else's.
        return os.open(place, _READ, dir_fd=directory)
    finally:
        os.close(there)


def chmod(place: str, mode: int) -> None:
    """chmod(2) that follows no link (fchmodat(2) with AT_SYMLINK_NOFOLLOW is younger than 6.6)."""
    there = os.open(place, _PATH)
    try:
        if stat.S_ISLNK(os.fstat(there).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), place)
        try:
            os.chmod(f"{HELD}/{there}", mode)
        except FileNotFoundError:  # no /proc, as above
            os.chmod(place, mode)
    finally:
        os.close(there)


def shown(place: str) -> str:
    """The name that a path outside has for people, where it begins with a held directory."""
    if not place.startswith(f"{HELD}/"):
        return place
    number, _, rest = place[len(HELD) + 1 :].partition("/")
    try:
        directory = os.readlink(f"{HELD}/{number}")
        return os.path.join(directory, rest) if rest else directory
    except OSError:
        return rest


def descriptors(place: str) -> tuple[int, ...]:
    """What a program has to inherit to find a path outside by this name (Popen's pass_fds)."""
    number = place[len(HELD) + 1 :].partition("/")[0] if place.startswith(f"{HELD}/") else ""
    return (int(number),) if number.isdigit() else ()


class Directories:
    """Directories of one tree that are held open, so that names of things in them stay good."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int, int], int] = {}

    def hold(self, directory: int, path: str) -> int:
        """The same directory under a descriptor that stays open until close().

        path: where it is, without links. Numbers alone would not do: by FUSE all that libguestfs
        has mounted is one device.
        """
        info = os.fstat(directory)
        key = path, info.st_dev, info.st_ino
        if key not in self._held:
            self._held[key] = os.dup(directory)
        return self._held[key]

    def close(self) -> None:
        """Let go of all: a file system can be unmounted then."""
        while self._held:
            os.close(self._held.popitem()[1])

    def __del__(self) -> None:
        self.close()


class Root:
    """A directory by its name, which must go on to be that directory."""

    def __init__(self, name: str) -> None:
        if not os.path.isdir(HELD):
            raise PvprepError(
                f"{HELD} is missing", "mount -t proc proc /proc, then try again", Exit.NOT_READY
            )
        self.name = name
        self._key = self._identity(os.stat(name))

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of it, as this process sees it now (in its mount namespace)."""
        fd = os.open(self.name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self._identity(os.fstat(fd)) != self._key:
                raise PvprepError(
                    f"{self.name} is another directory than it was",
                    "something else works on it; let it finish, then try again",
                )
            yield fd
        finally:
            os.close(fd)

    @staticmethod
    def _identity(info: os.stat_result) -> tuple[int, int]:
        return info.st_dev, info.st_ino
