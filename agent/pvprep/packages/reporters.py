"""What python-apt calls while it downloads and installs.

Duck-typed: the base classes in apt.progress would make this module import apt.
"""

from __future__ import annotations

from typing import Any

from .child import Child, Progress
from .signals import Held


class Fetching:
    """What python-apt calls while it downloads (apt.progress.base.AcquireProgress).

    It sets the attributes current_bytes, total_bytes and more before each pulse.
    """

    def __init__(self, what: str, progress: Progress, total_known: bool, held: Held) -> None:
        """held: where a signal is noted, which ends the download."""
        self.what = what
        self.held = held
        self.progress = progress
        self.total_known = total_known  # of lists apt learns the size as it goes
        self.current_bytes = 0.0
        self.total_bytes = 0.0
        self.failures: list[str] = []

    def pulse(self, _owner: Any) -> bool:
        """Called twice a second; True: go on."""
        known = self.total_known and self.total_bytes > 0
        fraction = min(self.current_bytes / self.total_bytes, 1.0) if known else None
        self.progress(fraction, f"{self.what}: {_size(self.current_bytes)}")
        return not self.held.number

    def fail(self, item: Any) -> None:
        """One file could not be had (also where that does not matter: translations)."""
        if item.owner.status != item.owner.STAT_DONE:
            self.failures.append(f"{item.description}: {item.owner.error_text}".strip(": "))

    def media_change(self, _media: str, _drive: str) -> bool:
        """A CD-ROM is wanted: nobody is there to change it."""
        return False

    def start(self) -> None:
        """Nothing to prepare."""
        self.progress(0.0 if self.total_known else None, self.what)

    def stop(self) -> None:
        """Nothing to put away."""

    def done(self, _item: Any) -> None:
        """One file is there."""

    def fetch(self, _item: Any) -> None:
        """One file begins."""

    def ims_hit(self, _item: Any) -> None:
        """One file is as it was."""


class Installing:
    """What python-apt calls to install (apt.progress.base.InstallProgress)."""

    def __init__(self, child: Child, held: Held) -> None:
        self.child = child
        self.held = held
        self.status = 0

    def start_update(self) -> None:
        """Nothing to prepare."""

    def finish_update(self) -> None:
        """Nothing to put away."""

    def run(self, manager: Any) -> int:
        """Run dpkg through apt's package manager in the child; 1, and apt gives up, if it fails.

        With 2 apt would begin anew, for another CD-ROM: here everything was fetched.
        """
        if self.held.number:
            return 1  # it has not begun
        with self.held.released():
            self.status = self.child.run(manager.do_install)
        return 1 if self.status else 0


def _size(number: float) -> str:
    return f"{number / 1e6:.1f} MB"
