"""Kernels in .deb and .rpm files, read as a stream: nothing is unpacked anywhere.

dpkg-deb(1) and rpm2cpio(8) give the archive that is inside; what is in that is checked here.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ..errors import Exit, PvprepError
from ..guest import ENVIRONMENT
from ..survey import cpio
from ..survey.streams import PayloadError, Stream
from .member import DIR, FILE, LINK, Member, refused, wanted

if TYPE_CHECKING:
    import tarfile

SUFFIXES = (".deb", ".rpm")
PIECE = 1 << 20
LINK_MAX = 4096  # PATH_MAX


def members(path: str) -> Iterator[Member]:
    """What a kernel is made of in this package. PvprepError where it cannot be read."""
    return _deb(path) if path.endswith(".deb") else _rpm(path)


def _deb(path: str) -> Iterator[Member]:
    import tarfile

    with _said_by(["dpkg-deb", "--fsys-tarfile", path], "dpkg", path) as out:
        try:
            with tarfile.open(fileobj=out, mode="r|", errors="surrogateescape") as archive:
                for info in archive:
                    name = wanted(info.name, path)
                    if name:
                        yield _of_tar(archive, info, name, path)
        except tarfile.TarError as error:
            raise _damaged(path, str(error)) from None


def _of_tar(
    archive: tarfile.TarFile, info: tarfile.TarInfo, name: str, path: str
) -> Member:
    kind = FILE if info.isreg() else LINK if info.issym() else DIR if info.isdir() else ""
    if not kind:
        raise refused(path, f"{name} is neither a file nor a directory nor a symlink")

    def content() -> Iterable[bytes]:
        file = archive.extractfile(info)
        assert file is not None  # it is a regular file
        while piece := file.read(PIECE):
            yield piece

    mtime = int(info.mtime) * 10**9
    size = info.size if kind == FILE else 0
    return Member(name, kind, info.mode, mtime, size, info.linkname, content)


def _rpm(path: str) -> Iterator[Member]:
    with _said_by(["rpm2cpio", path], "rpm2cpio or rpm", path) as out:
        stream = Stream(piece for piece in iter(lambda: out.read(PIECE), b""))
        try:
            for found in cpio.members(stream):
                name = wanted(found.name, path)
                if name:
                    yield _of_cpio(stream, found, name, path)
        except PayloadError as error:
            raise _damaged(path, str(error)) from None


def _of_cpio(stream: Stream, found: cpio.Member, name: str, path: str) -> Member:
    kinds = {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: DIR}
    kind = kinds.get(stat.S_IFMT(found.mode), "")
    if not kind or (kind == FILE and found.links > 1):
        raise refused(path, f"{name} is neither a file of its own nor a directory nor a symlink")
    target = b""
    if kind == LINK:
        if found.size > LINK_MAX:
            raise refused(path, f"{name} is a symlink of {found.size} bytes")
        target = stream.take(found.size)

    def content() -> Iterable[bytes]:
        left = found.size
        while left and (piece := stream.take(min(left, PIECE))):
            left -= len(piece)
            yield piece

    text = target.decode("utf-8", "surrogateescape")
    mode, mtime = stat.S_IMODE(found.mode), found.mtime * 10**9
    return Member(name, kind, mode, mtime, found.size if kind == FILE else 0, text, content)


@contextmanager
def _said_by(argv: list[str], package: str, path: str) -> Iterator[IO[bytes]]:
    """The standard output of a program, which has to end well if it is read to its end."""
    import subprocess
    import tempfile

    program = shutil.which(argv[0], path=ENVIRONMENT["PATH"])
    if program is None:
        raise PvprepError(
            f"{path} cannot be opened: {argv[0]} is not installed here",
            f"install {package}, or unpack the package and name the directory",
            Exit.NOT_READY,
        )
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=ENVIRONMENT,
        )
        assert process.stdout is not None
        with process:
            try:
                yield process.stdout
                while process.stdout.read(PIECE):
                    pass  # padding behind the archive's end
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        said = errors.read(PIECE).decode("utf-8", "replace").strip()
    if process.returncode:
        raise _damaged(path, said or f"{argv[0]}: status {process.returncode}")


def _damaged(path: str, why: str) -> PvprepError:
    return PvprepError(
        f"{path} cannot be read: {why}",
        "get the package anew; it is damaged or no package",
        Exit.NOT_READY,
    )
