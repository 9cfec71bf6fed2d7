"""The rounds of a conversion on a tree on disk: surveyed, planned, journalled, proven, put back."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit import trees
from tests.unit.building import VERSION
from tests.unit.journal_tools import changed, snapshot
from tests.unit.outside import sources
from tests.unit.trees import Builder

from pvprep import converge, selinux
from pvprep.changes import Remove, WriteFile
from pvprep.errors import Exit, PvprepError
from pvprep.facts import Facts
from pvprep.findings import Finding, Level
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.manifest import State
from pvprep.options import Options
from pvprep.plan import Plan
from pvprep.report import Screen

INITRD = f"boot/initrd.img-{VERSION}"
Replace = Callable[[Callable[[Plan], Plan]], None]


class Case:
    """A tree, what builds in it, and what was said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.guest = Guest(str(root))
        self.builder = Builder(root)
        self.out = io.StringIO()

    def prepare(self, **options: Any) -> Plan:
        return converge.prepare(self.guest, Options(**options), Screen(self.out))

    def states(self) -> list[State]:
        return [one.state for one in Journal(self.guest).transactions()]

    def text(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    case = Case(trees.make(tmp_path / "tree"))
    (case.root / "var/lib/pvprep").mkdir()  # else it changes the time of /var/lib
    prove: Any = None

    def workers(guest: Guest, line: Any, progress: Any, proving: Any) -> Builder:
        nonlocal prove
        prove = proving
        return case.builder

    build = case.builder.build

    def build_and_prove(change: Any, output: str) -> None:
        build(change, output)
        prove(change, output)

    monkeypatch.setattr(case.builder, "build", build_and_prove)
    monkeypatch.setattr(converge, "GuestWorkers", workers)
    monkeypatch.setattr(converge.namespace, "enter", lambda _guest: None)
    return case


@pytest.fixture
def replan(case: Case, monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Put a function between what is planned and what is done."""

    def use(change: Callable[[Plan], Plan]) -> None:
        real = converge.plan.make
        monkeypatch.setattr(
            converge.plan, "make", lambda facts, options: change(real(facts, options))
        )

    return use


def test_looking_changes_nothing(case: Case) -> None:
    before = snapshot(case.root)
    plan = converge.look(case.guest, Options())
    assert not plan.errors
    assert plan.changes
    assert changed(before, snapshot(case.root)) == {}
    assert list((case.root / "var/lib/pvprep").iterdir()) == []


def test_a_conversion_ends_with_an_empty_plan(case: Case) -> None:
    plan = case.prepare()
    assert plan.ready
    assert case.states() == [State.COMMITTED]
    assert case.text("etc/fstab").startswith("/dev/xvda1 / ext4")
    assert "root=/dev/xvda1 ro quiet console=tty0 console=hvc0" in case.text("boot/grub/grub.cfg")
    assert case.builder.built == [f"/{INITRD}"]
    assert "Ready" not in case.out.getvalue(), "that is for the command to say"
    assert "change   devices    /etc/fstab:1 /dev/sda1 -> /dev/xvda1" in case.out.getvalue()


def test_a_second_run_finds_nothing_and_writes_nothing(case: Case) -> None:
    case.prepare()
    before = snapshot(case.root)
    assert case.prepare().ready
    assert changed(before, snapshot(case.root)) == {}
    assert case.states() == [State.COMMITTED]


def test_what_stands_in_the_way_stops_it_before_anything(case: Case) -> None:
    (case.root / "var/lib/dpkg/status").write_text(
        trees.STATUS.replace("install ok installed", "install ok half-configured", 1)
    )
    before = snapshot(case.root)
    plan = case.prepare()
    assert [finding.id for finding in plan.errors] == ["dpkg.broken"]
    assert changed(before, snapshot(case.root)) == {}
    assert case.states() == []


def test_a_kernel_takes_two_rounds(case: Case) -> None:
    (case.root / f"boot/vmlinuz-{VERSION}").write_bytes(trees.image(pv=False))
    plan = case.prepare()
    assert plan.ready
    assert len(case.builder.installs) == 1
    assert case.states() == [State.COMMITTED]
    assert case.out.getvalue().count("install linux-image-amd64") >= 1


def _let_install(case: Case, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The package brings kernels that cannot boot PV."""

    def install(change: Any) -> None:
        case.builder.installs.append(change)
        for name in names:
            (case.root / "boot" / name).write_bytes(trees.image(pv=False))

    monkeypatch.setattr(case.builder, "install", install)


@pytest.mark.parametrize("options", [{}, {"kernel_packages": ("/tmp/k.rpm",)}])
def test_a_new_kernel_that_is_none_for_pv_is_put_back(
    case: Case, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    (case.root / f"boot/vmlinuz-{VERSION}").write_bytes(trees.image(pv=False))
    _let_install(case, monkeypatch, "vmlinuz-6.9")
    with pytest.raises(PvprepError) as caught:
        case.prepare(**options)
    assert caught.value.status is Exit.PUT_BACK
    assert "6.9 has no PV entry point" in caught.value.message
    assert VERSION not in caught.value.message, "that one was there before"
    assert "--kernel-package" in caught.value.hint
    assert len(case.builder.installs) == 1
    assert case.states() == [State.ROLLED_BACK]


def test_packages_that_bring_no_kernel_into_boot(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case.root / f"boot/vmlinuz-{VERSION}").write_bytes(trees.image(pv=False))
    _let_install(case, monkeypatch)
    with pytest.raises(PvprepError, match="no new kernel into /boot"):
        case.prepare()
    assert case.states() == [State.ROLLED_BACK]


def test_a_package_file_is_installed_once(case: Case) -> None:
    plan = case.prepare(kernel_packages=("/tmp/k.deb",))
    assert plan.ready
    assert [change.files for change in case.builder.installs] == [("/tmp/k.deb",)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PvprepError("the disk is bad", "buy another"), "the disk is bad; everything was put back"),
        (OSError(5, "Input/output error"), "Input/output error; everything was put back"),
        (ValueError("odd"), "odd; everything was put back"),
        (KeyboardInterrupt(), "KeyboardInterrupt; everything was put back"),
    ],
)
def test_any_failure_puts_everything_back(case: Case, error: BaseException, words: str) -> None:
    before = snapshot(case.root)

    def fail() -> None:
        raise error

    case.builder.after = fail
    with pytest.raises(PvprepError, match=words) as caught:
        case.prepare()
    assert caught.value.status is Exit.PUT_BACK
    if isinstance(error, PvprepError):
        assert caught.value.hint == error.hint
    assert "putting everything back ..." in case.out.getvalue()
    assert changed(before, snapshot(case.root)) == {}
    assert case.states() == [State.ROLLED_BACK]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_order(case: Case, number: signal.Signals) -> None:
    before = snapshot(case.root)
    handlers = [signal.getsignal(one) for one in signal.Signals]
    case.builder.after = lambda: os.kill(os.getpid(), number)
    with pytest.raises(PvprepError, match=f"stopped by {number.name}; everything was put back"):
        case.prepare()
    assert changed(before, snapshot(case.root)) == {}
    assert [signal.getsignal(one) for one in signal.Signals] == handlers


def test_putting_back_is_not_interrupted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(case.root)

    def fail() -> None:
        raise PvprepError("bad")

    undo = converge.Transaction.undo

    def interrupted(self: Any, workers: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return undo(self, workers)

    case.builder.after = fail
    monkeypatch.setattr(converge.Transaction, "undo", interrupted)
    with pytest.raises(PvprepError, match="bad; everything was put back"):
        case.prepare()
    assert changed(before, snapshot(case.root)) == {}


def test_where_putting_back_stops_the_status_says_so(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PvprepError("bad")

    def stop(_self: Any, _workers: Any) -> Any:
        raise PvprepError("worse")

    case.builder.after = fail
    monkeypatch.setattr(converge.Transaction, "undo", stop)
    with pytest.raises(PvprepError, match="bad; and putting it back stopped: worse") as caught:
        case.prepare()
    assert caught.value.status is Exit.HALF_WAY
    assert "pvprep recover" in caught.value.hint


def test_what_could_not_be_put_back_is_named(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PvprepError("bad")

    undo = converge.Transaction.undo
    monkeypatch.setattr(
        converge.Transaction, "undo", lambda self, workers: [*undo(self, workers), "/x: odd"]
    )
    case.builder.after = fail
    with pytest.raises(PvprepError, match="everything was put back, except: /x: odd"):
        case.prepare()


def test_an_initrd_that_would_not_boot_is_not_taken(case: Case) -> None:
    before = snapshot(case.root)
    (output,) = [path for path in before if path.endswith(INITRD)]

    def spoil() -> None:
        for path in (case.root / "boot").iterdir():
            if "initrd" in path.name and f"/boot/{path.name}" != output:
                path.write_bytes(trees.initrd(["xen_netfront"], frontends=False))

    case.builder.after = spoil
    with pytest.raises(PvprepError, match="would not boot PV: lacks xen_blkfront; lacks xen_net"):
        case.prepare()
    assert changed(before, snapshot(case.root)) == {}


def test_a_guest_that_does_not_settle_is_put_back(case: Case, replan: Replace) -> None:
    before = snapshot(case.root)
    count = 0

    def again(plan: Plan) -> Plan:
        nonlocal count
        count += 1
        expect = b"guest\n" if count == 1 else f"guest {count - 1}\n".encode()
        more = WriteFile("x", "/etc/hostname", f"guest {count}\n".encode(), expect, why=("again",))
        return dataclasses.replace(plan, changes=(*plan.changes, more))

    replan(again)
    with pytest.raises(PvprepError, match="does not settle: still to do is again; everything was"):
        case.prepare()
    assert count == converge.ROUNDS + 1
    assert changed(before, snapshot(case.root)) == {}


def test_an_error_after_the_first_round_stops_it_there(case: Case, replan: Replace) -> None:
    before = snapshot(case.root)
    seen: list[Facts] = []

    def worse(plan: Plan) -> Plan:
        seen.append(plan.context.facts)
        if len(seen) == 1:
            return plan

        bad = Finding("x.bad", Level.ERROR, "it got worse", remedy="mend it")
        removal = Remove("x", "/etc/hostname", ("never",))
        return dataclasses.replace(plan, findings=(bad,), changes=(removal,))

    replan(worse)
    with pytest.raises(PvprepError, match=r"x\.bad: it got worse; everything was put") as caught:
        case.prepare()
    assert caught.value.hint == "mend it"
    assert len(seen) == 2
    assert changed(before, snapshot(case.root)) == {}


def test_an_earlier_run_has_to_be_ended_first(case: Case) -> None:
    Journal(case.guest).begin({"verb": "prepare"})._lock.release()
    with pytest.raises(PvprepError, match="stopped half way") as caught:
        case.prepare()
    assert caught.value.status is Exit.HALF_WAY
    assert "pvprep recover" in caught.value.hint


def test_what_cannot_be_read_cannot_be_converted(case: Case) -> None:
    with open(case.root / "etc/crypttab", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PvprepError, match="/etc/crypttab has") as caught:
        converge.look(case.guest, Options())
    assert caught.value.status is Exit.NOT_READY


def test_rolled_back_it_is_as_it_was_and_can_be_done_again(case: Case) -> None:
    before = snapshot(case.root)
    case.prepare()
    Journal(case.guest).rollback(case.builder)
    assert changed(before, snapshot(case.root)) == {}
    assert case.prepare().ready


def test_what_is_new_gets_its_label_and_nothing_else(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled: list[str] = []
    monkeypatch.setattr(selinux, "restore", lambda _guest, paths, _line: labelled.extend(paths))
    assert case.prepare().ready
    assert {"/etc/udev", "/etc/udev/rules.d", f"/{trees.RULES}"} <= set(labelled)
    assert not {"/etc", "/etc/fstab", f"/{INITRD}"} & set(labelled)


def test_a_failure_to_label_puts_everything_back(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PvprepError("new files could not be labelled")

    monkeypatch.setattr(selinux, "restore", fail)
    before = snapshot(case.root)
    with pytest.raises(PvprepError, match="everything was put back"):
        case.prepare()
    assert changed(before, snapshot(case.root)) == {}


def test_a_boot_that_took_autorelabel_along_stands_in_the_way_of_nothing(case: Case) -> None:
    for path, text in (("config", "SELINUX=enforcing\n"), ("targeted/contexts/files", "")):
        place = case.root / "etc/selinux" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    before = snapshot(case.root)
    assert case.prepare().ready
    mark = case.root / ".autorelabel"
    assert mark.read_bytes() == b""
    mark.unlink()
    journal = Journal(case.guest)
    assert [check for check in journal.verify() if check.problem] == []
    assert journal.rollback(case.builder).problems == ()
    assert not mark.exists()
    assert set(changed(before, snapshot(case.root))) == {"/"}  # its time is the boot's


def test_a_kernel_from_outside_is_placed_and_the_next_run_finds_it(
    case: Case, tmp_path: Path
) -> None:
    source = sources.root(tmp_path / "source", sources.files())
    before = snapshot(case.root)
    now = case.prepare(kernel_from=str(source))
    assert now.ready, now
    assert now.context.target is not None and now.context.target.version == sources.V
    assert (case.root / f"boot/vmlinuz-{sources.V}").exists()
    assert case.builder.built == [f"/boot/initrd.img-{sources.V}"]
    assert case.text("boot/grub/grub.cfg").index(sources.V) < case.text(
        "boot/grub/grub.cfg"
    ).index(VERSION)
    assert case.prepare(kernel_from=str(source)).ready
    assert len(case.states()) == 1
    assert case.prepare().ready  # and it stays the one to boot where nobody names it
    Journal(case.guest).rollback(case.builder)
    assert changed(before, snapshot(case.root)) == {}


def test_a_source_that_cannot_be_read_changes_nothing(case: Case, tmp_path: Path) -> None:
    before = snapshot(case.root)
    with pytest.raises(PvprepError, match="neither a directory nor") as caught:
        case.prepare(kernel_from=str(tmp_path / "absent"))
    assert caught.value.status is Exit.NOT_READY
    assert changed(before, snapshot(case.root)) == {}


def test_a_second_signal_does_not_keep_the_first_from_putting_all_back() -> None:
    with converge._interruptible():
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)
        time.sleep(0.05)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
