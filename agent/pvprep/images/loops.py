"""Loop devices that go with the last who has them open: nothing is left by a kill.

losetup(8) cannot ask for that while it makes one. Sources: loop(4), Linux include/uapi/linux/loop.h
and drivers/block/loop.c; LOOP_CONFIGURE is of Linux 5.8.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from types import TracebackType
from typing import Optional

from .host import refusal
from .volumes import Range

_SET_FD, _CLR_FD, _SET_STATUS64, _GET_STATUS64 = 0x4C00, 0x4C01, 0x4C04, 0x4C05
_CONFIGURE, _GET_FREE = 0x4C0A, 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
# struct loop_info64: device, inode, rdevice, offset, sizelimit, number, encryption, flags, name.
_INFO = struct.Struct("=QQQQQIIII64s64s32sQQ")
_TRIES = 32


class Loop:
    """A loop device over a range, open until close(). PvprepError where none can be made."""

    def __init__(self, one: Range, read_only: bool) -> None:
        how = os.O_RDONLY if read_only else os.O_RDWR
        try:
            backing = os.open(one.path, how | os.O_CLOEXEC)
        except OSError as error:
            raise refusal(f"{one.path} cannot be opened: {error.strerror}") from None
        try:
            self.path, self._fd = _attach(backing, one, read_only)
        except OSError as error:
            hint = "modprobe loop; in a container it needs /dev/loop-control and CAP_SYS_ADMIN"
            raise refusal(f"no loop device for {one.path}: {error.strerror}", hint) from None
        finally:
            os.close(backing)

    def close(self) -> None:
        """The end of it, once nothing is mounted from it either."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


def over(info: os.stat_result) -> list[str]:
    """Loop devices that somebody made over this file or device."""
    found = []
    for name in sorted(os.listdir("/sys/block")) if os.path.isdir("/sys/block") else ():
        if not os.path.exists(f"/sys/block/{name}/loop/backing_file"):
            continue
        try:
            fd = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            status = _INFO.unpack(fcntl.ioctl(fd, _GET_STATUS64, bytes(_INFO.size)))
        except OSError:
            continue  # gone in the meantime
        finally:
            os.close(fd)
        same = (status[0], status[1]) == (info.st_dev, info.st_ino)
        if same or (info.st_rdev and status[2] == info.st_rdev):
            found.append(f"/dev/{name}")
    return found


def _attach(backing: int, one: Range, read_only: bool) -> tuple[str, int]:
    flags = _AUTOCLEAR | (_READ_ONLY if read_only else 0)
    name = os.fsencode(one.path)[:63]
    info = _INFO.pack(0, 0, 0, one.start, one.size, 0, 0, 0, flags, name, b"", b"", 0, 0)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            how = os.O_RDONLY if read_only else os.O_RDWR
            fd = os.open(path, how | os.O_CLOEXEC)
            try:
                _configure(fd, backing, info)
                return path, fd
            except OSError as error:
                os.close(fd)
                if error.errno != errno.EBUSY:  # else: another took it first
                    raise
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "every one is taken by others")


def _configure(fd: int, backing: int, info: bytes) -> None:
    try:
        # struct loop_config: fd, block size (0: as the file's), info, 64 reserved bytes.
        fcntl.ioctl(fd, _CONFIGURE, struct.pack("=II", backing, 0) + info + bytes(64))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTTY):
            raise
        fcntl.ioctl(fd, _SET_FD, backing)
        try:
            fcntl.ioctl(fd, _SET_STATUS64, info)
        except OSError:
            fcntl.ioctl(fd, _CLR_FD)
            raise
