"""libguestfs' appliance for a machine without a kernel of its own: made once, in the cache.

supermin looks for modules below /lib/modules, so they are shown there to it alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from tests.guests import roots

_PACKAGE = "linux-image-cloud-amd64"
_BUILD = """
mount -t overlay -o "lowerdir=$1/kernel/lib:/usr/lib" overlay /usr/lib
exec supermin --build -f ext2 --copy-kernel --host-cpu x86_64 \
    /usr/lib/*/guestfs/supermin.d -o "$1/appliance"
"""


def environment() -> dict[str, str]:
    """The variables by which libguestfs finds it, and works without hardware support."""
    settings = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    if not any(name.startswith("vmlinuz") for name in os.listdir("/boot")):
        settings["LIBGUESTFS_PATH"] = str(_made() / "appliance")
    return settings


def _made() -> Path:
    place = roots.CACHE / f"appliance-{_version()}"
    with open(f"{place}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            half = Path(f"{place}.half")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            _build(half)
            shutil.rmtree(half / "kernel")
            half.rename(place)
    return place


def _build(place: Path) -> None:
    version = _version()
    image = f"linux-image-{version}"
    _run(["apt-get", "-q", "download", "-o", "APT::Sandbox::User=root", image], place)
    (package,) = place.glob("*.deb")
    _run(["dpkg-deb", "-x", package.name, "kernel"], place)
    package.unlink()
    _run(["depmod", "-b", "kernel", version], place)
    variables = {
        "SUPERMIN_KERNEL": f"{place}/kernel/boot/vmlinuz-{version}",
        "SUPERMIN_MODULES": f"{place}/kernel/lib/modules/{version}",
    }
    _run(["unshare", "--mount", "sh", "-ec", _BUILD, "sh", str(place)], place, variables)
    (place / "appliance/README.fixed").touch()  # by which libguestfs knows it


def _version() -> str:
    said = _run(["apt-cache", "depends", _PACKAGE], Path("/"))
    (image,) = [line.split()[1] for line in said.splitlines() if "Depends: linux-image-" in line]
    return image[len("linux-image-") :]


def _run(argv: list[str], place: Path, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, cwd=place, env={**os.environ, **(variables or {})}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}"
    return done.stdout
