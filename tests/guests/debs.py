"""The package that this checkout makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def build() -> Path:
    """Build the package, unless it is newer than all that it is made of."""
    subprocess.run(["make", "-s", "-C", str(TOP), "deb"], check=True, stdout=subprocess.DEVNULL)
    (package,) = (TOP / "build").glob("pvprep_*_all.deb")
    return package
