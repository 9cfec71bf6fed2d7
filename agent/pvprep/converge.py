"""From what a guest is to what a PV guest needs: survey, plan, apply, until nothing lacks.

A kernel that has to be installed changes the facts, so a conversion takes up to two rounds; all of
them are one transaction of the journal. What is claimed in the end is what the last survey found.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Optional

from . import initrds, lock, namespace, outside, plan, selinux, survey
from .changes import BuildInitrd, Change, InstallPackages
from .draft import Draft
from .errors import Exit, Interrupted, PartlyPutBackError, PvprepError
from .guest import Guest
from .journal import Journal
from .options import Options
from .plan import Plan
from .report import Screen
from .steps import initrd
from .survey.initrd_image import prove_initrd
from .transaction import Transaction
from .workers import GuestWorkers

# One to configure and install, one for what follows from the new kernel, one to find nothing.
ROUNDS = 3


def look(guest: Guest, options: Options, shelf: Optional[outside.Shelf] = None) -> Plan:
    """Survey and plan; nothing is changed. What cannot even be read cannot be converted.

    shelf: what options.kernel_from holds, where that has been read already.
    """
    try:
        facts = survey.take(guest, plan.reads(), every_initrd=options.initrd == "append")
        shelf = shelf or shelf_of(options)
        if shelf:
            facts = replace(facts, offers=outside.offers(guest, shelf))
    except PvprepError as error:
        message, hint = error.message, error.hint
        if os.geteuid() != 0:  # Debian's grub.cfg, for one, is for root's eyes only
            message = f"host.not-root: not run as root: {message}"
            hint = "run it as root, for example with sudo"
        raise PvprepError(message, hint, Exit.NOT_READY) from error
    return plan.make(facts, options)


def shelf_of(options: Options) -> Optional[outside.Shelf]:
    """The kernels that the operator offers; None without any."""
    if not options.kernel_from:
        return None
    outside.check()
    return outside.read(options.kernel_from)


def prepare(guest: Guest, options: Options, screen: Screen) -> Plan:
    """Convert the guest, or say why not; the plan given back is empty where it is ready."""
    journal = Journal(guest)
    refuse_pending(journal)
    shelf = shelf_of(options)
    now = look(guest, options, shelf)
    screen.plan(now)
    if now.errors or not now.changes:
        return now
    if _runs_programs(now):
        namespace.enter(guest)
    workers = GuestWorkers(
        guest, screen.line, screen.progress, lambda change, path: _prove(guest, now, change, path)
    )
    with _interruptible():
        if any(isinstance(change, InstallPackages) for change in now.changes):
            workers.wait()  # while nothing has been changed yet
        transaction = journal.begin({"verb": "prepare", "options": vars(options)})
        screen.log(f"journal: {transaction.id}")
        try:
            for _ in range(ROUNDS):
                for change in now.changes:
                    with screen.step(change):
                        transaction.apply(change, workers)
                selinux.restore(guest, transaction.new_paths, screen.line)
                _finish(guest, now.changes, screen)
                # A package file given by hand is installed now; asked for again it would loop.
                options = replace(options, kernel_packages=())
                before, now = now, look(guest, options, shelf)
                refuse_useless(before, now)
                if now.errors or not now.changes:
                    break
                screen.plan(now)
            refuse_unready(now)
            transaction.commit()
        except BaseException as error:
            _undo(transaction, workers, screen, error)
    return now


def refuse_pending(journal: Journal) -> None:
    """An earlier run that was killed has to be brought to an end first."""
    pending = journal.pending()
    if pending:
        pid = lock.holder(journal.home)
        if pid:
            raise lock.busy(pid)
        raise PvprepError(
            f"an earlier run of pvprep was stopped half way ({pending[0].id})",
            "run `pvprep recover` first: it finishes it or puts everything back",
            Exit.HALF_WAY,
        )


def refuse_useless(before: Plan, now: Plan) -> None:
    """What packages brought has to boot PV; more of them are not tried."""
    installs = [change for change in before.changes if isinstance(change, InstallPackages)]
    if not installs or now.context.target:
        return
    old = {kernel.image for kernel in before.context.facts.kernels}
    new = [kernel for kernel in now.context.facts.kernels if kernel.image not in old]
    if not new:
        raise PvprepError(
            "the packages that were installed have put no new kernel into /boot",
            "the log has what their scripts said",
        )
    images = {kernel.image for kernel in new}
    why = [f"{one.message} ({one.evidence})" for one in now.findings if one.where in images]
    names = [name for change in installs for name in change.one_of]
    rest = f"; it was the first to be had of {' or '.join(names)}" if names[1:] else ""
    raise PvprepError(
        f"the kernel that was installed is none for PV: {'; '.join(why)}",
        f"give another one with --kernel-package FILE{rest}",
    )


def refuse_unready(now: Plan) -> None:
    """After the last round nothing may be left to do or in the way."""
    if now.errors:
        first = now.errors[0]
        raise PvprepError(f"{first.id}: {first.message}", first.remedy)
    if now.changes:
        what = now.changes[0].why[0] if now.changes[0].why else type(now.changes[0]).__name__
        raise PvprepError(f"the guest does not settle: still to do is {what}")


def _prove(guest: Guest, now: Plan, change: BuildInitrd, output: str) -> None:
    """Open a new initrd; raise where it would not boot the kernel PV."""
    proof = prove_initrd(guest.host(output))
    context = replace(now.context, facts=survey.take_files(guest, now.context.facts, plan.reads()))
    lacks = list(initrd.problems(context, Draft(context.facts), proof))
    if lacks:
        raise PvprepError(
            f"the new initrd of {change.version} would not boot PV: {'; '.join(lacks)}",
            "the old one was kept; the log has what its builder said",
        )


def _runs_programs(now: Plan) -> bool:
    """Whether programs of the guest are needed, in this round or a later one."""
    if now.context.options.initrd != "append":
        return True
    return any(isinstance(change, InstallPackages) for change in now.changes)


def _finish(guest: Guest, changes: tuple[Change, ...], screen: Screen) -> None:
    """Have the guest's hooks for a new initrd run, unless none of its code shall."""
    for change in changes:
        if isinstance(change, BuildInitrd) and not change.adds:
            initrds.finish(guest, change.tool, change.version, change.path, screen.line)


def _undo(
    transaction: Transaction, workers: GuestWorkers, screen: Screen, error: BaseException
) -> None:
    """Put everything back and say why; the error goes on as a PvprepError."""
    why = str(error) or type(error).__name__
    hint = error.hint if isinstance(error, PvprepError) else ""
    with _uninterruptible():
        screen.say(f"failed: {why}")
        screen.say("putting everything back ...")
        try:
            problems = transaction.undo(workers)
        except PvprepError as second:
            raise PvprepError(
                f"{why}; and putting it back stopped: {second.message}",
                "run `pvprep recover`",
                Exit.HALF_WAY,
            ) from error
    if problems:
        message = f"{why}; everything was put back, except: {'; '.join(problems)}"
        raise PartlyPutBackError(message, hint) from error
    raise PvprepError(f"{why}; everything was put back", hint) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP, too, end the run in an orderly way: everything is put back."""

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _frame: Optional[FrameType]) -> None:
        for other in numbers:  # a second one must not keep the first from putting all back
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _uninterruptible() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

