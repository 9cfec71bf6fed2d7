"""The Debian package, built once for all tests that install it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from tests.guests import chroot, hostapt

CHECKOUT = Path(__file__).resolve().parents[2]
_INSTALL = ("apt-get", "-q", "-y", "--no-install-recommends", "install")


@functools.cache
def built() -> Path:
    """The package file, made by `make deb` from the checkout as it is. Takes 10 s, the first time.

    Raises CalledProcessError where the build fails; what it said is on stderr.
    """
    # A make above this one would have its options obeyed.
    environment = {key: text for key, text in os.environ.items() if not key.startswith("MAKE")}
    subprocess.run(["make", "-s", "deb"], cwd=CHECKOUT, env=environment, check=True)
    (file,) = (CHECKOUT / "build").glob("pvprep_*_all.deb")
    return file


def install(root: Path, package: Path) -> str:
    """Install the package in a tree by its apt, with what it depends on; gives what apt said."""
    shutil.copy(package, root / "tmp")
    with hostapt.online(root):
        chroot.run(root, ["apt-get", "-q", "update"])
        said = chroot.run(root, [*_INSTALL, f"/tmp/{package.name}"])
    (root / "tmp" / package.name).unlink()
    return said
