"""The workers that the journal calls: the guest's package manager and its initrd builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Callable, Optional

from . import initrds
from .changes import BuildInitrd, InstallPackages
from .errors import PvprepError
from .guest import Guest, Line

# Given the part that is done (0 to 1, None: not known) and what is going on.
Progress = Callable[[Optional[float], str], None]
# Raises where an initrd at this path in the guest would not boot its kernel PV.
Prove = Callable[[BuildInitrd, str], None]


class GuestWorkers:
    """Implements changes.Workers for one guest."""

    def __init__(self, guest: Guest, line: Line, progress: Progress, prove: Prove) -> None:
        from .packages.apt import Apt

        self.guest = guest
        self.line = line
        self.prove = prove
        self.apt = Apt(guest, line=line, progress=progress)

    def wait(self) -> None:
        """Wait until nobody else holds the package manager's lock; PvprepError if that lasts."""
        self.apt.wait()

    def install(self, change: InstallPackages) -> None:
        """Install by name, or the first of several that can be had."""
        if change.one_of:
            known = self.apt.candidates(change.one_of)
            name = next((name for name in change.one_of if name in known), "")
            if not name:
                raise PvprepError(
                    f"no package source offers {' or '.join(change.one_of)}",
                    "see /etc/apt/sources.list; on i386 a 64-bit kernel may need "
                    "`dpkg --add-architecture amd64`; or give one with --kernel-package FILE",
                )
            change = replace(change, names=(*change.names, name))
        self.apt.install(change)

    def purge(self, names: Sequence[str]) -> None:
        """Remove packages with their configuration."""
        self.apt.purge(names)

    def installed(self) -> Mapping[str, str]:
        """Every installed package and its version."""
        return self.apt.installed()

    def mend(self) -> None:
        """Finish what a killed dpkg left half done."""
        self.apt.mend()

    def build(self, change: BuildInitrd, output: str) -> None:
        """Build an initrd, and open it before anybody relies on it."""
        initrds.build(self.guest, change.tool, change.version, output, self.line)
        self.prove(change, output)
