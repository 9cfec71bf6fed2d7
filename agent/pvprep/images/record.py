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
_TRIES = 16


class Record:
    """The mappings of this process. Kept open by its directory: a mount may cover that later."""

    def __init__(self) -> None:
        self._directory = -1
        self._mappings: list[str] = []
        for _ in range(_TRIES):
            try:
                os.makedirs(DIRECTORY, 0o700, exist_ok=True)
                self._directory = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self.add()
                return
            except FileNotFoundError:  # another run has just removed it, as the last one
                if self._directory >= 0:
                    os.close(self._directory)
            except OSError as error:
                raise refusal(f"{DIRECTORY}: {error.strerror}", "run pvprep as root") from None
        raise refusal(f"{DIRECTORY} cannot be kept: others remove it")

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
        name, at = _NAME.format(os.getpid()), self._directory
        file = os.open(f".{name}", flags, 0o600, dir_fd=at)
        os.write(file, text.encode())
        os.close(file)
        os.rename(f".{name}", name, src_dir_fd=at, dst_dir_fd=at)

    def close(self) -> None:
        """All that it names is gone; so is it, and the directory unless others use it."""
        try:
            os.unlink(_NAME.format(os.getpid()), dir_fd=self._directory)
        except FileNotFoundError:
            pass
        os.close(self._directory)
        remove_directory()


def remove_directory() -> None:
    """The directory goes with the last who has something in it."""
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
