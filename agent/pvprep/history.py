"""Verbs about what was done: status, rollback, recover, and the record of PV boots."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from . import boots, initrds, lock, namespace
from .errors import Exit, PvprepError, told
from .guest import Guest
from .journal import Check, Journal, Outcome
from .manifest import Manifest, State
from .report import Screen, printable
from .schema import dumps
from .survey import system
from .workers import GuestWorkers


def run(
    verb: str, guest: Guest, verify: bool, dry_run: bool, as_json: bool, trusted: bool
) -> Exit:
    """Carry out one of these verbs. trusted: programs of a guest on an image may run."""
    if verb == "record-boot":
        entry = boots.record(guest)
        if as_json:
            print(dumps({"version": 1, "recorded": entry}))
        return Exit.DONE
    if verb == "status":
        return _status(guest, as_json)
    screen = Screen()
    journal = Journal(guest)
    if dry_run:
        return _rehearse(journal, screen, as_json)
    if os.geteuid() != 0:
        hint = "run it as root, for example with sudo"
        raise PvprepError(f"`{verb}` is not run as root", hint, Exit.NOT_READY)
    screen.start_log(verb)
    if _installed(journal):
        if guest.layout and not trusted:
            raise PvprepError(
                "packages were installed in this guest: it takes its own package manager to undo "
                "that, and none of its programs runs unless you say so",
                "if you trust it: --initrd rebuild, and not --attach guestfs",
                Exit.NOT_READY,
            )
        namespace.enter(guest)
    workers = GuestWorkers(guest, screen.line, screen.progress, lambda _change, _output: None)
    try:
        outcome = journal.rollback(workers) if verb == "rollback" else journal.recover(workers)
    except KeyboardInterrupt:
        raise PvprepError("interrupted", "run `pvprep recover`", Exit.HALF_WAY) from None
    _sweep(guest, journal)
    screen.say(f"  {outcome.message}")
    for problem in outcome.problems:
        screen.say(f"  not put back: {told(problem)}")
    checks = journal.verify() if verify else []
    for check in checks:
        word = "differs " if check.problem else "as it was"
        screen.say(f"  {word} {told(check.path)} {told(check.problem)}")
    if as_json:
        print(dumps(_outcome(outcome, checks)))
    wrong = outcome.problems or any(check.problem for check in checks)
    return Exit.NOT_READY if wrong else Exit.DONE


def _installed(journal: Journal) -> bool:
    """Whether packages came with anything that can still be undone."""
    return any(
        entry.kind == "InstallPackages"
        for one in journal.transactions()
        if one.state is not State.ROLLED_BACK
        for entry in one.entries
    )


def _sweep(guest: Guest, journal: Journal) -> None:
    """Remove what a killed builder of initrds left; one that begins now does that by itself."""
    if guest.exists(initrds.SCRATCH):
        with contextlib.suppress(PvprepError), journal.locked():
            initrds.sweep(guest)


def _outcome(outcome: Outcome, checks: list[Check]) -> dict[str, Any]:
    shown = [{**vars(check), "state": check.state.value} for check in checks]
    return {
        "version": 1,
        "message": outcome.message,
        "transactions": list(outcome.transactions),
        "problems": list(outcome.problems),
        "checks": shown,
    }


def _rehearse(journal: Journal, screen: Screen, as_json: bool) -> Exit:
    """What a rollback would find, without doing it."""
    pid = lock.holder(journal.home)
    if pid:
        raise lock.busy(pid)
    checks = journal.verify()
    for check in checks:
        word = "differs " if check.problem else "undo    "
        screen.say(f"  {word} {told(check.path)} {told(check.problem)}")
    if not checks:
        screen.say("  nothing to roll back")
    if as_json:
        message = "nothing was changed" if checks else "nothing to roll back"
        print(dumps(_outcome(Outcome(message), checks)))
    return Exit.NOT_READY if any(check.problem for check in checks) else Exit.DONE


def _status(guest: Guest, as_json: bool) -> Exit:
    journal = Journal(guest)
    transactions = journal.transactions()
    running = lock.holder(journal.home)
    seen = boots.recorded(guest)
    virt = system.machine(guest).virt.value
    half_way = not running and any(one.state is State.OPEN for one in transactions)
    if as_json:
        found = [
            {"id": one.id, "state": one.state.value, "changes": len(one.entries)}
            for one in transactions
        ]
        known = {"version": 1, "runs_as": virt, "running": running, "transactions": found}
        print(dumps({**known, "boots": seen}))
        return Exit.HALF_WAY if half_way else Exit.DONE
    # Stdout is for what went well.
    out = sys.stderr if half_way else sys.stdout
    for line in _lines(virt, transactions, seen, running):
        print(printable(line), file=out)
    return Exit.HALF_WAY if half_way else Exit.DONE


def _lines(
    virt: str, transactions: list[Manifest], seen: list[dict[str, Any]], running: str
) -> Iterator[str]:
    yield f"runs as     {virt}"
    for one in transactions:
        now = running and one.state is State.OPEN
        yield f"run         {one.id}: {f'pid {running} is at it' if now else _state(one)}"
    if not transactions:
        yield "run         pvprep has not changed anything here"
    for boot in seen[-5:]:
        nics = ", ".join(f"{name} {' '.join(ips)}" for name, ips in boot["network"].items())
        yield (
            f"PV boot     {boot['time']} {'up' if boot['up'] else 'NOT UP'}: {boot['kernel']} as "
            f"{boot['as']} on {boot['hypervisor']}, root {boot['root']}, "
            f"network {nics or 'down'}, login on {boot['console'] if boot['login'] else 'nothing'}"
        )
    if transactions and not seen:
        yield "PV boot     none recorded yet"


def _state(one: Manifest) -> str:
    count = len(one.entries)
    changes = f"{count} change{'s' if count != 1 else ''}"
    return {
        State.OPEN: f"stopped half way after {changes}: run `pvprep recover`",
        State.COMMITTED: f"done, {changes}; undo with `pvprep rollback`",
        State.ROLLED_BACK: f"{changes}, rolled back",
    }[one.state]
