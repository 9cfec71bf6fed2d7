"""Package managers, one class each, and what is read from their databases without starting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import Finding
from ..guest import Guest, Line

if TYPE_CHECKING:
    from .child import Progress
    from .manager import Manager


def check(guest: Guest, family: str) -> list[Finding]:
    """What hinders the package manager of a family (Distro.family); reads only, and is quick."""
    if family == "debian":
        from . import dpkg

        return dpkg.check(guest)
    if family:
        from . import rpmcheck

        return rpmcheck.check(guest)
    return []  # where another package manager is used, that is the finding


def manager_of(guest: Guest, family: str, line: Line, progress: Progress) -> Manager:
    """The package manager of a guest. line: each line that it prints."""
    if family in ("redhat", "suse"):
        from . import rpm

        return rpm.find(guest, family, line, progress)
    from .apt import Apt

    return Apt(guest, line, progress)
