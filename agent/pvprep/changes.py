"""The few kinds of change there are, as data. The journal carries them out and knows their undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional, Protocol, Union


@dataclass(frozen=True)
class WriteFile:
    """Give a file new content; owner, mode, xattrs and the rest stay. path: all links resolved.

    expect: the content that the plan was made from, None where no file was (then mode is used).
    why: for people, one line each (`/etc/fstab:3 /dev/sda1 -> /dev/xvda1`).
    """

    step: str
    path: str
    content: bytes
    expect: Optional[bytes]
    mode: int = 0o644
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remove:
    """Remove a file or a symlink."""

    step: str
    path: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """Rename a file, link or directory with all that is in it; `to` must not exist."""

    step: str
    path: str
    to: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class MakeDir:
    """Make one directory (its parents are made where they are missing)."""

    step: str
    path: str
    mode: int = 0o755
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class MakeLink:
    """Make a symlink where nothing is."""

    step: str
    path: str
    target: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstallPackages:
    """Install packages by name, or from local package files (paths outside the guest).

    one_of: names of which the first that can be had is installed. touches: files that the
    packages' scripts are known to rewrite (boot loader configuration, links in /); they are backed
    up before and put back, byte for byte, by the undo.
    """

    step: str
    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    touches: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Additions:
    """What is appended to an initrd, so that no program of the guest has to run.

    modules: to be there, by name, with all that they depend on. files: pairs of a path in the
    initrd (`conf/modules`) and the content that replaces what is there. flat: modules lie in lib/
    and init loads them by file, as nash does; else they lie in lib/modules with an index. base: the
    initrd of another kernel, which a new one is made from; "" where the kernel has its own.
    """

    modules: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    flat: bool = False
    base: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What there is, in a word each."""
        return (*self.modules, *(path for path, _ in self.files))


@dataclass(frozen=True)
class PlaceKernel:
    """Put a kernel from outside the guest, with its modules, where nothing of that name is.

    source: as --kernel-from names it. modules: the directory of its modules, "" where that is there
    already; boot: the files that go to /boot, by path, with their SHA-256. frontends: which modules
    depmod has to find in the new directory.
    """

    step: str
    version: str
    source: str
    modules: str
    boot: Mapping[str, str]
    frontends: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All that comes into being."""
        return (*([self.modules] if self.modules else []), *self.boot)

    @property
    def path(self) -> str:
        """The first of them: the files are gathered in its directory."""
        return self.paths[0]


@dataclass(frozen=True)
class BuildInitrd:
    """Build the initrd of a kernel beside the old one, prove its content, then swap it in.

    tool: which builder. adds: what the old one, or another kernel's, is to be extended by instead
    of being built anew.
    """

    step: str
    version: str
    path: str
    tool: str
    why: tuple[str, ...] = ()
    adds: Optional[Additions] = None


Change = Union[
    WriteFile, Remove, Move, MakeDir, MakeLink, InstallPackages, PlaceKernel, BuildInitrd
]


class Workers(Protocol):
    """What the journal cannot do with files alone; implemented by packages/, outside/ and
    initrds/."""

    def install(self, change: InstallPackages) -> None:
        """Install; raise PvprepError where it fails (some packages may then be half installed)."""

    def purge(self, names: Sequence[str]) -> None:
        """Remove packages with their configuration; raise PvprepError where it fails."""

    def installed(self) -> Mapping[str, str]:
        """Every installed package, half installed ones too: `name:arch` -> version."""

    def mend(self) -> None:
        """Finish what a killed package manager left half done (`dpkg --configure -a`)."""

    def build(self, change: BuildInitrd, output: str) -> None:
        """Build the initrd at output (a path inside the guest) and prove it; raise if it fails."""

    def put_back(self, version: str, path: str) -> None:
        """Tell who has to know that the old initrd of a kernel lies at its path again."""

    def gather(self, change: PlaceKernel, directory: str) -> None:
        """Write the kernel's files into an empty directory of the guest, and prove them: boot/NAME
        for each file of change.boot, lib/modules/VERSION for the modules; raise if it fails."""
