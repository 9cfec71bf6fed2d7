"""Who has a disk now: nobody but us may. Says who it is, so that the operator can end it.

Sources: proc(5), proc_pid_mountinfo(5), Linux Documentation/ABI/stable/sysfs-block (holders),
QEMU's block/file-posix.c (the bytes that it locks), Xen's docs/misc/xenstore-paths.pandoc.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator

from ..errors import PvprepError
from ..guest import Guest
from ..xenbus import connect
from . import loops
from .host import refusal

_OFD_GETLK, _OFD_SETLK = 36, 37  # F_OFD_GETLK, F_OFD_SETLK (fcntl(2))
_FLOCK = struct.Struct("=hhxxxxqqixxxx")  # struct flock: type, whence, start, length, pid
# QEMU locks one byte for each thing it does with an image (from 100) or does not let others do
# (from 200): reading 0, writing 1, resizing 3 (RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE).
_WRITES, _NO_READERS, _NO_WRITERS = 101, 200, 201
_XEN = "/local/domain/0/backend"


class Held:
    """A disk that is ours alone until close(): its path, file or block device, and bytes.

    PvprepError, which names the holder, where somebody else has it.
    """

    def __init__(self, path: str, read_only: bool) -> None:
        self.path = os.path.realpath(path)
        self._fd = -1
        try:
            self._take(read_only)
        except BaseException:
            self.close()
            raise

    @property
    def is_device(self) -> bool:
        """Whether it is a block device."""
        return stat.S_ISBLK(os.fstat(self._fd).st_mode)

    def close(self) -> None:
        """Others may have it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def flush(self) -> None:
        """All that was written is on the disk, where whoever opens it next finds it."""
        os.fsync(self._fd)

    def _take(self, read_only: bool) -> None:
        path = self.path
        try:
            info = os.stat(path)
        except OSError as error:
            raise refusal(
                f"{path}: {error.strerror}", "give a disk image or block device"
            ) from None
        device = stat.S_ISBLK(info.st_mode)
        if not device and not stat.S_ISREG(info.st_mode):
            raise refusal(f"{path} is neither a file nor a block device", "give a disk image")
        who = "another pvprep has it" if _locked(path) else next(holders(path, info), "")
        if who:
            raise refusal(f"{path} is in use: {who}", "shut the guest down, or end that, first")
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            # O_EXCL without O_CREAT: a block device that nobody has mounted or mapped (open(2)).
            self._fd = os.open(path, flags | (os.O_EXCL if device else 0))
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal(f"{path} is in use: another pvprep has it", "wait for it") from None
        except OSError as error:
            raise _refused(path, error) from None
        self.size = os.lseek(self._fd, 0, os.SEEK_END)
        if not device:
            self._against_qemu(read_only)

    def _against_qemu(self, read_only: bool) -> None:
        """Whether a QEMU has it, also on another host of a shared file system."""
        for byte in (_WRITES, _NO_READERS if read_only else _NO_WRITERS):
            ask = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            try:
                answer = fcntl.fcntl(self._fd, _OFD_GETLK, ask)
            except OSError:
                return  # a file system without such locks
            if _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK:
                raise refusal(
                    f"{self.path} is in use: a QEMU has locked it", "shut that guest down first"
                )

    def lock_out_qemu(self) -> None:
        """Let no QEMU open it while we work. Not where a QEMU tool of ours shall."""
        for byte in (_NO_READERS, _NO_WRITERS):
            lock = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
            try:
                fcntl.fcntl(self._fd, _OFD_SETLK, lock)
            except OSError:
                return


