"""What people see: the plan, progress and result, on stderr and in the log. Stdout is for data."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Optional

from . import redact
from .changes import (
    BuildInitrd,
    Change,
    InstallPackages,
    MakeDir,
    MakeLink,
    Move,
    PlaceKernel,
    Remove,
    WriteFile,
)
from .errors import told
from .facts import Facts, Virt
from .findings import Finding, Level
from .plan import Plan
from .pygrub import Pick

LOGS = "/var/log/pvprep"
COLOURS = {"ok": "32", "change": "36", "verified": "32", "warn": "33", "ERROR": "31", "info": "0"}
WIPE = "\r\033[K"
RUNS_AS = {
    Virt.NONE: "on real hardware",
    Virt.XEN_HVM: "HVM guest of {}",
    Virt.XEN_PVHVM: "HVM guest of {} (PV drivers in use)",
    Virt.XEN_PV: "PV guest of {}",
    Virt.XEN_PVH: "PVH guest of {}",
    Virt.XEN_DOM0: "dom0 of {}",
    Virt.OTHER: "guest of {}",
    Virt.UNKNOWN: "a tree that does not run",
}


class Screen:
    """Lines for a person: with colours and live progress on a terminal, plain elsewhere.

    All of it, and what the programs that were run said, goes to a log as well. People pass both on:
    secrets are taken out.
    """

    def __init__(self, out: Optional[IO[str]] = None) -> None:
        # With stderr closed (2>&-) Python has none.
        self.out = out or sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        self.live = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._log: Optional[IO[str]] = None
        self._headed = False
        self._doing = ""
        self._drawn = 0.0

    def start_log(self, verb: str) -> None:
        """Keep a log of this run, if the place for it can be written."""
        try:
            os.makedirs(LOGS, 0o750, exist_ok=True)
            name = f"{time.strftime('%Y%m%dT%H%M%S')}-{verb}-{os.getpid()}.log"
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(os.path.join(LOGS, name), flags, 0o600)
            self._log = open(descriptor, "a", errors="surrogateescape")  # noqa: SIM115
        except OSError:
            self._log = None

    def log(self, text: str) -> None:
        """For the log alone."""
        if self._log:
            try:
                shown = printable(redact.line(text))
                self._log.write(f"{time.strftime('%H:%M:%S')} {shown}\n")
                self._log.flush()
            except OSError:
                self._log = None  # a full disk must not stop what is under way

    def say(self, text: str = "") -> None:
        """Lines for the person and the log."""
        for line in redact.text(text).split("\n"):
            self.log(line)
            self._put(f"{WIPE if self.live else ''}{printable(line)}\n")

    def row(self, word: str, topic: str, text: str, right: str = "") -> None:
        """One line of the report; nothing but its own first word gives it a colour."""
        line = redact.line(row(word, topic, text, right))
        self.log(line)
        shown, plain = printable(line), f"{word:<8}"
        if self.live and word in COLOURS:
            shown = shown.replace(plain, f"\033[{COLOURS[word]}m{plain}\033[0m", 1)
        self._put(f"{WIPE if self.live else ''}{shown}\n")

    def line(self, text: str) -> None:
        """A line that a program said: for the log, and for a moment on a terminal."""
        text = redact.line(text)
        self.log(f"  | {text}")
        self._draw(text)

    def progress(self, part: Optional[float], text: str) -> None:
        """How far the package manager is."""
        self._draw(f"{part:4.0%} {text}" if part is not None else text)

    @contextmanager
    def step(self, change: Change) -> Iterator[None]:
        """While a change is made; how long it took is said if it was worth a thought."""
        start = time.monotonic()
        self._doing = f"{change.step}: {headline(change)}"
        self.log(f"begin {self._doing}")
        self._drawn = 0.0
        self._draw("")
        yield
        took = time.monotonic() - start
        self.log(f"done in {took:.1f} s")
        if isinstance(change, (BuildInitrd, InstallPackages, PlaceKernel)):
            self.row("done", change.step, headline(change), f"{took:.1f} s")

    def head(self, facts: Facts) -> None:
        """Which system this is, once."""
        if not self._headed:
            self.say(told(identity(facts)))
            self._headed = True

    def plan(self, plan: Plan) -> None:
        """What was found and what will be done."""
        self.head(plan.context.facts)
        for finding in plan.findings:
            self.finding(finding)
        for change in plan.changes:
            for why in change.why or (headline(change),):
                self.row("change", change.step, why)

    def finding(self, finding: Finding) -> None:
        """One finding with its evidence and remedy."""
        topic = finding.id.split(".")[0]
        word = "ERROR" if finding.level is Level.ERROR else finding.level.value
        quiet = finding.level in (Level.OK, Level.INFO)
        tag = "" if quiet else f"  [{finding.id}]"
        self.row(word, topic, f"{finding.message}{tag}")
        if not quiet:
            for label, text in (
                ("where", finding.where), ("found", finding.evidence), ("do", finding.remedy)
            ):
                if text:
                    self.row("", "", f"{label}: {text}")

    def verified(self, plan: Plan) -> None:
        """What dom0 will do with the result."""
        if isinstance(plan.pick, Pick):
            self.row("verified", "bootloader", picked(plan.pick))

    def ending(self, plan: Plan, verb: str, dry_run: bool) -> None:
        """What it all comes to, and what to do next."""
        if plan.errors:
            ids = ", ".join(dict.fromkeys(finding.id for finding in plan.errors))
            self.say(f"Not ready: {ids}. Nothing was changed; `pvprep explain ID` tells more.")
        elif dry_run:
            self.say("Nothing was changed." if plan.changes else "Nothing to do.")
        elif plan.changes:
            self.say(f"Not ready: {len(plan.changes)} changes to make; `pvprep` makes them.")
        elif verb == "prepare" and plan.context.facts.is_tree:
            self.say(
                "Ready for PV. Undo with `pvprep rollback` on the same --image or --root. Next: in "
                "dom0 `xl create` the config (`pvprep config`, on the same, writes it)."
            )
        elif verb == "prepare":
            self.say(
                "Ready for PV. Undo with `pvprep rollback`. Next: shut this guest down, and in "
                "dom0 `xl create` the config (`pvprep config > FILE`)."
            )
        elif verb == "check":
            self.say("Ready for PV.")

    def _draw(self, text: str) -> None:
        """The one live line at the bottom of a terminal."""
        now = time.monotonic()
        if not self.live or now - self._drawn < 0.05:
            return
        self._drawn = now
        try:
            width = os.get_terminal_size(self.out.fileno()).columns - 1
        except OSError:
            return
        self._put(f"{WIPE}{printable(f'... {self._doing}  {text}')[:width]}")

    def _put(self, text: str) -> None:
        """Nobody may read any more (a closed pipe, a lost terminal): what is under way goes on."""
        try:
            self.out.write(text)
            self.out.flush()
        except OSError:
            nowhere = open(os.devnull, "w")  # noqa: SIM115
            if self.out is sys.stderr:
                sys.stderr = nowhere  # what is said last, and Python's own flush at exit
            self.out, self.live = nowhere, False


def row(word: str, topic: str, text: str, right: str = "") -> str:
    """A line of the report: level, topic, words. It stays one line whatever a file is called."""
    return f"  {word:<8} {topic:<10} {told(text)}{'  ' + right if right else ''}"


def identity(facts: Facts) -> str:
    """`Debian 12 (bookworm), amd64, HVM guest of Xen 4.17, root /dev/sda1 on ext4`."""
    machine = facts.machine
    runs = RUNS_AS[machine.virt].format(machine.hypervisor or "an unknown hypervisor")
    images = [disk.image for disk in facts.disks if disk.image]
    if images:
        runs = f"off, on {' and '.join(images)}"
    words = [facts.distro.name or "unknown system", machine.userland, runs]
    root = facts.mount("/")
    if root:
        words.append(f"root {root.device} on {root.fstype}")
    if facts.in_chroot:
        words.append("in a chroot")
    return ", ".join(word for word in words if word)


def picked(pick: Pick) -> str:
    """What pygrub will take, in words."""
    volume = f" on {pick.volume}" if pick.volume else ""
    return (
        f"pygrub will take entry {pick.index} of {pick.config}{volume}: "
        f"{pick.kernel}, {pick.initrd or 'no initrd'}, {pick.args}"
    )


def headline(change: Change) -> str:
    """A change in a few words."""
    if isinstance(change, WriteFile):
        return f"{'write' if change.expect is None else 'edit'} {change.path}"
    if isinstance(change, Remove):
        return f"remove {change.path}"
    if isinstance(change, Move):
        return f"move {change.path} to {change.to}"
    if isinstance(change, MakeDir):
        return f"make directory {change.path}"
    if isinstance(change, MakeLink):
        return f"link {change.path} to {change.target}"
    if isinstance(change, BuildInitrd) and change.adds and change.adds.base:
        return f"make {change.path} of {change.adds.base} and the modules of {change.version}"
    if isinstance(change, BuildInitrd) and change.adds:
        return f"append {', '.join(change.adds.names)} to {change.path}"
    if isinstance(change, PlaceKernel):
        return f"take kernel {change.version} from {change.source}: {', '.join(change.paths)}"
    if isinstance(change, BuildInitrd):
        return f"build {change.path} with {change.tool}"
    return "install " + " ".join((*change.names, *change.files)) + " or ".join(change.one_of)


def diffs(plan: Plan) -> Iterator[str]:
    """The plan in detail: unified diffs of files, and the other changes as commands would be."""
    from . import unified

    for change in plan.changes:
        if not isinstance(change, WriteFile):
            yield f"# {told(headline(change))}"
            continue
        path = told(change.path)
        old, new = _lines(change.path, change.expect or b""), _lines(change.path, change.content)
        before = "/dev/null" if change.expect is None else f"a{path}"
        yield from unified.diff(old, new, before, f"b{path}")
        if old == new:
            yield f"# {told(headline(change))} (where it has secrets, which are not shown)"


def _lines(path: str, content: bytes) -> list[str]:
    kept = redact.file(path, content)
    if kept is None:
        return ["(not shown: it may have secrets)"]
    text = kept.decode("utf-8", "surrogateescape")
    missing = text and not text.endswith("\n")
    found = text.split("\n")
    return found[:-1] + ([f"{found[-1]}  (no newline at the end)"] if missing else [])


def printable(text: str) -> str:
    """Without what would upset a terminal: a guest's files may hold anything."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)
