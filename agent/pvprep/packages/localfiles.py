"""Package files from outside, put where a package manager finds them in a tree."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from ..errors import PvprepError
from ..guest import Guest
from ..namespace import MEMORY

_PLACE = f"{MEMORY}/pvprep-packages"


def inside(guest: Guest, files: Sequence[str]) -> list[str]:
    """The files' paths inside the guest; copies in a tree, gone with the namespace."""
    for file in files:
        if not os.path.isfile(file):
            raise PvprepError(f"{file}: no such package file")
    if guest.running or not files:
        return [os.path.abspath(file) for file in files]
    guest.make_directory(_PLACE)
    for file in files:
        shutil.copy(file, guest.host(f"{_PLACE}/{os.path.basename(file)}"))
    return [f"{_PLACE}/{os.path.basename(file)}" for file in files]
