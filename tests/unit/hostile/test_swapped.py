"""Directories and files that become links out of the guest while pvprep works on it."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.unit import trees
from tests.unit.building import VERSION
from tests.unit.hostile.inside import InsideBuilder
from tests.unit.hostile.victims import Victims
from tests.unit.journal_tools import calls

from pvprep import cli, converge, history, namespace, report
from pvprep.changes import MakeDir, MakeLink, Move, Remove, WriteFile
from pvprep.errors import PvprepError
from pvprep.guest import Guest
from pvprep.journal import Journal

SECONDS = 3.0
KERNEL = f"boot/vmlinuz-{VERSION}"


@contextmanager
def swapping(place: Path, target: Path) -> Iterator[None]:
    """Another process lets the place be a link and itself in turns, as fast as it can."""
    link, away = place.with_name(".link"), place.with_name(".away")
    os.symlink(target, link)
    child = os.fork()
    if child == 0:
        while True:
            with suppress(OSError):
                os.rename(place, away)
                os.rename(link, place)
            with suppress(OSError):
                os.rename(place, link)
                os.rename(away, place)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("etc", "etc"),
        ("boot", "boot"),
        ("var/lib", "lib"),
        ("var/lib/pvprep", "lib/pvprep"),
        ("etc/default", "etc/default"),
        ("etc/fstab", "shadow"),
        ("etc/os-release", "etc/os-release"),
        ("var/lib/dpkg/status", "lib/dpkg/status"),
        (KERNEL, KERNEL),
    ],
)
def test_a_swap_at_any_time_leads_nowhere(
    inside: str, outside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (converge, history):
        monkeypatch.setattr(module, "GuestWorkers", lambda guest, *_: InsideBuilder(guest))
    monkeypatch.setattr(namespace, "enter", lambda _guest: None)
    monkeypatch.setattr(report, "LOGS", str(tmp_path / "log"))
    root, victims = trees.make(tmp_path / "tree"), Victims(tmp_path / "outside")
    (root / "var/lib/pvprep").mkdir()
    end = time.monotonic() + SECONDS
    runs = 0
    with swapping(root / inside, victims.base / outside):
        for verb in itertools.cycle(("check", "prepare", "status", "rollback", "recover")):
            cli.main([verb, "--root", str(root)])
            runs += 1
            if time.monotonic() > end and runs >= 5:
                break
    assert victims.touched() == {}


CHANGES = (
    WriteFile("s", "/etc/fstab", b"new", b"old"),
    WriteFile("s", "/etc/new/deep", b"new", None),
    Remove("s", "/etc/rules"),
    Move("s", "/etc/tls", "/etc/tls.off"),
    MakeDir("s", "/etc/dir"),
    MakeLink("s", "/etc/link", "/nowhere"),
)


def small(root: Path) -> None:
    (root / "etc/tls").mkdir(parents=True)
    (root / "var/lib/pvprep").mkdir(parents=True)
    (root / "etc/fstab").write_bytes(b"old")
    (root / "etc/rules").write_bytes(b"rules")


def convert_and_back(guest: Guest) -> None:
    workers: Any = InsideBuilder(guest)
    journal = Journal(guest)
    transaction = journal.begin({})
    try:
        for change in CHANGES:
            transaction.apply(change, workers)
        transaction.commit()
    except PvprepError:
        transaction.undo(workers)
        return
    journal.rollback(workers)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [("etc", "etc"), ("var", "."), ("var/lib/pvprep", "lib/pvprep"), ("etc/fstab", "shadow")],
)
def test_a_swap_before_any_alteration_leads_nowhere(
    inside: str, outside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # for speed: it is counted all the same
    victims = Victims(tmp_path / "outside")
    for number in itertools.count(1):
        root = tmp_path / f"tree{number}"
        small(root)
        count = 0

        def before(_name: str, _args: tuple[Any, ...], at: int = number, top: Path = root) -> None:
            nonlocal count
            count += 1
            if count == at and os.path.lexists(top / inside):
                count += 1000  # the swap is none of these calls
                os.rename(top / inside, top / "was")
                os.symlink(victims.base / outside, top / inside)
                count -= 1000

        guest = Guest(str(root))
        with suppress(PvprepError), calls(before):
            convert_and_back(guest)
        guest.close()
        assert victims.touched() == {}, number
        if count < number:
            break
    assert number > 50
