"""What people see, on a terminal, in a pipe, and when nobody reads any more."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.building import GRUB_CFG, VERSION, guest, kernel, plan, settle

from pvprep import report
from pvprep.changes import (
    BuildInitrd,
    InstallPackages,
    MakeDir,
    MakeLink,
    Move,
    PlaceKernel,
    Remove,
    WriteFile,
)
from pvprep.facts import Virt
from pvprep.findings import Finding, Level
from pvprep.report import Screen, diffs, headline, identity, printable


class Terminal(io.StringIO):
    """A terminal of 40 columns."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 99


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((40, 24)))
    return Terminal()


def shown(facts: Any, **options: Any) -> str:
    out = io.StringIO()
    Screen(out).plan(plan(facts, **options))
    return out.getvalue()


def test_a_plan_begins_with_the_system_and_has_a_line_for_each_change() -> None:
    text = shown(guest({"/etc/fstab": "/dev/sda1 / ext4\n"}))
    rows = text.split("\n")
    assert rows[0] == (
        "Debian GNU/Linux 12 (bookworm), amd64, HVM guest of Xen 4.17, root /dev/sda1 on ext4"
    )
    assert "  change   devices    /etc/fstab:1 /dev/sda1 -> /dev/xvda1" in rows
    assert any(row.startswith("  ok       kernel     6.1.0-28-amd64 boots PV") for row in rows)
    assert "\033" not in text


def test_what_matters_has_its_id_evidence_and_remedy() -> None:
    out = io.StringIO()
    Screen(out).finding(Finding("a.b", Level.ERROR, "bad", "seen", "/x:1", "mend"))
    assert out.getvalue() == (
        "  ERROR    a          bad  [a.b]\n"
        "                      where: /x:1\n                      found: seen\n"
        "                      do: mend\n"
    )
    out.truncate(out.seek(0))
    Screen(out).finding(Finding("a.b", Level.OK, "good", "seen", "/x:1", "no"))
    assert out.getvalue() == "  ok       a          good\n"


def test_the_system_is_told_once() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.plan(plan(guest()))
    screen.plan(plan(guest()))
    assert out.getvalue().count("Debian GNU/Linux 12") == 1


@pytest.mark.parametrize("virt", list(Virt))
def test_every_way_to_run_has_words(virt: Virt) -> None:
    facts = guest(machine={"virt": virt, "hypervisor": "Xen"})
    assert report.RUNS_AS[virt].format("Xen") in identity(facts)


def test_an_identity_of_little() -> None:
    facts = guest(mounts=[], in_chroot=True, machine={"virt": Virt.OTHER, "hypervisor": "",
                                                      "userland": ""})  # fmt: skip
    assert identity(facts) == (
        "Debian GNU/Linux 12 (bookworm), guest of an unknown hypervisor, in a chroot"
    )


@pytest.mark.parametrize(
    ("facts", "verb", "dry_run", "words"),
    [
        (guest(as_root=False), "prepare", False, "Not ready: host.not-root. Nothing was changed"),
        (guest(as_root=False), "prepare", True, "Not ready: host.not-root."),
        (guest(), "prepare", True, "Nothing was changed."),
        (guest(), "check", False, "changes to make; `pvprep` makes them."),
        (settle(guest())[0], "prepare", True, "Nothing to do."),
        (settle(guest())[0], "prepare", False, "Ready for PV. Undo with `pvprep rollback`."),
        (settle(guest())[0], "check", False, "Ready for PV."),
        (settle(guest())[0], "config", False, ""),
    ],
)
def test_the_last_line(facts: Any, verb: str, dry_run: bool, words: str) -> None:
    out = io.StringIO()
    Screen(out).ending(plan(facts), verb, dry_run)
    assert words in out.getvalue()
    assert bool(words) == bool(out.getvalue())


def test_what_pygrub_takes() -> None:
    out = io.StringIO()
    Screen(out).verified(plan(settle(guest())[0]))
    assert f"pygrub will take entry 0 of {GRUB_CFG} on /dev/sda1: /boot/vmlinuz-{VERSION}" in (
        out.getvalue()
    )
    out.truncate(out.seek(0))
    Screen(out).verified(plan(guest(grub=False)))
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (WriteFile("s", "/a", b"", None), "write /a"),
        (WriteFile("s", "/a", b"", b""), "edit /a"),
        (Remove("s", "/a"), "remove /a"),
        (Move("s", "/a", "/b"), "move /a to /b"),
        (MakeDir("s", "/a"), "make directory /a"),
        (MakeLink("s", "/a", "b"), "link /a to b"),
        (BuildInitrd("s", "1", "/a", "dracut"), "build /a with dracut"),
        (InstallPackages("s", ("a",), ("/b.deb",)), "install a /b.deb"),
        (InstallPackages("s", one_of=("a", "b")), "install a or b"),
        (PlaceKernel("s", "6.1", "host", "/lib/modules/6.1", {"/boot/vmlinuz-6.1": ""}),
         "take kernel 6.1 from host: /lib/modules/6.1, /boot/vmlinuz-6.1"),
    ],
)
def test_a_change_in_few_words(change: Any, words: str) -> None:
    assert headline(change) == words


