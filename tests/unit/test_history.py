"""The verbs about what was done."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_boots import BOOT
from tests.unit.trees import Builder

from pvprep import boots, converge, history
from pvprep.changes import InstallPackages, WriteFile
from pvprep.errors import Exit, PvprepError
from pvprep.facts import Layout
from pvprep.guest import Guest
from pvprep.journal import Journal

OLD, NEW = b"old\n", b"new\n"


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_bytes(OLD)
    monkeypatch.setattr(history, "GuestWorkers", lambda *_: Builder(tmp_path))
    monkeypatch.setattr(history.namespace, "enter", lambda _guest: None)
    monkeypatch.setattr("pvprep.report.LOGS", "/dev/null/none")
    return Guest(str(tmp_path))


def change(guest: Guest, commit: bool = True) -> None:
    """A transaction, committed or killed."""
    transaction = Journal(guest).begin({"verb": "prepare"})
    transaction.apply(WriteFile("x", "/etc/fstab", NEW, OLD), Builder(Path(guest.root)))
    if commit:
        transaction.commit()
    else:
        transaction._lock.release()


def run(guest: Guest, verb: str, *flags: str) -> Exit:
    verify, dry_run, as_json = ("verify" in flags, "dry-run" in flags, "json" in flags)
    return history.run(verb, guest, verify, dry_run, as_json, "trusted" in flags)


def read(capfd: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capfd.readouterr().out)


def content(guest: Guest) -> bytes | None:
    return guest.read("/etc/fstab")


def test_rollback_puts_back(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    change(guest)
    assert run(guest, "rollback") is Exit.DONE
    assert content(guest) == OLD
    out, err = capfd.readouterr()
    assert out == ""
    assert "rolled back: 1 change undone" in err


def test_rollback_proves_it(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    change(guest)
    assert run(guest, "rollback", "verify", "json") is Exit.DONE
    out, err = capfd.readouterr()
    assert "  as it was /etc/fstab" in err
    found = json.loads(out)
    assert list(found) == ["version", "message", "transactions", "problems", "checks"]
    assert found["checks"] == [{"path": "/etc/fstab", "state": "rolled-back", "problem": ""}]


def test_rollback_refuses_what_was_edited_since(guest: Guest) -> None:
    change(guest)
    Path(guest.root, "etc/fstab").write_bytes(b"mine\n")
    with pytest.raises(PvprepError, match="/etc/fstab") as caught:
        run(guest, "rollback")
    assert caught.value.status is Exit.NOT_READY
    assert content(guest) == b"mine\n"


@pytest.mark.parametrize("edited", [False, True])
def test_a_rehearsal_changes_nothing(
    guest: Guest, capfd: pytest.CaptureFixture[str], edited: bool
) -> None:
    change(guest)
    if edited:
        Path(guest.root, "etc/fstab").write_bytes(b"mine\n")
    before = content(guest)
    assert run(guest, "rollback", "dry-run", "json") is (Exit.NOT_READY if edited else Exit.DONE)
    assert content(guest) == before
    out, err = capfd.readouterr()
    assert ("differs" in err) == edited
    assert bool(json.loads(out)["checks"][0]["problem"]) == edited


@pytest.mark.parametrize("verb", ["rollback", "recover"])
def test_nothing_to_do(guest: Guest, capfd: pytest.CaptureFixture[str], verb: str) -> None:
    assert run(guest, verb, "json") is Exit.DONE
    found = read(capfd)
    assert found["transactions"] == []
    assert found["message"].startswith("nothing to r")


def test_a_pvprep_that_runs_is_told_from_one_that_was_killed(
    guest: Guest, capfd: pytest.CaptureFixture[str]
) -> None:
    """Another process is in the middle of a conversion."""
    reader, writer = os.pipe()
    asked, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        transaction = Journal(guest).begin({"verb": "prepare"})
        transaction.apply(WriteFile("x", "/etc/fstab", NEW, OLD), Builder(Path(guest.root)))
        os.write(writer, b"1")
        os.read(asked, 1)
        os._exit(0)
    assert os.read(reader, 1)
    assert run(guest, "status") is Exit.DONE
    assert f": pid {pid} is at it\n" in capfd.readouterr().out
    run(guest, "status", "json")
    assert read(capfd)["running"] == str(pid)
    for verb, flag in (("rollback", ""), ("rollback", "dry-run"), ("recover", "")):
        with pytest.raises(PvprepError, match=rf"is running \(pid {pid}\)") as caught:
            run(guest, verb, flag)
        assert caught.value.status is Exit.NOT_READY
    with pytest.raises(PvprepError, match="another pvprep is running"):
        converge.refuse_pending(Journal(guest))
    assert content(guest) == NEW
    os.write(done, b"1")
    os.waitpid(pid, 0)
    assert run(guest, "status") is Exit.HALF_WAY
    assert run(guest, "recover") is Exit.DONE
    assert content(guest) == OLD
    for descriptor in (reader, writer, asked, done):
        os.close(descriptor)


def test_no_program_of_a_guest_on_an_image_undoes_an_installation(guest: Guest) -> None:
    Path(guest.root, "boot").mkdir()
    builder = Builder(Path(guest.root))
    transaction = Journal(guest).begin({"verb": "prepare"})
    transaction.apply(InstallPackages("kernel", ("linux",)), builder)
    transaction.commit()
    guest.layout = Layout((), ())
    for verb in ("rollback", "recover"):
        with pytest.raises(PvprepError, match="its own package manager") as caught:
            run(guest, verb)
        assert caught.value.status is Exit.NOT_READY
    assert run(guest, "rollback", "trusted") is Exit.DONE


def test_nothing_to_rehearse(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(guest, "rollback", "dry-run") is Exit.DONE
    assert capfd.readouterr().err == "  nothing to roll back\n"


def test_recover_brings_it_to_an_end(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    change(guest, commit=False)
    with pytest.raises(PvprepError):
        run(guest, "rollback")
    assert run(guest, "recover", "json") is Exit.DONE
    assert content(guest) == OLD
    assert read(capfd)["message"].startswith("put back what was half done: 1 change")


def test_an_interrupted_undo_says_what_to_do(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_self: Journal, _workers: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "rollback", stop)
    with pytest.raises(PvprepError, match="interrupted") as caught:
        run(guest, "rollback")
    assert caught.value.status is Exit.HALF_WAY
    assert "pvprep recover" in caught.value.hint


def test_status_before_anything(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(guest, "status") is Exit.DONE
    assert capfd.readouterr().out == (
        "runs as     unknown\nrun         pvprep has not changed anything here\n"
    )


def test_status_tells_runs_and_boots(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    change(guest)
    assert run(guest, "status") is Exit.DONE
    out = capfd.readouterr().out
    assert "done, 1 change; undo with `pvprep rollback`\n" in out
    assert out.endswith("PV boot     none recorded yet\n")
    down = {**BOOT, "up": False, "network": {}, "login": False, "root": "\033[2J"}
    place = Path(guest.root, boots.RECORD[1:])
    place.write_text(f"{json.dumps(BOOT)}\n{json.dumps(down)}\n")
    run(guest, "status")
    rows = capfd.readouterr().out.split("\n")[2:4]
    assert rows == [
        "PV boot     2025-01-01T00:00:00Z up: 6.1 as pv on Xen 4, root /dev/xvda1, "
        "network ens3 10.0.0.2, login on hvc0",
        "PV boot     2025-01-01T00:00:00Z NOT UP: 6.1 as pv on Xen 4, root ?[2J, "
        "network down, login on nothing",
    ]
    run(guest, "rollback")
    run(guest, "status", "json")
    found = read(capfd)
    assert list(found) == ["version", "runs_as", "running", "transactions", "boots"]
    assert [one["state"] for one in found["transactions"]] == ["rolled-back"]
    assert found["boots"] == [BOOT, down]


@pytest.mark.parametrize("as_json", [False, True])
def test_status_of_a_run_that_was_killed(
    guest: Guest, capfd: pytest.CaptureFixture[str], as_json: bool
) -> None:
    change(guest, commit=False)
    assert run(guest, "status", *["json"] * as_json) is Exit.HALF_WAY
    out, err = capfd.readouterr()
    if as_json:
        assert json.loads(out)["transactions"][0]["state"] == "open"
    else:
        assert out == ""
        assert "stopped half way after 1 change: run `pvprep recover`" in err


def test_recording_a_boot(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(guest, "record-boot") is Exit.DONE
    assert capfd.readouterr().out == ""
    assert run(guest, "record-boot", "json") is Exit.DONE
    assert read(capfd) == {"version": 1, "recorded": None}
