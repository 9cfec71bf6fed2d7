"""The workers that the journal calls: the guest's package manager and its initrd builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Callable, Optional

from . import initrds, outside, packages
from .changes import BuildInitrd, InstallPackages, PlaceKernel
from .errors import PvprepError
from .guest import Guest, Line
from .initrds import append
from .survey import system

# Given the part that is done (0 to 1, None: not known) and what is going on.
Progress = Callable[[Optional[float], str], None]
# Raises where an initrd at this path in the guest would not boot its kernel PV.
Prove = Callable[[BuildInitrd, str], None]


class GuestWorkers:
    """Implements changes.Workers for one guest."""

    def __init__(self, guest: Guest, line: Line, progress: Progress, prove: Prove) -> None:
        self.guest = guest
        self.line = line
        self.prove = prove
        family = system.distro(guest).family
        self.manager = packages.manager_of(guest, family, line, progress)

    def wait(self) -> None:
        """Wait until nobody else holds the package manager's lock; PvprepError if that lasts."""
        self.manager.wait()

    def install(self, change: InstallPackages) -> None:
        """Install by name, or the first of several that can be had."""
        if change.one_of:
            name = self.manager.choose(change.one_of)
            change = replace(change, names=(*change.names, name))
        self.manager.install(change)

    def purge(self, names: Sequence[str]) -> None:
        """Remove packages with their configuration."""
        self.manager.purge(names)

    def installed(self) -> Mapping[str, str]:
        """Every installed package and its version."""
        return self.manager.installed()

    def mend(self) -> None:
        """Finish what a killed package manager left half done."""
        self.manager.mend()

    def build(self, change: BuildInitrd, output: str) -> None:
        """Build an initrd, or extend the old one, and open it before anybody relies on it."""
        if change.adds:
            append.build(self.guest, change, change.adds, output)
        else:
            # One that is there gives the new one its mode in the end, which may hide a key.
            there = self.guest.is_file(change.path)
            initrds.build(self.guest, change.tool, change.version, output, self.line, there)
        self.prove(change, output)

    def put_back(self, version: str, path: str) -> None:
        """Have the guest's hooks run, where it runs itself; one that fails is in the log."""
        if self.guest.running:
            with suppress(PvprepError):
                tool = initrds.detect(self.guest)
                initrds.finish(self.guest, tool, version, path, self.line)

    def gather(self, change: PlaceKernel, directory: str) -> None:
        """Copy a kernel's files from outside, and index its modules."""
        outside.gather(self.guest, change, directory, self.line)
