"""The package that this checkout makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def build() -> Path:
    """Build the package, unless it is newer than all that it is made of."""
    done = subprocess.run(["make", "-C", str(TOP), "deb"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = (TOP / "build").glob("pvprep_*_all.deb")
    return package
