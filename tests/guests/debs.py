"""The packages that this checkout makes."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def build() -> Path:
    """Build Debian's package, unless it is newer than all that it is made of."""
    return _make("deb", "pvprep_*_all.deb")


def build_rpm() -> Path:
    """Build the rpm package in the same way; its source package lies in build/rpm/SRPMS."""
    return _make("rpm", "pvprep-[0-9]*.noarch.rpm")


def _make(target: str, file: str) -> Path:
    (TOP / "build").mkdir(exist_ok=True)
    with (TOP / f"build/{target}.lock").open("w") as lock:  # the build has one directory for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "-C", str(TOP), target], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = (TOP / "build").glob(file)
    return package
