"""What a package manager does for pvprep; one class for each implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..changes import InstallPackages


@dataclass(frozen=True)
class Candidate:
    """A version of a package that could be installed; size: of its archive, in bytes."""

    name: str
    version: str
    architecture: str
    size: int
    installed: str = ""  # the version that is installed now


class Manager(Protocol):
    """The package manager of one guest. What fails raises PvprepError, in words.

    Nothing it runs prints to our stdout or stderr, and an interrupt does not tear it apart.
    Packages have keys, `name:arch` or as rpmdb.py says, under which `installed` gives their
    versions and `purge` takes them.
    """

    def wait(self) -> None:
        """Wait until its locks are free and see that its database can be read."""

    def installed(self) -> Mapping[str, str]:
        """Every installed package, half installed ones too: key -> version."""

    def choose(self, names: Sequence[str]) -> str:
        """The first of these packages that can be installed; raises, saying why, where none can."""

    def install(self, change: InstallPackages) -> None:
        """Install packages by name or from files.

        Refused before anything changes: a plan that removes or downgrades a package, or upgrades
        one without need. A kernel comes beside those that are there. A script of a package that
        fails is an error.
        """

    def purge(self, names: Sequence[str]) -> None:
        """Remove exactly these packages with their configuration; absent ones are passed over."""

    def mend(self) -> None:
        """Bring to an end what a kill left half done."""
