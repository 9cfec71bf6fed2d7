"""What is asked for: which disks, and how they shall be attached."""

from __future__ import annotations

from dataclasses import dataclass

HOW = ("auto", "loop", "kpartx", "guestfs")


@dataclass(frozen=True)
class Request:
    """disks: paths, in the guest's order. how: one of HOW. read_only: nothing is even opened for
    writing. key_file: for LUKS; "": the passphrase is asked for at the terminal.
    """

    disks: tuple[str, ...]
    how: str = "auto"
    read_only: bool = False
    key_file: str = ""
