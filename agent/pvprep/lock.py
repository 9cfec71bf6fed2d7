"""One pvprep at a time: a lock that goes with the process, however that ends (flock(2))."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from types import TracebackType
from typing import Optional

from .beneath import open_regular, shown
from .errors import Exit, PvprepError
from .synced import in_words

NAME = "lock"
# holder() has it for an instant when it looks.
_TRIES, _PAUSE = 5, 0.02  # seconds


def holder(directory: str) -> str:
    """The pid of the pvprep that runs now, "" where none does; nothing is written."""
    try:
        fd = open_regular(os.path.join(directory, NAME))
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(fd)
    except OSError:
        return ""
    finally:
        os.close(fd)
    return ""


def busy(pid: str) -> PvprepError:
    """Why nobody else may start now. A lock outlives its process in a child that installs."""
    what = f"another pvprep is running (pid {pid})"
    if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
        what = "what a pvprep that was killed had started (a package manager) is still at work"
    return PvprepError(what, "wait until it is done", Exit.NOT_READY)


class Lock:
    """Taken when made. PvprepError where another process has it or the directory, which must be
    there, is read-only."""

    def __init__(self, directory: str) -> None:
        self._fd: Optional[int] = None
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._fd = os.open(os.path.join(directory, NAME), flags, 0o600)
            _refuse_strange(self._fd, directory)
            _take(self._fd)
        except BlockingIOError:
            pid = holder(directory) or "not known"
            self.release()
            raise busy(pid) from None
        except PvprepError:
            self.release()
            raise
        except OSError as error:
            self.release()
            raise in_words(error, f"cannot write {shown(directory)}", Exit.NOT_READY) from error
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError:
            pass  # on a full disk the lock still holds, only not with a number to show

    def release(self) -> None:
        """Give it up; once more does nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.release()


def _take(fd: int) -> None:
    for again in reversed(range(_TRIES)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not again:
                raise
            time.sleep(_PAUSE)


def _refuse_strange(fd: int, directory: str) -> None:
    """It is about to be written to: a FIFO, or a file that has another name, is not ours."""
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        raise PvprepError(
            f"{shown(os.path.join(directory, NAME))} is not a lock of pvprep",
            "remove it, if no pvprep runs",
            Exit.NOT_READY,
        )


def _owner(fd: int) -> str:
    return os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "not known"
