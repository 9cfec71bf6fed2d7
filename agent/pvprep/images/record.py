"""What would be left of a run that was killed: written down before it is made.

Mounts and loop devices go with the process. A mapping goes with its last user, from the moment
that its deferred removal is asked for; only between its making and that could a kill leave it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from .host import refusal, run

DIRECTORY = "/run/pvprep"
_NAME = "attached-{}.json"
_OURS = "pvprep-"
_PATIENCE = 20


class Record:
    """The mappings of this process. Kept open by its directory: a mount may cover that later."""

    def __init__(self) -> None:
        self._mappings: list[str] = []
        for patience in range(_PATIENCE, -1, -1):
            try:
                os.makedirs(DIRECTORY, 0o700, exist_ok=True)
                self._directory = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                # Written though it names nothing yet: the directory stays while we are at work.
                self.add()
            except OSError as error:
                # Another one that ended has just removed the directory.
                if isinstance(error, FileNotFoundError) and patience:
                    continue
                raise refusal(f"{DIRECTORY}: {error.strerror}", "run pvprep as root") from None
            return

    @property
    def prefix(self) -> str:
        """What the names of all our mappings have in them."""
        return f"{_OURS}{os.getpid()}"

    def name(self) -> str:
        """A name for a mapping that nobody has; it is in the record when this returns."""
        name = f"{self.prefix}-{len(self._mappings)}"
        self.add(name)
        return name

    def add(self, *names: str) -> None:
        """Record names before mappings are made under them."""
        self._mappings += names
        text = json.dumps({"pid": os.getpid(), "born": born(os.getpid()), "dm": self._mappings})
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        file = os.open(_NAME.format(os.getpid()), flags, 0o600, dir_fd=self._directory)
        os.write(file, text.encode())
        os.close(file)

    def close(self) -> None:
        """All that it names is gone; so is it, and the directory unless others use it."""
        try:
            os.unlink(_NAME.format(os.getpid()), dir_fd=self._directory)
        except FileNotFoundError:
            pass
        os.close(self._directory)
        remove_directory()


def remove_directory() -> None:
    """The directory goes with the last who has something in it.

    Not before: a directory that is removed takes with it what is mounted there in other namespaces
    (rmdir(2), since Linux 3.18), which is the guest of whoever works at the same time.
    """
    try:
        os.rmdir(DIRECTORY)
    except OSError:
        pass


def born(pid: int) -> str:
    """When a process began, in the kernel's own ticks; "" where there is none (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def clean(say: Callable[[str], None]) -> int:
    """Take away what runs that were killed have left. 1 where something could not be."""
    status = 0
    for name in sorted(os.listdir(DIRECTORY)) if os.path.isdir(DIRECTORY) else ():
        path = f"{DIRECTORY}/{name}"
        if not name.startswith("attached-"):
            continue
        try:
            with open(path, encoding="utf-8") as file:
                told = json.load(file)
            pid, mappings = int(told["pid"]), [str(one) for one in told["dm"]]
        except (OSError, ValueError, KeyError, TypeError):
            pid, mappings, told = 0, [], {"born": ""}  # cut short before anything was made
        if pid and born(pid) == told["born"] != "":
            say(f"pvprep {pid} is at work: what it has attached stays")
            continue
        if _removed(mappings, say):
            os.unlink(path)
        else:
            status = 1
    remove_directory()
    return status


def _removed(mappings: list[str], say: Callable[[str], None]) -> bool:
    good = True
    for mapping in reversed(mappings):
        # Only what we could have made is taken away, whatever the file says.
        if _OURS not in mapping or run(["dmsetup", "info", mapping]).status:
            continue
        done = run(["dmsetup", "remove", mapping])
        if done.status:
            say(f"{mapping} stays: {done.output.strip()}")
            good = False
        else:
            say(f"{mapping} was left by a run that was killed; it is removed")
    return good
