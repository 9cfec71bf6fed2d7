"""What unlocks an encrypted container: from the operator's file, or typed."""

from __future__ import annotations

import getpass
import sys

from .host import refusal

_MAX = 8 << 20  # bytes, as cryptsetup(8) has it


def key_of(name: str, key_file: str) -> bytes:
    """The content of the file, if one is given, to the byte; else it is asked for at the terminal.

    name: of the container, for people. PvprepError where there is neither.
    """
    if key_file:
        try:
            with open(key_file, "rb") as file:
                return file.read(_MAX)
        except OSError as error:
            raise refusal(f"{key_file}: {error.strerror}") from None
    if not sys.stdin.isatty():
        raise refusal(f"{name} is encrypted and nobody is there to ask", "give --key-file FILE")
    return getpass.getpass(f"Passphrase of {name}: ").encode("utf-8", "surrogateescape")
