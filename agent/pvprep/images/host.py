"""Programs of the host that handle disks, and how to say that one cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import Exit, PvprepError
from ..guest import Completed, Guest

# libdevmapper then sets no flag by which the host's udev rules would take a mapping for one of the
# host's own and activate what lies on it (libdm/libdm-common.c; 10-dm.rules and 69-dm-lvm.rules
# act only on events with DM_UDEV_PRIMARY_SOURCE_FLAG).
_ENVIRONMENT = {"DM_DISABLE_UDEV": "1"}
_PACKAGES = {
    "sfdisk": "fdisk or util-linux",
    "blkid": "util-linux",
    "e2fsck": "e2fsprogs",
    "xfs_repair": "xfsprogs",
    "xfs_logprint": "xfsprogs",
    "btrfs": "btrfs-progs",
    "dmsetup": "dmsetup or device-mapper",
    "kpartx": "kpartx",
    "cryptsetup": "cryptsetup-bin or cryptsetup",
    "qemu-img": "qemu-utils or qemu-img",
    "qemu-storage-daemon": "qemu-utils (qemu-system-common on Debian 11) or qemu-storage-daemon",
}


def refusal(message: str, hint: str = "") -> PvprepError:
    """An error that stops before anything was changed."""
    return PvprepError(message, hint, Exit.NOT_READY)


def run(argv: Sequence[str]) -> Completed:
    """Run a program of the host; it ends with us. Raises PvprepError where it is not installed."""
    done = Guest("/").run(argv, env=_ENVIRONMENT, tied=True)
    if done.status == 127:
        raise refusal(f"{argv[0]} is not installed", f"install {package_of(argv[0])} on this host")
    return done


def package_of(program: str) -> str:
    """The package that brings a program, in the words of several distributions."""
    return _PACKAGES.get(program, program)


def must(argv: Sequence[str], what: str, hint: str = "") -> str:
    """The output of a program that has to succeed; what: it was for, in the error."""
    done = run(argv)
    if done.status:
        said = done.output.strip() or f"status {done.status}"
        raise refusal(f"{what}: {argv[0]} says: {said}", hint)
    return done.output


def document(output: str) -> Any:
    """The JSON that a program wrote; complaints may stand before it. Raises ValueError."""
    return json.loads(output[output.find("{") :])
