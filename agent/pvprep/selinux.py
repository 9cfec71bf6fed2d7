"""Labels for new files where SELinux is at work; for a tree see steps/selinux.py."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import PvprepError
from .guest import Guest, Line
from .steps.selinux import ENFORCE


def restore(guest: Guest, paths: Sequence[str], line: Line) -> None:
    """Have restorecon(8) give new files the labels of the policy, if SELinux is at work here.

    A file in place of an old one has the old one's label already. PvprepError where it fails.
    """
    if not paths or not guest.running or not guest.exists(ENFORCE):
        return
    # -R: a kernel's modules are new as a whole. -i: what is gone again needs no label.
    done = guest.run(["restorecon", "-R", "-i", *paths], line=line)
    if done.status:
        raise PvprepError(
            f"new files could not be labelled: restorecon: status {done.status}",
            "see the log; restorecon(8) is part of policycoreutils",
        )
