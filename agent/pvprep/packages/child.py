"""Runs a package manager, or apt's part that runs dpkg, in a child whose every word comes to us.

Nothing it prints reaches our own stdout or stderr, and it finds nobody to ask. Sources: dpkg(1) on
--status-fd, apt's doc/progress-reporting.md, debconf(7), needrestart(1), apt-listchanges(1).
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from ..forked import Act, offline
from ..guest import ENVIRONMENT, Line

# fraction: 0 to 1, None where it is not known; text: what is being done.
Progress = Callable[[Optional[float], str], None]

_ENVIRONMENT = {
    **ENVIRONMENT,
    "DEBIAN_PRIORITY": "critical",
    "NEEDRESTART_MODE": "l",
    "NEEDRESTART_SUSPEND": "1",
    "APT_LISTCHANGES_FRONTEND": "none",
}
# The hooks of a kernel package would look for a tree's hardware, and find the host's: they leave
# the initrd to us (source: initramfs-tools' and dracut's /etc/kernel/postinst.d).
_TREE = {"INITRD": "No"}
_TAIL = 12  # lines kept to explain a failure
_POLL = 0.2  # seconds


class Child:
    """One run of a package manager; its last lines of output are kept to explain a failure."""

    def __init__(
        self, line: Line, progress: Progress, tree: bool = False, fetches: bool = False
    ) -> None:
        """tree: the package manager's guest does not run; fetches: it needs the network then, too,
        which otherwise is kept from it and from the packages' scripts.
        """
        self.line = line
        self.progress = progress
        self.environment = {**_ENVIRONMENT, **(_TREE if tree else {})}
        self._first = offline() if tree and not fetches else None
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.error = ""
        self.answer = ""

    def run(self, work: Callable[[int], int]) -> int:
        """Call work in the child with the descriptor for status lines; gives its exit status.

        A signal's number comes back negative. An interrupt (Ctrl-C) does not stop it, as packages
        would be left between two states: it is raised when the child has ended.
        """
        output, status = _Lines(self._output), _Lines(self._status)
        pid = os.fork()
        if pid == 0:
            _be_child(self._first, work, output.writer, status.writer, self.environment)
        interrupt: Optional[KeyboardInterrupt] = None
        ended: Optional[int] = None
        output.begin()
        status.begin()
        while ended is None:
            try:
                select.select([s for s in (output, status) if s.open], [], [], _POLL)
                output.read()
                status.read()
                # A daemon may keep the pipes open: what counts is that the child has ended.
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                    ended = os.waitpid(pid, 0)[1]
            except KeyboardInterrupt as caught:
                interrupt = caught
                self.line("interrupted: waiting for the package manager to come to an end")
        output.finish()
        status.finish()
        if interrupt:
            raise interrupt
        return os.waitstatus_to_exitcode(ended)

    def explain(self) -> str:
        """What went wrong, in the child's words."""
        said = "\n".join(f"  {text}" for text in self.tail)
        return f"{self.error}\n{said}" if self.error else f"it said:\n{said}"

    def _output(self, text: str) -> None:
        self.tail.append(text)
        self.line(text)

    def _status(self, text: str) -> None:
        """One status line of apt or a driver (pmstatus, pmerror, answer) or dpkg (processing)."""
        kind, _, rest = text.partition(":")
        words = rest.split(":", 2)
        if kind == "pmstatus" and len(words) == 3:
            self.progress(_fraction(words[1]), words[2].strip())
        elif kind == "pmerror" and len(words) == 3:
            self.error = f"{words[0]}: {words[2].strip()}"
        elif kind == "answer":
            self.answer = rest
        elif kind == "processing" and len(words) == 2:
            self.progress(None, f"{words[0].strip()} {words[1].strip()}")


def program(argv: Sequence[str]) -> int:
    """Run a program from within work(), which waits for it; gives its exit status.

    So somebody keeps pvprep's lock (lock.py) for as long as packages are changed, whatever becomes
    of pvprep itself: a program that took this process's place would not have it.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.execvp(argv[0], list(argv))
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(127)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        os.kill(os.getpid(), -status)  # the end of both is the same
    return status


class _Lines:
    """The reading end of a pipe, cut into lines."""

    def __init__(self, tell: Line) -> None:
        self.tell = tell
        self.reader, self.writer = os.pipe()
        self.open = True
        self.rest = b""

    def fileno(self) -> int:
        return self.reader

    def begin(self) -> None:
        """In the parent: the writing end is the child's."""
        os.close(self.writer)
        os.set_blocking(self.reader, False)

    def read(self) -> None:
        """Tell every whole line there is."""
        while self.open:
            try:
                data = os.read(self.reader, 65536)
            except BlockingIOError:
                return
            self.open = bool(data)
            *whole, self.rest = (self.rest + data).split(b"\n")
            for line in whole:
                self.tell(line.decode("utf-8", "surrogateescape").rstrip("\r"))

    def finish(self) -> None:
        """Tell what is left and close."""
        self.read()
        if self.rest:
            self.tell(self.rest.decode("utf-8", "surrogateescape"))
        os.close(self.reader)


def _be_child(
    first: Optional[Act],
    work: Callable[[int], int],
    output: int,
    status: int,
    environment: Mapping[str, str],
) -> None:
    """Become the child: no terminal, no input, a known environment. Does not return."""
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(status, True)
        os.environ.clear()  # a surrounding installer's debconf variables, above all
        os.environ.update(environment)
        os.chdir("/")
        if first:
            first()
        code = work(status)
    except BaseException as error:
        os.write(2, f"{error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _fraction(text: str) -> Optional[float]:
    try:
        return min(max(float(text) / 100, 0.0), 1.0)
    except ValueError:
        return None
