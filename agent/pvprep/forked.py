"""What a process does to itself between its fork and the program that it becomes.

Each gives a function to be called there: what it needs is looked up before. Sources: prctl(2),
unshare(2), network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Sequence
from typing import Optional

CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1

Act = Callable[[], None]


def dying_with_parent() -> Act:
    """It gets SIGTERM when its parent dies."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)

    return ask


def offline() -> Act:
    """It and all that it starts have no network: not even what listens on this host's own addresses
    or abstract sockets (Upstart, D-Bus). OSError, from the function, where that is not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def leave() -> None:
        if libc.unshare(CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"no network namespace of its own: {os.strerror(number)}")

    return leave


def all_of(acts: Sequence[Act]) -> Optional[Act]:
    """One after the other; None for nothing (what subprocess can start faster)."""

    def do() -> None:
        for act in acts:
            act()

    return do if acts else None
