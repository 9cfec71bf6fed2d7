"""The trial: its two ends, and that a kill at any point leads to one of them."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest
from tests.unit.dom0.pretend_xen import UP, Killed, PretendXen, fresh

from pvprep_dom0.errors import Dom0Error, Exit
from pvprep_dom0.evidence import Watch
from pvprep_dom0.run import Dom0, Done, Recorder
from pvprep_dom0.state import State, Store
from pvprep_dom0.trial import Stop, Trial

PV = b'name = "bifit"\ntype = "pv"\n'
HVM = b'name = "bifit"\ntype = "hvm"\n'
DISKS = [("/dev/vg0/bifit-disk", "raw")]


class KilledStore(Store):
    """Writes files like Store, and can be killed before and after."""

    def __init__(self, home: str, name: str, xen: PretendXen) -> None:
        super().__init__(home, name)
        self.xen = xen

    def write(self, place: str, data: bytes) -> None:
        self.xen.point()
        super().write(place, data)
        self.xen.point()


class Bench:
    """A trial on a pretended dom0, that can be begun and resumed."""

    def __init__(self, home: Path, xen: PretendXen, **options: Any) -> None:
        self.xen = xen
        self.said: list[str] = []
        self.stop = Stop()
        self.home = home
        self.options = options
        self.consoles = home / "console"
        self.consoles.mkdir(parents=True, exist_ok=True)

    def _trial(self) -> tuple[Trial, KilledStore]:
        store = KilledStore(str(self.home), "bifit", self.xen)
        trial = Trial(self.xen, store, self.said.append, self.stop, str(self.consoles))
        return trial, store

    def begin(self) -> Exit:
        trial, store = self._trial()
        state = State("bifit", store.file("pv.cfg"), store.file("hvm.cfg"), **self.options)
        return trial.begin(state, PV, HVM, DISKS, "pvprep-1")

    def resume(self) -> Optional[Exit]:
        trial, store = self._trial()
        state = store.load()
        return trial.go_on(state) if state else None

    @property
    def told(self) -> str:
        return "\n".join(self.said)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Nothing here outlives the machine: hundreds of trials without waiting for its disk."""
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    return synced


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What dom0 sees need not last: fewer points to be killed at."""
    monkeypatch.setattr("pvprep_dom0.trial._STEADY", 2)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def make(xen: PretendXen, **options: Any) -> Bench:
        return Bench(tmp_path / "home", xen, **options)

    return make


def test_one_that_comes_up_is_kept(bench: Callable[..., Bench], unsynced: list[int]) -> None:
    xen = PretendXen(UP)
    trial = bench(xen)
    assert trial.begin() is Exit.DONE
    # Two configs and five phases, one of them twice: each file and its directory; its end.
    assert len(unsynced) == 2 * (2 + 6) + 1
    assert xen.type == "pv"
    assert xen.volumes == {"vg0/bifit-disk"}
    assert "up, by its own report: root /dev/xvda1, network ens3, login on hvc0" in trial.told
    assert (trial.home / "bifit.pv.cfg").read_bytes() == PV
    assert trial.resume() is None


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (None, "did not say that it is up within 300 s"),
        ({**UP, "up": False, "network": []}, "came up without network"),
        ({**UP, "up": False, "login": False, "root": ""}, "came up without root and login"),
        ({**UP, "up": False}, "came up without its own consent"),
        ({**UP, "login": "true"}, "came up without login"),
    ],
)
def test_one_that_does_not_is_hvm_again(
    bench: Callable[..., Bench], report: Optional[dict[str, Any]], reason: str
) -> None:
    xen = PretendXen(report)
    trial = bench(xen)
    (trial.consoles / "guest-bifit.log").write_text("before\n")
    assert trial.begin() is Exit.PUT_BACK
    assert xen.type == "hvm"
    assert reason in trial.told
    log = (trial.home / "bifit.console.log").read_text()
    assert reason in log
    assert "before" not in log  # what the HVM domain had said
    assert xen.restored == 0
    assert "is kept: --restore would have used it" in trial.told


def test_the_console_is_recorded_where_xenconsoled_keeps_none(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """By a real terminal, of a stand-in for `xl console`."""
    program = tmp_path / "xl"
    program.write_text("#!/bin/sh\ntest -t 0 || exit\necho Kernel panic\nexec cat\n")
    program.chmod(0o755)
    recorded = tmp_path / "home/bifit.recorded"

    class Terminal(PretendXen):
        made: Optional[Recorder] = None

        def record(self, argv: Sequence[str], place: str, most: int) -> Any:
            self.made = Dom0().record([str(program), *argv[1:]], place, most)
            return self.made

        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            end = time.monotonic() + 30
            while self.made and time.monotonic() < end and not recorded.read_bytes():
                time.sleep(0.01)

    xen = Terminal()
    recorded.parent.mkdir()
    recorded.write_text("of a trial before\n")
    trial = bench(xen, timeout=6)
    assert trial.begin() is Exit.PUT_BACK
    log = (trial.home / "bifit.console.log").read_text()
    assert log == "it did not say that it is up within 6 s\nKernel panic\n"
    assert xen.made
    assert xen.made.over()
    assert not recorded.exists()


def test_a_domain_that_starts_anew_is_recorded_anew(bench: Callable[..., Bench]) -> None:
    xen = PretendXen()
    xen.prints = b"Kernel panic\n"
    trial = bench(xen, timeout=6)
    wait = xen.wait

    def crash(seconds: float) -> None:
        wait(seconds)
        for recorder in xen.recorders[:1]:
            recorder.ended = True

    xen.wait = crash  # type: ignore[method-assign]
    assert trial.begin() is Exit.PUT_BACK
    assert "Kernel panic\nKernel panic\n" in (trial.home / "bifit.console.log").read_text()
    assert len(xen.recorders) == 2
    assert all(one.ended for one in xen.recorders)


@pytest.mark.parametrize(("logs", "records"), [(True, 0), (False, 1)])
def test_xenconsoleds_log_is_taken_where_it_goes_on(
    bench: Callable[..., Bench], logs: bool, records: int
) -> None:
    """One that is only left over from before is found out, after a while."""
    xen = PretendXen()
    xen.prints = b"recorded\n"
    trial = bench(xen, timeout=60)
    log = trial.consoles / "guest-bifit.log"
    log.write_text("before\n")
    wait = xen.wait

    def printed(seconds: float) -> None:
        wait(seconds)
        if logs and xen.type == "pv" and "logged" not in log.read_text():
            log.write_text("before\nlogged\n")

    xen.wait = printed  # type: ignore[method-assign]
    assert trial.begin() is Exit.PUT_BACK
    assert len(xen.recorders) == records
    kept = (trial.home / "bifit.console.log").read_text()
    assert kept.endswith("s\nlogged\n" if logs else "s\nrecorded\n")


def test_a_log_that_was_rotated_is_read_from_its_beginning(bench: Callable[..., Bench]) -> None:
    xen = PretendXen()
    trial = bench(xen, timeout=6)
    log = trial.consoles / "guest-bifit.log"
    log.write_text("before\n" * 100)
    wait = xen.wait

    def rotated(seconds: float) -> None:
        wait(seconds)
        if xen.type == "pv":
            log.write_text("logged\n")

    xen.wait = rotated  # type: ignore[method-assign]
    trial.begin()
    assert (trial.home / "bifit.console.log").read_text().endswith("s\nlogged\n")


CONNECTED = {"vbd": {"51712": 4, "51728": 4}, "vif": {"0": 4}}
PROMPT = b"\r\nDebian GNU/Linux 12 bifit hvc0\r\n\r\nbifit login: [   12.1] random: ready\r\n"


def outside(**more: Any) -> PretendXen:
    """With a guest that comes up, and has no pvprep that could report."""
    xen = PretendXen()
    xen.prints, xen.devices = PROMPT, CONNECTED
    for name, value in more.items():
        setattr(xen, name, value)
    return xen


def test_a_guest_that_cannot_report_is_kept_by_what_dom0_sees(
    bench: Callable[..., Bench],
) -> None:
    xen = outside()
    trial = bench(xen, evidence="console")
    assert trial.begin() is Exit.DONE
    assert xen.type == "pv"
    assert "up, by what dom0 sees: a login is on its console" in trial.told
    assert "connected are vbd 51712, vbd 51728, vif 0" in trial.told
    assert "its own report" not in trial.told
    assert all(one.ended for one in xen.recorders)


def test_unasked_nothing_but_the_report_counts(bench: Callable[..., Bench]) -> None:
    xen = outside()
    trial = bench(xen)
    assert trial.begin() is Exit.PUT_BACK
    assert xen.type == "hvm"
    assert "if there is no pvprep in it that could report, --evidence console" in trial.told


@pytest.mark.parametrize("up", [True, False])
def test_a_report_goes_before_what_dom0_sees(bench: Callable[..., Bench], up: bool) -> None:
    """It may come a while later, and is believed where it says no, too."""
    xen = outside(report={**UP, "up": up}, polls=12)
    trial = bench(xen, evidence="console")
    assert trial.begin() is (Exit.DONE if up else Exit.PUT_BACK)
    assert ("up, by its own report" if up else "without its own consent") in trial.told


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"prints": b""}, "and no login prompt is on its console"),
        ({"prints": b"systemd[1]: Started login: getty\r\n"}, "no login prompt"),
        ({"prints": b"Give root password for maintenance\r\n"}, "no login prompt"),
        ({"devices": {"vbd": {"51712": 4, "51728": 3}, "vif": {"0": 2}}},
         "and vbd 51728 is not connected, vif 0 is not connected"),
        ({"devices": {"vif": {"0": 4}}}, "and it has no disk"),
        ({"prints": b"", "devices": {}}, "and no login prompt is on its console"),
    ],
)  # fmt: skip
def test_what_dom0_does_not_see_is_told(
    bench: Callable[..., Bench], more: dict[str, Any], reason: str
) -> None:
    xen = outside(**more)
    trial = bench(xen, evidence="console")
    assert trial.begin() is Exit.PUT_BACK
    assert xen.type == "hvm"
    assert reason in trial.told


def test_what_dom0_sees_has_to_last(bench: Callable[..., Bench]) -> None:
    """A disk that goes away again and again is none."""
    xen = outside()
    wait = xen.wait

    def flicker(seconds: float) -> None:
        wait(seconds)
        xen.devices = {"vbd": {"51712": 3 if xen.clock % 20 < 2 else 4}}

    xen.wait = flicker  # type: ignore[method-assign]
    assert bench(xen, evidence="console").begin() is Exit.PUT_BACK


def test_the_login_of_a_boot_before_does_not_count() -> None:
    xen = outside()
    watch = Watch(xen)
    watch.look(9, PROMPT)
    assert watch.up
    xen._xenstore_list = lambda path: Done(1)  # type: ignore[method-assign]
    watch.look(10, PROMPT)
    assert (watch.login, watch.lacks) == (False, "no login prompt is on its console")
    watch.look(10, PROMPT + b"Linux version 6.1\r\n" + PROMPT)
    assert watch.login


def test_restore_gives_the_disk_back(bench: Callable[..., Bench]) -> None:
    xen = PretendXen()
    assert bench(xen, restore=True).begin() is Exit.PUT_BACK
    assert (xen.restored, xen.volumes, xen.type) == (1, {"vg0/bifit-disk"}, "hvm")


def test_what_was_not_restored_is_never_called_so(bench: Callable[..., Bench]) -> None:
    """lvs fails once the PV domain is tried: the HVM domain runs again, on the disk as it is."""
    xen = PretendXen()
    xen.mute = lambda column: "starting bifit as PV" in trial.said
    trial = bench(xen, restore=True)
    assert trial.begin() is Exit.PUT_BACK
    assert (xen.restored, xen.type) == (0, "hvm")
    assert "vg0/bifit-disk NOT RESTORED: Can't get lock for vg0." in trial.told
    assert " restored" not in trial.told
    assert trial.said[-1].endswith("; NOT RESTORED: vg0/bifit-disk")


def test_a_snapshot_that_somebody_removed_is_not_called_restored(
    bench: Callable[..., Bench],
) -> None:
    xen = PretendXen()
    made = xen._xl_create

    def create(*words: str) -> Any:
        xen.volumes.discard("vg0/bifit-disk-pvprep-1")
        return made(*words)

    xen._xl_create = create  # type: ignore[method-assign]
    trial = bench(xen, restore=True)
    assert trial.begin() is Exit.PUT_BACK
    assert "vg0/bifit-disk NOT RESTORED: vg0/bifit-disk-pvprep-1 is gone" in trial.told


@pytest.mark.parametrize(("fails", "kind"), [(1, "pv"), (2, "hvm"), (7, "hvm")])
def test_what_cannot_be_started_at_once_is_tried_again(
    bench: Callable[..., Bench], fails: int, kind: str
) -> None:
    xen = PretendXen(UP)
    xen.fails = fails
    trial = bench(xen)
    assert trial.begin() is (Exit.DONE if kind == "pv" else Exit.PUT_BACK)
    assert xen.type == kind
    assert "libxl: not enough memory; once more in 10 s" in trial.told


def test_what_dies_is_waited_for(bench: Callable[..., Bench]) -> None:
    """Its memory and disks are not free while Xen has it, be it without a name."""
    xen = PretendXen(UP)
    xen.dying = 20
    assert bench(xen).begin() is Exit.DONE
    started = next(i for i, call in enumerate(xen.calls) if call.startswith("xl create --quiet"))
    assert xen.calls[:started].count("xl list 5") == 21


def test_what_xl_says_against_it_is_told(bench: Callable[..., Bench]) -> None:
    xen = PretendXen()
    xen.creates = False
    trial = bench(xen)
    assert trial.begin() is Exit.PUT_BACK
    assert "xl create: xl: error | no loader found" in trial.told
    assert "no loader found" in (trial.home / "bifit.console.log").read_text()


def test_one_that_goes_off_by_itself_is_hvm_again(bench: Callable[..., Bench]) -> None:
    xen = PretendXen()
    trial = bench(xen)
    made = xen._xl_create

    def create(*words: str) -> Any:
        done = made(*words)
        if xen.type == "pv":
            xen._xl_shutdown()
        return done

    xen._xl_create = create  # type: ignore[method-assign]
    assert trial.begin() is Exit.PUT_BACK
    assert "went off by itself" in trial.told
    assert xen.type == "hvm"


@pytest.mark.parametrize("force", [False, True])
def test_one_that_does_not_go_off_runs_on(bench: Callable[..., Bench], force: bool) -> None:
    xen = PretendXen(UP)
    xen.shuts_down = False
    trial = bench(xen, force_off=force)
    assert trial.begin() is (Exit.DONE if force else Exit.PUT_BACK)
    assert xen.type == ("pv" if force else "hvm")
    assert ("xl destroy bifit" in xen.calls) is force


def test_no_snapshot_is_said_loudly_and_restore_refuses(bench: Callable[..., Bench]) -> None:
    xen = PretendXen(UP)
    xen._lvs = lambda *_: Done(5)  # type: ignore[method-assign]
    trial = bench(xen, restore=True)
    with pytest.raises(Dom0Error, match="--restore wants a snapshot"):
        trial.begin()
    assert xen.type == "hvm"
    trial = bench(xen)
    assert trial.begin() is Exit.DONE
    assert "NO SNAPSHOT of /dev/vg0/bifit-disk" in trial.told


@pytest.mark.parametrize("report", [UP, None])
@pytest.mark.parametrize("room", range(10))
def test_a_full_disk_does_not_keep_it_from_an_end(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, room: int, report: Any
) -> None:
    """There is room for so many files; two are the configs, the third tells that it has begun."""
    xen = PretendXen(report)
    trial = bench(xen, timeout=6)
    written: list[str] = []

    def write(store: Store, place: str, data: bytes) -> None:
        written.append(place)
        if len(written) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        Store.write(store, place, data)

    monkeypatch.setattr(KilledStore, "write", write)
    if room < 3:
        with pytest.raises(OSError, match="No space"):
            trial.begin()
        assert xen.type == "hvm"
        return
    assert trial.begin() is (Exit.DONE if report else Exit.PUT_BACK)
    assert xen.type == ("pv" if report else "hvm")
    assert ("do not kill this now" in trial.told) is (len(written) > room)


def test_a_pv_domain_is_not_tried(bench: Callable[..., Bench]) -> None:
    xen = PretendXen(UP)
    xen.domains["bifit"] = (5, "pv")
    with pytest.raises(Dom0Error, match="not as HVM but as pv"):
        bench(xen).begin()


SCENARIOS: dict[str, Callable[[], tuple[PretendXen, dict[str, Any]]]] = {
    "up": lambda: (PretendXen(UP), {}),
    "not up": lambda: (PretendXen(), {"timeout": 6}),
    "restored": lambda: (PretendXen({**UP, "up": False}), {"restore": True}),
    "no loader": lambda: (_without_loader(), {"restore": True}),
    "up by console": lambda: (outside(), {"evidence": "console"}),
}


def _without_loader() -> PretendXen:
    xen = PretendXen()
    xen.creates = False
    return xen


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_any_point(bench: Callable[..., Bench], tmp_path: Path, scenario: str) -> None:
    """Then --resume, which is killed at some point as well, and another."""
    kills = 0
    while True:
        fresh(tmp_path / "home")
        xen, options = SCENARIOS[scenario]()
        trial = bench(xen, **options)
        xen.kill_at = kills
        try:
            trial.begin()
            break
        except Killed:
            kills += 1
        xen.kill_at = xen.points + kills % 5
        try:
            trial.resume()
        except Killed:
            pass
        xen.kill_at = -1
        assert trial.resume() in (None, Exit.DONE, Exit.PUT_BACK)
        untouched = not any(call.startswith("xl shutdown") for call in xen.calls)
        wanted = "pv" if scenario.startswith("up") and not untouched else "hvm"
        assert xen.type == wanted, kills
        assert trial.resume() is None
        assert not list(trial.home.glob("trial-*.json"))
        assert not (trial.home / "bifit.recorded").exists()
        if scenario == "restored" and not untouched:
            assert (xen.restored, xen.volumes) == (1, {"vg0/bifit-disk"})
    assert kills > 40


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_asked_to_stop_at_any_point(
    bench: Callable[..., Bench], tmp_path: Path, scenario: str
) -> None:
    """SIGINT, SIGTERM: back to HVM in order, unless it was up already."""

    class Asking(PretendXen):
        def point(self) -> None:
            self.points += 1
            trial.stop.asked |= self.points == asked

    for asked in range(1, 200):
        fresh(tmp_path / "home")
        xen, options = SCENARIOS[scenario]()
        xen.__class__ = Asking
        trial = bench(xen, **options)
        ended = trial.begin()
        assert ended in (Exit.DONE, Exit.PUT_BACK)
        assert xen.type == ("pv" if ended is Exit.DONE else "hvm")
        if xen.points < asked:
            return
    raise AssertionError("it does not end")


def test_after_a_restart_of_dom0_that_started_the_hvm_domain(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """At whatever point: nothing is restored under it, and there is one domain in the end."""
    kills = 0
    while True:
        fresh(tmp_path / "home")
        xen = PretendXen({**UP, "up": False})
        trial = bench(xen, restore=True)
        xen.kill_at = kills
        try:
            trial.begin()
            break
        except Killed:
            kills += 1
        xen.domains, xen.kill_at = {"bifit": (1, "hvm")}, -1
        assert trial.resume() in (None, Exit.PUT_BACK)
        assert xen.type == "hvm"


def test_a_state_that_cannot_be_read_says_how_to_go_on(bench: Callable[..., Bench]) -> None:
    trial = bench(PretendXen())
    (trial.home / "trial-bifit.json").write_text("{")
    with pytest.raises(Dom0Error, match="trial-bifit") as stuck:
        trial.resume()
    assert stuck.value.status is Exit.HALF_WAY
    assert "xl list" in stuck.value.hint
