"""Runs commands as an installer does, on the new system that it has mounted.

What it is like there: process 1 is no systemd, the kernel is the installer's (this machine's), so
are its command line and /run with udev's notes, and /proc, /sys and /dev are mounted in the new
system. Only its disk is the guest's, by a stand-in for lsblk. Whoever starts a service is recorded.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.roots import lsblk

_ENTER = """
mount --make-rprivate /
cd "$1"
mount -t proc proc proc
mount -t sysfs sys sys
mount --rbind /dev dev
mount --bind "$2/run" run
mount --bind "$2/cmdline" proc/cmdline
mount --bind "$2/lsblk" bin/lsblk
mount --bind "$2/systemctl" bin/systemctl
exec sh -c "$3"
"""
# Of Debian's and Ubuntu's installers: they run a command in the new system, here the directory.
_IN_TARGET = """\
#!/bin/sh
exec chroot . "$@"
"""
_CURTIN = """\
#!/bin/sh
[ "$1 $2 $3" = "in-target --target=/target --" ] || exit 64
shift 3
exec chroot . "$@"
"""
_SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> /run/recorded
exec /run/systemctl "$@"
"""
CMDLINE = "BOOT_IMAGE=vmlinuz inst.stage2=hd:LABEL=installer root=live:/dev/sr0 console=ttyS9\n"


class Installer:
    """An installer that has come to its end, but for what a person wants it to do still."""

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self._work = work
        for directory in ("run/udev/data", "run/systemd/system", "bin"):
            (work / directory).mkdir(parents=True)
        (work / "run/udev/data/b8:1").write_text("E:ID_FS_UUID=of-the-installer\n")
        (work / "cmdline").write_text(CMDLINE)
        lsblk.stand_in(root, work / "lsblk")
        shutil.copy(root / "usr/bin/systemctl", work / "run")
        programs = {"systemctl": _SYSTEMCTL, "bin/in-target": _IN_TARGET, "bin/curtin": _CURTIN}
        for name, text in programs.items():
            (work / name).write_text(text)
            (work / name).chmod(0o755)

    def run(self, command: str, env: Mapping[str, str] = {}) -> int:
        """Let sh run a command outside, in the new system's directory; gives its status."""
        isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        path = f"{self._work}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(
            [*isolate, "sh", "-ec", _ENTER, "sh", self.root, self._work, command],
            env={"PATH": path, **env},
            stdin=subprocess.DEVNULL,
        ).returncode

    def script(self, place: str, text: str, log: str = "/dev/null") -> int:
        """Run a script in the new system, as kickstart and AutoYaST do; its words go to the log."""
        inside = self.root / place
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(text)
        return self.run(f"chroot . /bin/sh /{place} > .{log} 2>&1")

    @property
    def services(self) -> list[str]:
        """What systemctl was asked to do, but in a tree: dracut enables units in an initrd's."""
        recorded = self._work / "run/recorded"
        lines = recorded.read_text().splitlines() if recorded.exists() else []
        return [line for line in lines if "--root" not in line]
