"""What rpm's database says, by the guest's own rpm program: no other is sure to know its format.

A key is `name.arch`. Of several versions of one package, as kernels have, only the first that was
installed has that key; the others have `name-version.arch`: so what comes later is always new, and
what is replaced is another version under the same key.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..errors import PvprepError
from ..guest import Guest
from ..synced import private

# In the order in which they came: the number grows with each package (rpm's DBINSTANCE).
_FORMAT = "pvprep|%{DBINSTANCE}|%{NAME}|%{EPOCH}|%{VERSION}-%{RELEASE}|%{ARCH}\n"
# What a transaction is about to unpack: rpm notes a package only after its files are there.
INCOMING = "/var/lib/pvprep/incoming"


@dataclass(frozen=True)
class Package:
    """An installed package. release: `version-release`, without an epoch."""

    number: int
    name: str
    epoch: str
    release: str
    architecture: str

    @property
    def version(self) -> str:
        """`[epoch:]version-release`."""
        return f"{self.epoch}:{self.release}" if self.epoch else self.release

    @property
    def short(self) -> str:
        """`name.arch`."""
        return f"{self.name}.{self.architecture}" if self.architecture else self.name

    @property
    def full(self) -> str:
        """`name-version-release.arch`, which is one package for every rpm."""
        suffix = f".{self.architecture}" if self.architecture else ""
        return f"{self.name}-{self.release}{suffix}"


def packages(guest: Guest) -> dict[str, Package]:
    """Every installed package by its key (see above), in the order in which they came."""
    found: dict[str, Package] = {}
    for package in sorted(_query(guest, ["-qa"]), key=lambda one: one.number):
        found[package.full if package.short in found else package.short] = package
    return found


def in_files(guest: Guest, files: Sequence[str]) -> list[Package]:
    """The packages that files (paths inside the guest) hold."""
    return _query(guest, ["-qp", *files])


def _query(guest: Guest, what: Sequence[str]) -> list[Package]:
    done = guest.run(["rpm", *what, "--qf", _FORMAT])
    rows = [line.split("|")[1:] for line in done.output.split("\n") if line.startswith("pvprep|")]
    if done.status:
        wrong = [line for line in done.output.split("\n") if line and "pvprep|" not in line]
        raise PvprepError(
            f"rpm cannot read {'its database' if what == ['-qa'] else 'the package file'}: "
            f"{'; '.join(wrong[:3]) or f'status {done.status}'}",
            "see what `rpm -qa` says; `rpm --rebuilddb` mends some troubles"
            if what == ["-qa"]
            else "give package files of this distribution",
        )
    return [
        Package(int(number) if number.isdigit() else 0, name, _some(epoch), release, _some(arch))
        for number, name, epoch, release, arch in rows
    ]


def _some(text: str) -> str:
    return "" if text == "(none)" else text


def expect(guest: Guest, files: Sequence[str]) -> None:
    """Note, on the disk, what these package files will unpack that is not there yet."""
    done = guest.run(["rpm", "-qp", "--qf", "[pvprep|%{=NVRA}|%{FILENAMES}\n]", *files])
    coming: dict[str, list[str]] = {}
    for line in done.output.split("\n"):
        if line.startswith("pvprep|"):
            _, package, path = line.split("|", 2)
            if guest.lstat(path) is None:
                coming.setdefault(package, []).append(path)
    guest.make_directory(os.path.dirname(INCOMING), 0o700)
    settled(guest)
    with open(
        guest.host(INCOMING), "x", encoding="utf-8", errors="surrogateescape", opener=private
    ) as file:
        json.dump(coming, file)
        file.flush()
        os.fsync(file.fileno())


def settled(guest: Guest) -> None:
    """What was expected has come, or is gone."""
    with suppress(FileNotFoundError), guest.at(INCOMING, follow=False) as (name, directory):
        os.unlink(name, dir_fd=directory)


def sweep(guest: Guest, there: Mapping[str, Package]) -> None:
    """Remove what a killed transaction unpacked of packages that the database does not know."""
    try:
        coming = json.loads(guest.text(INCOMING) or "{}")
    except ValueError:
        coming = {}  # killed while it was written: nothing had been unpacked then
    known = {package.full for package in there.values()}
    for package, paths in coming.items():
        if package not in known:
            _remove(guest, paths)
    settled(guest)


def _remove(guest: Guest, paths: Iterable[str]) -> None:
    """Files, those still under rpm's temporary name (`name;1234abcd`), and empty directories."""
    by_directory: dict[str, set[str]] = {}
    for path in paths:
        directory, name = os.path.split(path)
        by_directory.setdefault(directory, set()).add(name)
    for directory in sorted(by_directory, reverse=True):  # the deepest first
        for name in guest.names(directory):
            if name.split(";")[0] not in by_directory[directory]:
                continue
            try:
                with guest.at(f"{directory}/{name}", follow=False) as (last, fd):
                    if stat.S_ISDIR(os.lstat(last, dir_fd=fd).st_mode):
                        os.rmdir(last, dir_fd=fd)
                    else:
                        os.unlink(last, dir_fd=fd)
            except OSError:
                pass  # a directory in which somebody has put something