def _locked(path: str) -> bool:
    """Whether another pvprep has it; asked first, for that has loop devices over it as well."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False  # why, is said when it is opened in earnest
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(fd)
    return False


def holders(path: str, info: os.stat_result) -> Iterator[str]:
    """Who has a file or device, in words, the ones that are easily named first."""
    if stat.S_ISBLK(info.st_mode):
        yield from _above(path, info)
    yield from _swap(info)
    for loop in loops.over(info):
        yield f"{loop} is attached to it (end that with `losetup --detach {loop}`)"
    yield from _xen(path)
    yield from _processes(info)


def _above(path: str, info: os.stat_result) -> Iterator[str]:
    """What is mounted from a device or its partitions, and what holds them."""
    number = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    base = os.path.realpath(f"/sys/dev/block/{number}")
    devices = [base]
    if os.path.isdir(base):
        devices += [at for at in (f"{base}/{name}" for name in sorted(os.listdir(base)))
                    if os.path.exists(f"{at}/partition")]  # fmt: skip
    numbers = {}
    for place in devices:
        above = f"{place}/holders"
        for holder in sorted(os.listdir(above)) if os.path.isdir(above) else ():
            yield f"/dev/{holder} ({_dm_name(holder)}) lies on {os.path.basename(place)}"
        try:
            with open(f"{place}/dev", encoding="ascii") as file:
                numbers[file.read().strip()] = os.path.basename(place)
        except OSError:
            pass
    numbers.setdefault(number, os.path.basename(path))
    for pid in _pids():
        for line in _lines(f"/proc/{pid}/mountinfo"):
            words = line.split(" ")
            if len(words) > 4 and words[2] in numbers:
                yield f"{numbers[words[2]]} is mounted on {words[4]} (seen by process {pid})"


def _dm_name(holder: str) -> str:
    name = "".join(_lines(f"/sys/block/{holder}/dm/name")).strip()
    return name or "an array or mapping"


def _swap(info: os.stat_result) -> Iterator[str]:
    for line in _lines("/proc/swaps")[1:]:
        path = line.split(" ")[0].replace("\\040", " ")
        if _same(path, info):
            yield "this host swaps to it"


def _xen(path: str) -> Iterator[str]:
    """Domains that have it as a disk, where this is dom0."""
    line = connect(Guest("/"))
    if line is None:
        return
    with line:
        try:
            for kind in ("vbd", "qdisk", "vbd3", "tap"):
                for domain in line.names(f"{_XEN}/{kind}"):
                    for number in line.names(f"{_XEN}/{kind}/{domain}"):
                        at = f"{_XEN}/{kind}/{domain}/{number}"
                        params = line.read(f"{at}/params") or ""
                        target = params[params.find("/") :] if "/" in params else ""
                        if target and os.path.realpath(target) == path:
                            name = line.read(f"/local/domain/{domain}/name") or "without a name"
                            yield f"domain {domain} ({name}), which has it as a disk"
        except PvprepError:
            return  # a domU may not read there


def _processes(info: os.stat_result) -> Iterator[str]:
    """Processes that have it open for writing."""
    for pid in _pids():
        if pid == os.getpid():
            continue
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for number in numbers:
            if _same(f"/proc/{pid}/fd/{number}", info) and _writes(pid, number):
                name = "".join(_lines(f"/proc/{pid}/comm")).strip()
                yield f"process {pid} ({name}) has it open for writing"


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _writes(pid: int, number: str) -> bool:
    for line in _lines(f"/proc/{pid}/fdinfo/{number}"):
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & (os.O_WRONLY | os.O_RDWR))
    return False


def _same(path: str, info: os.stat_result) -> bool:
    try:
        other = os.stat(path)
    except OSError:
        return False
    if stat.S_ISBLK(info.st_mode) and stat.S_ISBLK(other.st_mode):
        return other.st_rdev == info.st_rdev
    return (other.st_dev, other.st_ino) == (info.st_dev, info.st_ino)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _refused(path: str, error: OSError) -> PvprepError:
    if error.errno == errno.EBUSY:
        return refusal(
            f"{path} is in use: the kernel has it open for something else alone",
            "see `lsblk`, `dmsetup deps`, and whether a domain has it",
        )
    if error.errno == errno.EMEDIUMTYPE:
        return refusal(
            f"{path} is DRBD's and Secondary here: the other host writes to it",
            "run pvprep where it is Primary, or: drbdadm primary RESOURCE",
        )
    if error.errno == errno.EROFS:
        return refusal(f"{path} is read-only (DRBD: Secondary)", "`pvprep check` only reads it")
    return refusal(f"{path} cannot be opened: {error.strerror}", "run pvprep as root")
