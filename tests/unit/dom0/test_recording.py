"""What is recorded of a program on a terminal, and that the program never outlives its recorder."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pvprep_dom0 import recording
from pvprep_dom0.recording import Recording
from pvprep_dom0.run import Dom0

MOST = 1024 * 1024
# Stands for `xl console`, which ends at once where its input is no terminal, or closed.
CONSOLE = r"""#!/bin/sh
test -t 0 && test -t 1 || exit 1
echo $$ >"$PWD/pid"
printf 'Linux version 6.1\r\nbifit login: '
exec cat
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in; it leaves its process id beside itself."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "xl"
    path.write_text(CONSOLE)
    path.chmod(0o755)
    return path


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return words[0] != "Z"


def test_it_is_kept_byte_for_byte_and_ended(program: Path, tmp_path: Path) -> None:
    place = tmp_path / "recorded"
    made = Dom0().record([str(program), "console", "9"], str(place), MOST)
    until(lambda: place.read_bytes() == b"Linux version 6.1\r\nbifit login: ")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert not made.over()
    pid = int((tmp_path / "pid").read_text())
    assert runs(pid)
    assert os.getsid(pid) == pid  # an interrupt is not for it
    made.end()
    assert made.over()
    assert not runs(pid)
    made.end()


def test_one_that_ends_by_itself_can_be_begun_again(program: Path, tmp_path: Path) -> None:
    place = tmp_path / "recorded"
    program.write_text("#!/bin/sh\necho x\n")
    for _ in range(2):
        made = Dom0().record([str(program)], str(place), MOST)
        until(made.over)
        made.end()
    assert place.read_bytes() == b"x\nx\n"


def test_one_that_does_not_want_to_end(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_PATIENCE", 0.2)
    program.write_text("#!/bin/sh\ntrap '' TERM HUP\necho here\nwhile :; do sleep 1; done\n")
    place = tmp_path / "recorded"
    made = Dom0().record([str(program)], str(place), MOST)
    until(lambda: place.read_bytes() == b"here\n")
    made.end()
    assert made.over()


def test_it_dies_with_a_recorder_that_is_killed(program: Path, tmp_path: Path) -> None:
    """Even if it ignores that its terminal has gone."""
    program.write_text("#!/bin/sh\ntrap '' TERM HUP\necho $$ >pid\nwhile :; do sleep 1; done\n")
    code = "import sys, time; from pvprep_dom0.run import Dom0; " \
        f"made = Dom0().record(sys.argv[1:], 'recorded', {MOST}); time.sleep(60)"  # fmt: skip
    agent = Path(recording.__file__).parents[1]
    recorder = subprocess.Popen(
        [sys.executable, "-c", code, program], env={**os.environ, "PYTHONPATH": str(agent)}
    )
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    assert runs(pid)
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    until(lambda: not runs(pid))


def test_a_guest_that_prints_without_end_does_not_fill_the_disk(
    program: Path, tmp_path: Path
) -> None:
    program.write_text("#!/bin/sh\nseq 100000\necho last\n")
    place = tmp_path / "recorded"
    made = Dom0().record([str(program)], str(place), 50000)
    until(made.over)
    made.end()
    assert 25000 <= place.stat().st_size <= 50000
    assert place.read_bytes().endswith(b"\n99999\n100000\nlast\n")


def test_what_cannot_be_recorded(program: Path, tmp_path: Path) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Dom0().record(["/nowhere/xl"], str(tmp_path / "recorded"), MOST)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        Recording([str(program)], str(tmp_path / "link"), MOST, {})
    assert not (tmp_path / "elsewhere").exists()
    assert len(os.listdir("/proc/self/fd")) == fds


def test_a_full_disk_does_not_stop_the_program(program: Path, tmp_path: Path) -> None:
    program.write_text("#!/bin/sh\nseq 100000\necho >done\n")
    made = Dom0().record([str(program)], "/dev/full", MOST)
    until((tmp_path / "done").exists)
    made.end()
