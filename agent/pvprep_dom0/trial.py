"""Tries a domain as PV, and goes back to HVM by itself where it does not come up.

A machine of a few phases. Each is on the disk before it begins and can be begun again, so that
after a kill at any point `--resume` goes on from there. There are two ends: the PV domain is up
and kept, or the HVM domain has been started again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Optional

from . import domains, snapshots, xenstore
from .domains import Domain
from .errors import Dom0Error, Exit
from .evidence import Watch
from .run import Done, Host, Recorder
from .snapshots import Snapshot
from .state import State, Store
from .xenstore import BootReport

CONSOLES = "/var/log/xen/console"
_POLL = 2.0  # seconds
_GONE = 5  # polls: a domain that reboots is not there for a moment
_LOG = 4 * 1024 * 1024  # bytes of a console's log that are kept
_SILENT = 10  # seconds: a log of xenconsoled's that is there, and that nothing comes into
# What dom0 sees has to last so long, in which a guest that can report does.
_STEADY = 30  # seconds
_RUN = 600  # seconds for xl create, with pygrub in it, and for xl destroy
# What a domain had (memory, disks) is free only a while after xl has ceased to list it.
_DYING = 60  # seconds
_AGAIN = 10  # seconds until another try of xl create
_TRIES = {"pv": 2, "hvm": 6}


class Stop:
    """Whether somebody asked for an end (SIGINT, SIGTERM): it is reached in order."""

    def __init__(self) -> None:
        self.asked = False


class Trial:
    """One trial. say: takes a line for the person who looks on."""

    def __init__(
        self, host: Host, store: Store, say: Callable[[str], None], stop: Stop,
        consoles: str = CONSOLES,
    ) -> None:  # fmt: skip
        self.host = host
        self.store = store
        self.say = say
        self.stop = stop
        self.console = os.path.join(consoles, f"guest-{store.name}.log")
        self._recorded = store.file("recorded")
        self._recorder: Optional[Recorder] = None
        self._phases: dict[str, Callable[[State], str]] = {
            "stopping": self._stopping,
            "snapshotting": self._snapshotting,
            "starting": self._starting,
            "waiting": self._waiting,
            "keeping": self._keeping,
            "saving": self._saving,
            "destroying": self._destroying,
            "restoring": self._restoring,
            "returning": self._returning,
        }

    def begin(
        self, state: State, pv: bytes, hvm: bytes, disks: Sequence[tuple[str, str]], snapshot: str
    ) -> Exit:
        """Start with the two configs. disks: (target, format). snapshot: the name of those of them.

        Until the state is on the disk, nothing has been done to the domain.
        """
        current = self._current()
        for program in ("xenstore-read", "xenstore-list"):
            if self.host.run([program, "/local/domain/0/name"]).status == 127:
                hint = "install xenstore-utils: how else would the guest say that it is up?"
                raise Dom0Error(f"there is no {program} here", hint)
        if current and current.type != "hvm":
            hint = "shut it down first, or let it run"
            raise Dom0Error(f"{state.name} runs, and not as HVM but as {current.type}", hint)
        for target, form in disks:
            planned = snapshots.plan(self.host, target, form, snapshot)
            if planned:
                state.snapshots.append(planned)
                continue
            self.say(f"NO SNAPSHOT of {target}: neither LVM nor an image in qcow2")
            if state.restore:
                hint = "without --restore the trial goes on, and back to the disk as it is then"
                raise Dom0Error(f"--restore wants a snapshot of {target}", hint)
        self.store.write(state.pv, pv)
        self.store.write(state.hvm, hvm)
        for config in (state.pv, state.hvm):
            done = self.host.run(["xl", "create", "--dryrun", "--quiet", config])
            if done.status:
                raise Dom0Error(f"xl does not take {config}: {_said(done)}", "nothing was done")
        state.phase = "stopping"
        self.store.save(state)
        return self.go_on(state)

    def go_on(self, state: State) -> Exit:
        """From the phase that it is in to one of the two ends."""
        try:
            while state.phase in self._phases:
                state.phase = self._phases[state.phase](state)
                if state.phase in self._phases:
                    self._note(state)
        finally:
            self._recorded_all()
        self._forget()
        self.store.finish()
        return Exit.DONE if state.phase == "kept" else Exit.PUT_BACK

    def _note(self, state: State) -> None:
        """Where the trial stands. A full disk must not keep the domain from coming back."""
        try:
            self.store.save(state)
        except OSError as error:
            self.say(f"{self.store.place}: {error.strerror}: do not kill this now")

    def _stopping(self, state: State) -> str:
        current = self._current()
        if self.stop.asked:
            return self._back(state, "interrupted", "returning")
        if current:
            self.say(f"shutting {state.name} down (domid {current.domid})")
            # -F: by ACPI, where the guest has no PV drivers that it could be told by.
            self.host.run(["xl", "shutdown", "-F", str(current.domid)])
            if not self._gone(state.timeout) and not self._forced(state):
                what = f"it was not off after {state.timeout:.0f} s"
                hint = "it runs on, or goes off later: then start it again"
                self.say(f"{state.name}: {hint} (xl create {state.hvm})")
                return self._back(state, what, "returning")
        return "snapshotting"

    def _forced(self, state: State) -> bool:
        if not state.force_off:
            return False
        self.say(f"{state.name} did not go off: it is switched off by force")
        self.host.run(["xl", "destroy", state.name], timeout=_RUN)
        return self._gone(60)

    def _gone(self, seconds: float) -> bool:
        end, domid = self.host.now() + seconds, None
        while current := self._current():
            domid = current.domid
            if self.host.now() >= end:
                return False
            self.host.wait(_POLL)
        end = self.host.now() + _DYING
        while domid is not None and domains.exists(self.host, domid) and self.host.now() < end:
            self.host.wait(_POLL)
        return True

    def _create(self, config: str, kind: str) -> Done:
        """Start a domain; again, where it fails and does not run. Nobody stops the way back."""
        tries = _TRIES[kind]
        done = self.host.run(["xl", "create", "--quiet", config], timeout=_RUN)
        while done.status and tries > 1 and not self._current():
            if self.stop.asked and kind == "pv":
                break
            tries -= 1
            self.say(f"xl create: {_said(done)}; once more in {_AGAIN} s")
            self.host.wait(_AGAIN)
            done = self.host.run(["xl", "create", "--quiet", config], timeout=_RUN)
        return done

    def _snapshotting(self, state: State) -> str:
        if self._current():
            return "stopping"  # dom0 was started anew in between, and started it
        for snapshot in list(state.snapshots):
            if self.stop.asked:
                break
            done = snapshot.make(self.host)
            if not done.status:
                self.say(f"snapshot {snapshot.words}")
                continue
            state.snapshots.remove(snapshot)
            self.say(f"NO SNAPSHOT of {snapshot.volume}: {_said(done)}")
            if state.restore:
                return self._back(state, "a snapshot failed", "returning")
        return self._back(state, "interrupted", "returning") if self.stop.asked else "starting"

    def _starting(self, state: State) -> str:
        current = self._current()
        if current and current.type == "hvm":
            return "stopping"
        if current:
            return "waiting"  # an xl that was started before a kill has done it
        self._forget()
        state.logged = _size(self.console)
        self._note(state)
        self.say(f"starting {state.name} as PV")
        done = self._create(state.pv, "pv")
        if done.status:
            return self._back(state, f"xl create: {_said(done)}", "saving")
        return "waiting"

    def _waiting(self, state: State) -> str:
        self.say(f"waiting for {state.name} to come up, {state.timeout:.0f} s at most")
        begun, missed, watch = self.host.now(), 0, Watch(self.host)
        end = begun + state.timeout
        while not self.stop.asked:
            current = self._current()
            if current and current.type == "hvm":
                return self._back(state, "somebody has started it as HVM", "returning")
            missed = 0 if current else missed + 1
            if current and current.domid is not None:
                self._record(state, current.domid, self.host.now() - begun > _SILENT)
                report = xenstore.boot_report(self.host, current.domid)
                if report:
                    return self._reported(state, report)
                watch.look(current.domid, self._said_on_console(state))
            if state.evidence == "console" and self._seen(watch):
                return "keeping"
            if missed == _GONE:
                return self._back(state, "it went off by itself", "saving")
            if self.host.now() >= end:
                return self._back(state, _too_late(state, watch), "saving")
            self.host.wait(_POLL)
        return self._back(state, "interrupted", "saving")

    def _reported(self, state: State, report: BootReport) -> str:
        if not report.up:
            return self._back(state, f"it came up without {_lacks(report)}", "saving")
        self.say(f"up, by its own report: root {report.root}, network {', '.join(report.network)}, "
                 f"login on {report.console}, kernel {report.kernel}")  # fmt: skip
        return "keeping"

    def _seen(self, watch: Watch) -> bool:
        if watch.since is None or self.host.now() < watch.since + _STEADY:
            return False
        devices = ", ".join(watch.devices)
        self.say(f"up, by what dom0 sees: a login is on its console, connected are {devices}. "
                 "It did not report: its root and addresses are not known")  # fmt: skip
        return True

    def _keeping(self, state: State) -> str:
        for snapshot in state.snapshots:
            self._remove(snapshot)
        self.say(f"{state.name} is kept as PV. Its config: {state.pv}; the old one: {state.hvm}")
        return "kept"

    def _saving(self, state: State) -> str:
        self._recorded_all()
        state.log = self.store.file("console.log")
        console = self._said_on_console(state)
        if not console:
            self.say(f"nothing of its console, neither in {self.console} nor by `xl console`")
        data = f"{state.reason}\n".encode("utf-8", "surrogateescape") + console
        try:
            self.store.write(state.log, data)
            self.say(f"why, and the console: {state.log}")
        except OSError as error:
            self.say(f"the console's log is not kept: {state.log}: {error.strerror}")
        return "destroying"

    def _record(self, state: State, domid: int, silent: bool) -> None:
        """Have the console recorded where xenconsoled does not log it (--log=guest).

        xenconsoled keeps what was printed before somebody reads; of two readers each gets a part.
        """
        if self._recorder and not self._recorder.over():
            return
        size = _size(self.console)
        if size != state.logged or (os.path.exists(self.console) and not silent):
            return
        self._recorded_all()
        try:
            words = ["xl", "console", str(domid)]
            self._recorder = self.host.record(words, self._recorded, 2 * _LOG)
        except OSError as error:
            self.say(f"its console is not recorded: {error.filename}: {error.strerror}")

    def _recorded_all(self) -> None:
        if self._recorder:
            self._recorder.end()
            self._recorder = None

    def _said_on_console(self, state: State) -> bytes:
        """The end of what the PV domain has printed, by xenconsoled's log or our own recording."""
        logged = _tail(self.console, state.logged)
        return logged or _tail(self._recorded, 0)

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._recorded)

    def _destroying(self, state: State) -> str:
        current = self._current()
        if current and current.type != "hvm":
            self.host.run(["xl", "destroy", str(current.domid)], timeout=_RUN)
            if not self._gone(60):
                raise self._stuck(f"the PV domain {state.name} cannot be destroyed")
        return "restoring"

    def _restoring(self, state: State) -> str:
        if self._current():
            return "returning"  # never under a domain that runs
        for snapshot in state.snapshots:
            if not state.restore:
                self.say(f"the snapshot {snapshot.words} is kept: --restore would have used it")
        if state.restore:
            failed = [one.volume for one in state.snapshots if not self._restored(state, one)]
            state.reason += f"; NOT RESTORED: {', '.join(failed)}" if failed else ""
        return "returning"

    def _restored(self, state: State, snapshot: Snapshot) -> bool:
        again = snapshot.volume in state.begun
        if not again:
            state.begun.append(snapshot.volume)
            self._note(state)
        done = snapshot.restore(self.host, again)
        if done.status:
            self.say(f"{snapshot.volume} NOT RESTORED: {_said(done)}")
            return False
        self.say(f"{snapshot.volume} restored")
        self._remove(snapshot)
        return True

    def _remove(self, snapshot: Snapshot) -> None:
        done = snapshot.remove(self.host)
        if done.status:
            self.say(f"the snapshot {snapshot.words} is left: {_said(done)}")

    def _returning(self, state: State) -> str:
        current = self._current()
        if current and current.type != "hvm":
            return "destroying"
        if not current:
            self.say(f"starting {state.name} as HVM again")
            done = self._create(state.hvm, "hvm")
            if done.status and not self._current():
                raise self._stuck(f"{state.name} does not start as HVM: {_said(done)}")
        self.say(f"{state.name} is HVM again: {state.reason}")
        return "returned"

    def _back(self, state: State, reason: str, phase: str) -> str:
        state.reason = reason
        self.say(f"{state.name} goes back to HVM: {reason}")
        return phase

    def _current(self) -> Optional[Domain]:
        """The domain as it runs now. Dom0Error where xl does not tell."""
        running = domains.running(self.host)
        if running is None:
            raise self._stuck("xl does not tell which domains run")
        return next((one for one in running if one.name == self.store.name), None)

    def _stuck(self, what: str) -> Dom0Error:
        begun = os.path.exists(self.store.place)
        hint = f"pvprep-dom0 trial --resume {self.store.name}" if begun else "run this in dom0"
        return Dom0Error(what, hint, Exit.HALF_WAY if begun else Exit.REFUSED)


