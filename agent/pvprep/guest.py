"""Guest: a root that paths cannot escape from, and run(argv) inside it.

The same survey, plan and journal serve the running system (root `/`), a chroot and a mounted tree;
only the Guest differs. Reading is open to survey, writing only to the journal; programs start here
and nowhere else.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Optional

from .beneath import (
    HELD,
    MAX_LINKS,
    NOWHERE,
    Directories,
    Found,
    Root,
    found,
    open_regular,
    split,
    too_many,
)
from .errors import PvprepError, told
from .facts import Layout
from .synced import create

# A configuration file larger than this is not one; reading it would only cost memory.
MAX_CONFIG = 8 * 1024 * 1024
PIECE = 256 * 1024
MAX_NAMES = 200_000  # in one directory; more would only cost memory

# What every program started in a guest sees; the caller's own environment stays outside.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}

Line = Callable[[str], None]


@dataclass(frozen=True)
class Completed:
    """A program that ended: its argv, exit status (negative: a signal) and output."""

    argv: tuple[str, ...]
    status: int
    output: str


class Guest:
    """The tree of a guest. Every path given is absolute inside it.

    layout: the disks under it, where they are known though the guest does not run.
    """

    # Whether extended attributes can be given any bytes, or only text.
    binary_attributes = True

    def __init__(self, root: str = "/", layout: Optional[Layout] = None) -> None:
        self.root = os.path.realpath(root)
        self.layout = layout
        if not os.path.isdir(self.root):
            raise PvprepError(f"{root} is not a directory", "give the root of a mounted guest")
        self._tree = None if self.running else Root(self.root)
        self._directories = Directories()

    def close(self) -> None:
        """Let go of every directory of the tree: names from host() are good for nothing then.

        Needed before the tree is unmounted, and once this process has another mount namespace.
        """
        self._directories.close()

    @property
    def running(self) -> bool:
        """Whether this is the root that pvprep itself runs in (a chroot counts as one)."""
        return self.root == "/"

    @property
    def whole(self) -> bool:
        """Whether all names of a file are in the guest: hard links lead out of a mere directory."""
        return self.running or self.layout is not None

    def host(self, path: str, follow: bool = True) -> str:
        """The path outside, for this process and its forks, until close().

        Symlinks are resolved as inside the guest. Of a tree, the directory in it is held open, so
        that it stays this one whatever somebody does meanwhile; what is opened by this name must
        not follow a link in the last place (O_NOFOLLOW). For people, see beneath.shown().
        follow: whether a symlink in the last place is followed too. The path need not exist; where
        its directory does not, nothing can be made by this name.
        """
        if self._tree is None:
            return self.resolve(path, follow)
        with self._found(path, follow) as place:
            if place.directory is None:
                return NOWHERE + place.path
            fd = self._directories.hold(place.directory, os.path.dirname(place.path))
            return f"{HELD}/{fd}/{place.name}"

    def within(self, directory: str) -> str:
        """The directory outside, as host(), for names that are put behind it: itself is held.

        Where there is none, nothing can be found or made behind this name.
        """
        if self._tree is None:
            return self.host(directory)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with self._found(directory, True) as place:
                if place.directory is None:
                    return f"{NOWHERE}{directory}"
                fd, path = os.open(place.name, flags, dir_fd=place.directory), place.path
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return f"{NOWHERE}{directory}"
            raise PvprepError(f"{told(directory)}: {error.strerror}") from None
        try:
            return f"{HELD}/{self._directories.hold(fd, path)}"
        finally:
            os.close(fd)

    def named(self, path: str) -> str:
        """The path outside, for people and for other programs; by then it may be another one."""
        inside = self.resolve(path)
        return inside if self.running else self.root + inside

    @contextmanager
    def at(self, path: str, follow: bool = True) -> Iterator[tuple[str, Optional[int]]]:
        """The path as the functions of os take it: a name and a dir_fd, as long as it lasts.

        FileNotFoundError where there is no such directory.
        """
        if self._tree is None:
            yield self.host(path, follow), None
            return
        with self._found(path, follow) as place:
            if place.directory is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            yield place.name, place.directory

    @contextmanager
    def _found(self, path: str, follow: bool) -> Iterator[Found]:
        assert self._tree is not None
        with self._tree.opened() as root, found(root, path, follow) as place:
            yield place

    def resolve(self, path: str, follow: bool = True) -> str:
        """The path inside the guest with every symlink resolved against the guest's root."""
        if self._tree is not None:
            with self._found(path, follow) as place:
                return place.path
        todo = split(path)
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                del done[-1:]
                continue
            here = "/" + "/".join([*done, part])
            if not follow and not todo:
                return here
            try:
                target = os.readlink(here)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise too_many(path) from None
                done.append(part)  # not a link, or not there
                continue
            links += 1
            if links > MAX_LINKS:
                raise too_many(path)
            if target.startswith("/"):
                done = []
            todo += split(target)
        return "/" + "/".join(done)

    def lstat(self, path: str) -> Optional[os.stat_result]:
        """lstat(2) of the path itself, None where it does not exist."""
        return self._stat(path, follow=False)

    def stat(self, path: str) -> Optional[os.stat_result]:
        """lstat of what the path resolves to, None where it does not exist."""
        return self._stat(path, follow=True)

    def _stat(self, path: str, follow: bool) -> Optional[os.stat_result]:
        try:
            with self.at(path, follow) as (name, directory):
                return os.lstat(name, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise PvprepError(f"{told(path)}: {error.strerror}") from None

    def exists(self, path: str) -> bool:
        """Whether the path resolves to something."""
        return self.stat(path) is not None

    def is_file(self, path: str) -> bool:
        """Whether the path resolves to a regular file."""
        info = self.stat(path)
        return info is not None and stat.S_ISREG(info.st_mode)

    def is_dir(self, path: str) -> bool:
        """Whether the path resolves to a directory."""
        info = self.stat(path)
        return info is not None and stat.S_ISDIR(info.st_mode)

    def readlink(self, path: str) -> Optional[str]:
        """The text of a symlink, None where the path is not one."""
        try:
            with self.at(path, follow=False) as (name, directory):
                return os.readlink(name, dir_fd=directory)
        except OSError:
            return None

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make it, and those above it (0755), where they are missing. OSError where that fails."""
        inside = self.resolve(path)
        if inside == "/":
            return
        try:
            with self.at(inside, follow=False) as (name, directory):
                os.mkdir(name, mode, dir_fd=directory)
        except FileNotFoundError:
            self.make_directory(os.path.dirname(inside))
            self.make_directory(inside, mode)
        except FileExistsError:
            if not self.is_dir(inside):
                raise

    def open(self, path: str) -> Optional[int]:
        """A descriptor for reading a regular file, None where there is none (or it is another
        thing, which is not opened)."""
        try:
            with self.at(path) as (name, directory):
                return open_regular(name, directory)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL):
                return None
            raise PvprepError(f"cannot read {told(path)}: {error.strerror}") from None

    @contextmanager
    def lent(self, path: str) -> Iterator[str]:
        """A regular file's name outside for a library that opens it by name, and looks at the name.

        Of a tree a copy, as such a library follows links.
        """
        if self._tree is None:
            yield self.host(path)
            return
        import tempfile

        with tempfile.TemporaryDirectory(prefix="pvprep-") as directory:
            copy = os.path.join(directory, os.path.basename(self.resolve(path)))
            create(copy, [self.read(path) or b""])
            yield copy

    def read(self, path: str, limit: int = MAX_CONFIG) -> Optional[bytes]:
        """The content of a regular file, None where there is none (or it is no regular file)."""
        fd = self.open(path)
        if fd is None:
            return None
        with open(fd, "rb", buffering=0) as file:
            size = os.fstat(fd).st_size
            if size > limit:
                raise PvprepError(
                    f"{told(path)} has {size} bytes; no configuration file is that large",
                    "look at it, and move it away if it is not what it should be",
                )
            # In pieces: of /proc/sys not much can be read at once (fs/proc/proc_sysctl.c).
            content = bytearray()
            while piece := file.read(min(PIECE, limit - len(content))):
                content += piece
            return bytes(content)

    def text(self, path: str) -> str:
        """The content as text ("" where there is none); every byte survives."""
        return (self.read(path) or b"").decode("utf-8", "surrogateescape")

    def names(self, path: str) -> list[str]:
        """The sorted names in a directory, empty where there is none."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with self.at(path) as (name, directory):
                fd = os.open(name, flags, dir_fd=directory)
            try:
                with os.scandir(fd) as entries:
                    names = [entry.name for entry in islice(entries, MAX_NAMES + 1)]
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return []
            raise PvprepError(f"cannot read {told(path)}: {error.strerror}") from None
        if len(names) > MAX_NAMES:
            raise PvprepError(
                f"{told(path)} has more than {MAX_NAMES} names in it",
                "look at it, and remove what does not belong there",
            )
        return sorted(names)

    def glob(self, pattern: str) -> Iterator[str]:
        """Paths that match; `*` and friends are allowed in the last two components.

        Directories on the way may be symlinks inside the guest; the paths are as written, sorted.
        """
        directory, last = pattern.rsplit("/", 1)
        directories = [directory]
        if any(char in directory for char in "*?["):
            directories = list(self.glob(directory))
        for parent in directories:
            if not any(char in last for char in "*?["):
                if self.lstat(f"{parent}/{last}") is not None:
                    yield f"{parent}/{last}"
                continue
            for name in self.names(parent):
                if fnmatch.fnmatchcase(name, last) and not name.startswith("."):
                    yield f"{parent}/{name}"

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command as the host runs it: by way of chroot(8) for a tree."""
        return list(argv) if self.running else ["chroot", self.root, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        line: Optional[Line] = None,
        tied: bool = False,
        offline: bool = False,
    ) -> Completed:
        """Run a program in the guest: no input, a clean environment, output joined.

        line: called with each line of output as it comes. tied: it gets SIGTERM when we die,
        however that is. offline: in a tree it has no network. Where an exception ends the run (an
        interrupt) the program is ended as well. One that cannot be started has status 127 and says
        why in its output.
        """
        import subprocess

        from . import forked

        command = self.argv(argv)
        first = [forked.dying_with_parent()] if tied else []
        first += [forked.offline()] if offline and not self.running else []
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, **(env or {})},
                text=True,
                encoding="utf-8",
                errors="surrogateescape",
                cwd="/",
                preexec_fn=forked.all_of(first),
            )
        except OSError as error:
            return Completed(tuple(argv), 127, f"{argv[0]}: {error.strerror}")
        except subprocess.SubprocessError:  # of what the child does first only this can fail
            return Completed(tuple(argv), 127, f"{argv[0]}: no network namespace of its own")
        collected: list[str] = []
        assert process.stdout is not None
        with process:
            try:
                for text in process.stdout:
                    collected.append(text)
                    if line:
                        line(text.rstrip("\n"))
            except BaseException:
                process.terminate()
                raise
        return Completed(tuple(argv), process.returncode, "".join(collected))
