"""Who holds a lock, and waiting for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

from pvprep.errors import PvprepError
from pvprep.guest import Guest
from pvprep.packages import locks
from pvprep.packages.locks import Holder

HELD = Holder(42, "dnf upgrade", "/lock")


def test_a_record_lock_and_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    script = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'w')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", script, str(lock)]
    guest = Guest(str(tmp_path))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        assert one.stdout.readline() == "held\n"
        holder = locks.record_lock(guest, ("/absent", "/lock"))
        assert holder is not None
        assert (holder.pid, holder.path) == (one.pid, "/lock")
        assert sys.executable in holder.command
        one.stdin.close()
    assert locks.record_lock(guest, ("/absent", "/lock")) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "99999999"])
def test_a_pid_file_without_a_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert locks.pid_file(Guest(str(tmp_path)), ("/absent", "/pid")) is None


def test_a_pid_file_of_a_process_here(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()}\n")
    holder = locks.pid_file(Guest("/"), (str(path),))
    assert holder is not None
    assert holder.pid == os.getpid()


def test_it_is_said_once_who_is_waited_for() -> None:
    answers: list[Optional[Holder]] = [HELD, HELD, None]
    lines: list[str] = []
    locks.wait(lambda: answers.pop(0), "rpm", 60, lines.append, lambda _fraction, _text: None)
    assert lines == ["waiting for process 42 (dnf upgrade), which uses rpm (/lock)"]
    assert answers == []


def test_waiting_has_an_end() -> None:
    with pytest.raises(PvprepError, match=r"rpm is still in use by process 42 \(dnf upgrade\)"):
        locks.wait(lambda: HELD, "rpm", 0, lambda _line: None, lambda _fraction, _text: None)
