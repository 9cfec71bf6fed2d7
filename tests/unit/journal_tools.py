"""What the journal's tests share: trees, their snapshots, a package manager, and a killer."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from pvprep.beneath import shown
from pvprep.changes import BuildInitrd, InstallPackages, PlaceKernel
from pvprep.errors import PvprepError

JOURNAL = "/var/lib/pvprep"

# Every call by which the journal alters a file system, and fsync, whose place matters too.
CALLS = (
    *("open", "write", "ftruncate", "fsync", "rename", "link", "unlink", "mkdir", "rmdir"),
    *("symlink", "chown", "chmod", "utime", "setxattr", "removexattr"),
)


def snapshot(root: Path, times: bool = True) -> dict[str, Any]:
    """All of a tree but the journal: content, metadata, and which names are one file."""
    found: dict[str, Any] = {}
    names: dict[int, list[str]] = {}
    for where, directories, files in os.walk(root):
        inside = where[len(str(root)) :] or "/"
        if inside == JOURNAL:
            directories[:] = []
            continue
        for name in ["", *files, *(d for d in directories if os.path.islink(f"{where}/{d}"))]:
            place = f"{where}/{name}" if name else where
            info = os.lstat(place)
            kind = stat.S_IFMT(info.st_mode)
            content: object = None
            if kind == stat.S_IFREG:
                content = Path(place).read_bytes()
                names.setdefault(info.st_ino, []).append(place)
            elif kind == stat.S_IFLNK:
                content = os.readlink(place)
            xattrs = {
                key: os.getxattr(place, key, follow_symlinks=False)
                for key in os.listxattr(place, follow_symlinks=False)
            }
            meta = [info.st_mode, info.st_uid, info.st_gid, xattrs]
            found[place] = [content, *meta, info.st_mtime_ns if times else 0]
    for group in names.values():
        for place in group:
            found[place].append(sorted(name[len(str(root)) :] for name in group))
    return {place[len(str(root)) :] or "/": value for place, value in found.items()}


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Where two snapshots differ: for a failure that can be read."""
    paths = sorted({*old, *new})
    return {
        path: (old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)
    }


def age(root: Path) -> None:
    """Give everything a time of its own, long ago."""
    places = [
        place
        for where, ds, fs in os.walk(root)
        for place in (where, *(f"{where}/{n}" for n in (*fs, *ds)))
    ]
    for number, place in enumerate(sorted(set(places), reverse=True)):
        when = 1_000_000_000_123_456_789 + number * 1_000_000_007
        os.utime(place, ns=(when, when), follow_symlinks=False)


class FakeWorkers:
    """A package manager and an initrd builder that write as the real ones do.

    Its database lies outside the tree, as a real one is left different by install and purge.
    """

    def __init__(self, root: Path, database: Path) -> None:
        self.root = root
        self.database = database
        self.fail: Optional[str] = None
        self.purged: list[str] = []

    def _set(self, packages: Mapping[str, str]) -> None:
        beside = f"{self.database}.new"
        Path(beside).write_text(json.dumps(packages))
        os.rename(beside, self.database)

    def _fail(self, where: str) -> None:
        if self.fail == where:
            raise PvprepError(f"{where} failed")

    def _write(self, path: str, content: bytes) -> None:
        fd = os.open(f"{self.root}{path}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, content)
        os.close(fd)

    def installed(self) -> Mapping[str, str]:
        """As the database has it."""
        return dict(json.loads(self.database.read_text()))

    def install(self, change: InstallPackages) -> None:
        """Unpack, rewrite the menu as a script would, and link the kernel."""
        packages = dict(self.installed())
        for name in change.names:
            self._set({**packages, name: "half"})
            self._write(f"/boot/{name}", b"kernel")
            self._fail("install")
            self._hook()
            if os.path.lexists(f"{self.root}/vmlinuz"):
                os.unlink(f"{self.root}/vmlinuz")
            os.symlink(f"boot/{name}", f"{self.root}/vmlinuz")
            packages[name] = "1"
            self._set(packages)

    def purge(self, names: Sequence[str]) -> None:
        """Remove, and rewrite the menu once more."""
        self._fail("purge")
        packages = dict(self.installed())
        for name in names:
            self.purged.append(name)
            if os.path.lexists(f"{self.root}/boot/{name}"):
                os.unlink(f"{self.root}/boot/{name}")
            self._hook()
            del packages[name]
            self._set(packages)

    def mend(self) -> None:
        """Finish what is half."""
        self._fail("mend")
        packages = dict(self.installed())
        self._set(
            {name: "1" if version == "half" else version for name, version in packages.items()}
        )

    def build(self, change: BuildInitrd, output: str) -> None:
        """Write an image in two parts."""
        fd = os.open(f"{self.root}{output}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, b"new ")
        self._fail("build")
        os.write(fd, b"initrd")
        os.close(fd)

    def put_back(self, version: str, path: str) -> None:
        """No hook has to know."""

    def gather(self, change: PlaceKernel, directory: str) -> None:
        """A file for each that goes to /boot, and modules with a link and an index."""
        os.mkdir(f"{self.root}{directory}/boot", 0o755)
        for path in change.boot:
            self._write(f"{directory}/boot/{os.path.basename(path)}", path.encode())
        if change.modules:
            modules = directory
            for name in ("lib", "modules", change.version, "kernel"):
                modules = f"{modules}/{name}"
                os.mkdir(f"{self.root}{modules}", 0o755)
            modules = os.path.dirname(modules)
            self._write(f"{modules}/kernel/a.ko", b"module")
            self._write(f"{modules}/modules.dep", b"index")
            os.symlink("a.ko", f"{self.root}{modules}/kernel/b.ko")
        self._fail("gather")

    def _hook(self) -> None:
        kernels = sorted(os.listdir(f"{self.root}/boot"))
        self._write("/boot/grub/grub.cfg", f"menu of {kernels}".encode())


@contextmanager
def calls(before: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Let `before` see every call that alters something, ahead of it, with names for people."""
    real = {name: getattr(os, name) for name in CALLS}

    def wrap(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name != "open" or args[1] & os.O_CREAT:
                before(name, tuple(shown(one) if isinstance(one, str) else one for one in args))
            return real[name](*args, **kwargs)

        return call

    try:
        for name in CALLS:
            setattr(os, name, wrap(name))
        yield
    finally:
        for name in CALLS:
            setattr(os, name, real[name])


def killed(at: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is killed at its nth altering call; a write is half done then.

    Whether it came to that: False means that the work was over before.
    """
    child = os.fork()
    if child == 0:
        write = os.write
        count = 0

        def before(name: str, args: tuple[Any, ...]) -> None:
            nonlocal count
            count += 1
            if count == at:
                if name == "write":
                    write(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with calls(before):
                work()
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


@contextmanager
def mounted(base: Path, size: int, *options: str) -> Iterator[Path]:
    """An ext4 file system of so many MiB, mounted; as small as it is, it can be filled."""
    image, place = base / "image", base / "mounted"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(size << 20)
    command = ["mkfs.ext4", "-q", "-F", "-b", "1024", "-m", "0", "-O", "^has_journal", *options]
    path = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run([*command, str(image)], check=True, env=path)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, env=path)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, env=path)