def _lacks(report: BootReport) -> str:
    parts = {"root": report.root, "network": report.network, "login": report.login}
    return " and ".join(part for part, there in parts.items() if not there) or "its own consent"


def _too_late(state: State, watch: Watch) -> str:
    what = f"it did not say that it is up within {state.timeout:.0f} s"
    if state.evidence == "console":
        return f"{what}, and {watch.lacks if not watch.up else 'what dom0 sees came too late'}"
    if watch.up:
        return f"{what}, but has a login on its console and all its devices: if there is no " \
            "pvprep in it that could report, --evidence console takes that"  # fmt: skip
    return what


def _size(place: str) -> int:
    try:
        return os.path.getsize(place)
    except OSError:
        return 0


def _tail(place: str, start: int) -> bytes:
    """The end of a file, of what came after start bytes; b"" where there is none."""
    try:
        with open(place, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            known = start if start <= size else 0  # else it has been rotated
            file.seek(max(known, size - _LOG))
            return file.read()
    except OSError:
        return b""


def _said(done: Done) -> str:
    """What a program said, in short: the first error is the cause, the last what came of it."""
    lines = [line for line in (done.said or done.output).splitlines() if line.strip()]
    return " | ".join([*lines[:3], *lines[3:][-1:]]) or f"status {done.status}"