def test_diffs_are_unified() -> None:
    rows = list(diffs(plan(guest({"/etc/fstab": "# x\n/dev/sda1 / ext4"}))))
    at = rows.index("--- a/etc/fstab")
    assert rows[at : at + 6] == [
        "--- a/etc/fstab", "+++ b/etc/fstab", "@@ -1,2 +1,2 @@", " # x",
        "-/dev/sda1 / ext4  (no newline at the end)", "+/dev/xvda1 / ext4  (no newline at the end)",
    ]  # fmt: skip
    assert "--- /dev/null" in rows
    assert f"# build /boot/initrd.img-{VERSION} with initramfs-tools" in rows


def test_a_guest_cannot_steer_the_terminal() -> None:
    assert printable("a\033[2Jb\033]0;x\007c\rd\x08e\udcff\u202e") == (
        "a?[2Jb?]0;x?c?d?e\ufffd?"
    )
    assert printable("\033[32mok\033[0m\tü€") == "?[32mok?[0m\tü€"
    out = io.StringIO()
    Screen(out).finding(Finding("a.b", Level.WARN, "x", "/dev/sda \033[2J\033]52;c;x\007"))
    text = out.getvalue()
    assert "\033" not in text
    assert "/dev/sda ?[2J?]52;c;x?" in text


def test_colours_on_a_terminal_alone(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding("a.b", Level.WARN, "x")
    Screen(terminal).finding(finding)
    assert "\033[33mwarn    \033[0m" in terminal.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    terminal.truncate(terminal.seek(0))
    Screen(terminal).finding(finding)
    assert "\033" not in terminal.getvalue()


def test_the_live_line_is_short_and_goes_away(terminal: Terminal) -> None:
    screen = Screen(terminal)
    with screen.step(BuildInitrd("initrd", "1", "/a", "dracut")):
        screen._drawn = 0
        screen.progress(0.5, "x" * 100)
        assert terminal.getvalue().rsplit("\033[K", 1)[1] == (
            "... initrd: build /a with dracut   50% x"[:39]
        )
        screen.line("again, too soon")
        assert "too soon" not in terminal.getvalue()
        screen._drawn = 0
        screen.progress(None, "unknown")
        assert "unknown" not in terminal.getvalue().rsplit("\n", 1)[0]
    assert "\r\033[K  done " in terminal.getvalue(), "the last line takes its place"


def test_what_takes_long_is_told_with_its_time() -> None:
    out = io.StringIO()
    screen = Screen(out)
    with screen.step(InstallPackages("kernel", ("k",))):
        screen.progress(0.1, "unpacking")
    with screen.step(WriteFile("x", "/a", b"", None)):
        pass
    assert out.getvalue() == "  done     kernel     install k  0.0 s\n"


def test_all_of_it_goes_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LOGS", str(tmp_path / "log"))
    screen = Screen(io.StringIO())
    screen.log("before there is one")
    screen.start_log("prepare")
    with screen.step(BuildInitrd("initrd", "1", "/a", "dracut")):
        screen.line("it says \udcff")
    screen.say("two\nlines")
    (log,) = (tmp_path / "log").iterdir()
    assert log.name.endswith(f"-prepare-{os.getpid()}.log")
    text = log.read_bytes().decode("utf-8", "surrogateescape")
    words = [line.split(" ", 1)[1] for line in text.splitlines()]
    assert words[:2] == ["begin initrd: build /a with dracut", "  | it says \ufffd"]
    assert words[-2:] == ["two", "lines"]


def test_a_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(report, "LOGS", str(tmp_path / "file" / "log"))
    out = io.StringIO()
    screen = Screen(out)
    screen.start_log("prepare")
    screen.say("on")
    assert out.getvalue() == "on\n"
    screen._log = open("/dev/full", "w")  # noqa: SIM115
    screen.log("x" * 100_000)
    screen.say("and on")
    assert out.getvalue() == "on\nand on\n"


def test_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pvprep 2>&1 | head -1`: what is under way, an undo perhaps, has to go on."""
    reading, writing = os.pipe()
    os.close(reading)
    out = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stderr", out)
    screen = Screen()
    for _ in range(3):
        screen.say("x")
    screen.plan(plan(guest()))
    assert screen.out is not out
    assert sys.stderr is screen.out
    with contextlib.suppress(OSError):
        out.close()


def test_a_lost_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_text: str) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(terminal, "write", gone)
    screen = Screen(terminal)
    screen.line("x")
    assert not screen.live
    screen.say("x")


def test_stderr_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    Screen().say("x")


def test_a_kernel_to_install_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    assert "install linux-image-amd64 or " in shown(guest(kernels=[kernel(pv=False)]))
