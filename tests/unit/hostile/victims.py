"""What lies outside a guest and must not be touched: content, metadata, and when it was read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

LONG_AGO, LATER = 1_000_000_000 * 10**9, 1_500_000_000 * 10**9
SECRET = b"root:secret:19000:0:99999:7:::\n"
FILES = (
    *("shadow", "etc/fstab", "etc/os-release", "etc/default/grub", "etc/passwd"),
    *("boot/vmlinuz-6.1.0-28-amd64", "boot/initrd.img-6.1.0-28-amd64", "boot/grub/grub.cfg"),
    *("lib/pvprep/manifest", "lib/pvprep/lock", "lib/dpkg/status", "lib/dpkg/lock"),
)


class Victims:
    """A host's files beside the guest's root, and what they were."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in FILES:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_bytes(SECRET)
        os.symlink("shadow", base / "link")
        for where, directories, files in os.walk(base, topdown=False):
            for name in [*files, *directories, "."]:
                # Read before it was written: relatime has the next reading noted (mount(8)).
                times = LONG_AGO, LATER
                os.utime(os.path.join(where, name), ns=times, follow_symlinks=False)
        self.look_again()

    def look_again(self) -> None:
        """What they are now is what they have to stay."""
        self._was, self._content = self._see(), self._read()

    def touched(self, only_content: bool = False) -> dict[str, Any]:
        """What is no longer as it was: each path, before and after."""
        if only_content:
            return {} if self._read() == self._content else {"content": "is another"}
        now = self._see()
        return {
            path: (self._was.get(path), now.get(path))
            for path in sorted({*self._was, *now})
            if self._was.get(path) != now.get(path)
        }

    def _read(self) -> list[Any]:
        """Content, owner and mode; it leaves the times as they are (O_NOATIME)."""
        found: list[Any] = []
        for name in FILES:
            fd = os.open(self.base / name, os.O_RDONLY | os.O_NOATIME)
            with open(fd, "rb") as file:
                info = os.fstat(fd)
                meta = info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns
                found.append((file.read(), *meta))
        return found

    def _see(self) -> dict[str, Any]:
        """Metadata alone: whatever alters the content alters a time with it."""
        places = [self.base, *(self.base / name for name in FILES), self.base / "link"]
        places += sorted({place.parent for place in places[1:-1]})
        found: dict[str, Any] = {}
        for place in places:
            try:
                info = os.lstat(place)
            except OSError as error:
                found[str(place)] = error.strerror
                continue
            times = (info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns)
            found[str(place)] = (info.st_mode, info.st_uid, info.st_gid, info.st_size,
                                 info.st_nlink, *times)  # fmt: skip
        return found
