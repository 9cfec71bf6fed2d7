"""Xen's own xenconsole, which `xl console` becomes, recorded: with the real xenstored."""

from __future__ import annotations

import glob
import os
import pty
import time
import tty
from pathlib import Path

import pytest
from tests.unit.xenstored import Xenstored

from pvprep_dom0.run import Dom0


def test_the_real_one_is_recorded_and_ended(
    xenstored: Xenstored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """xenconsoled's part is a terminal, whose name it leaves in xenstore."""
    monkeypatch.setenv("XENSTORED_RUNDIR", str(xenstored.directory))
    (real,) = glob.glob("/usr/lib/xen-*/bin/xenconsole")
    program = tmp_path / "xl"
    no_hypervisor = xenstored.directory / "no_hypervisor.so"
    program.write_text(f"#!/bin/sh\nLD_PRELOAD={no_hypervisor} exec {real} 6\n")
    program.chmod(0o755)
    guest, named = pty.openpty()
    tty.setraw(named)
    xenstored.tree({"/local/domain/6/console/tty": os.ttyname(named)}, "n0 r6")
    place = tmp_path / "recorded"
    os.write(guest, b"printed before anybody reads\r\n")
    made = Dom0().record([str(program)], str(place), 1024 * 1024)
    wanted, end = b"printed before anybody reads\r\nbifit login: ", time.monotonic() + 30
    os.write(guest, b"bifit login: ")
    while not place.read_bytes().endswith(b"login: ") and time.monotonic() < end:
        time.sleep(0.01)
    assert not made.over()
    made.end()
    assert made.over()
    assert place.read_bytes() == wanted
    os.close(guest)
    os.close(named)
