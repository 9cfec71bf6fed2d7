"""The package that this checkout makes."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def build() -> Path:
    """Build the package, unless it is newer than all that it is made of."""
    (TOP / "build").mkdir(exist_ok=True)
    with (TOP / "build/deb.lock").open("w") as lock:  # the build has one directory for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "-C", str(TOP), "deb"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = (TOP / "build").glob("pvprep_*_all.deb")
    return package
