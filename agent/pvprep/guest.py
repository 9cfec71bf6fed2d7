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
from dataclasses import dataclass
from typing import Optional

from .errors import PvprepError
from .facts import Layout

# A configuration file larger than this is not one; reading it would only cost memory.
MAX_CONFIG = 8 * 1024 * 1024
PIECE = 256 * 1024
MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)

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

    def __init__(self, root: str = "/", layout: Optional[Layout] = None) -> None:
        self.root = os.path.realpath(root)
        self.layout = layout
        if not os.path.isdir(self.root):
            raise PvprepError(f"{root} is not a directory", "give the root of a mounted guest")

    @property
    def running(self) -> bool:
        """Whether this is the root that pvprep itself runs in (a chroot counts as one)."""
        return self.root == "/"

    def host(self, path: str, follow: bool = True) -> str:
        """The path outside; symlinks are resolved as inside the guest, so it stays beneath root.

        follow: whether a symlink in the last place is followed too. The path need not exist.
        """
        inside = self.resolve(path, follow)
        return inside if self.running else self.root + inside

    def resolve(self, path: str, follow: bool = True) -> str:
        """The path inside the guest with every symlink resolved against the guest's root."""
        todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
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
                target = os.readlink(here if self.running else self.root + here)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise PvprepError(f"{path}: too many symlinks") from None
                done.append(part)  # not a link, or not there
                continue
            links += 1
            if links > MAX_LINKS:
                raise PvprepError(f"{path}: too many symlinks", "a loop of links; mend it first")
            if target.startswith("/"):
                done = []
            todo += [part for part in target.split("/") if part not in ("", ".")][::-1]
        return "/" + "/".join(done)

    def lstat(self, path: str) -> Optional[os.stat_result]:
        """lstat(2) of the path itself, None where it does not exist."""
        try:
            return os.lstat(self.host(path, follow=False))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise PvprepError(f"{path}: {error.strerror}") from None

    def stat(self, path: str) -> Optional[os.stat_result]:
        """lstat of what the path resolves to, None where it does not exist."""
        return self.lstat(self.resolve(path))

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
            return os.readlink(self.host(path, follow=False))
        except OSError:
            return None

    def read(self, path: str, limit: int = MAX_CONFIG) -> Optional[bytes]:
        """The content of a regular file, None where there is none (or it is no regular file)."""
        # Before it is opened: that alone makes some devices act (watchdogs, tapes).
        if not self.is_file(path):
            return None
        try:
            # O_NONBLOCK: a FIFO put there in the meantime must not hang us.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self.host(path), flags)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
                return None
            raise PvprepError(f"cannot read {path}: {error.strerror}") from None
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            return None
        with open(fd, "rb", buffering=0) as file:
            if info.st_size > limit:
                raise PvprepError(
                    f"{path} has {info.st_size} bytes; no configuration file is that large",
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
        try:
            return sorted(os.listdir(self.host(path)))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return []
            raise PvprepError(f"cannot read {path}: {error.strerror}") from None

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
    ) -> Completed:
        """Run a program in the guest: no input, a clean environment, output joined.

        line: called with each line of output as it comes. tied: it gets SIGTERM when we die,
        however that is. Where an exception ends the run (an interrupt) the program is ended as
        well. One that cannot be started has status 127 and says why in its output.
        """
        import subprocess

        command = self.argv(argv)
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
                preexec_fn=dying_with_parent() if tied else None,
            )
        except OSError as error:
            return Completed(tuple(argv), 127, f"{argv[0]}: {error.strerror}")
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


def dying_with_parent() -> Callable[[], None]:
    """What a child calls to get SIGTERM when its parent dies (PR_SET_PDEATHSIG, prctl(2))."""
    import ctypes
    import signal

    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(1, int(signal.SIGTERM), 0, 0, 0)

    return ask
