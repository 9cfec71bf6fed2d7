"""The command: its statuses, its two streams, and what goes with what."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dom0.pretend_xen import UP, PretendXen
from tests.unit.dom0.test_xenstore import PretendXenstore

from pvprep_dom0 import cli, state
from pvprep_dom0.findings import TOPICS
from pvprep_dom0.run import Dom0, Done


class NoXen:
    """A machine without xl."""

    def run(self, argv: Sequence[str], timeout: float = 60) -> Done:
        return Done(127, said=f"{argv[0]}: not found")

    def now(self) -> float:
        return 0

    def wait(self, seconds: float) -> None:
        raise AssertionError("nothing to wait for")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """old.cfg, new.cfg and evil.cfg, and the disk that they name."""
    disk = tmp_path / "disk.img"
    disk.touch()
    head = f'name = "bifit"\nmemory = 512\ndisk = ["vdev=xvda,target={disk}"]\n'
    (tmp_path / "old.cfg").write_text(f'{head}type = "hvm"\n')
    (tmp_path / "new.cfg").write_text(f'{head}type = "pv"\nbootloader = "pygrub"\n')
    (tmp_path / "evil.cfg").write_text(f'{head}bootloader = "pygrub"\npci = ["0:0"]\n')
    return tmp_path


@pytest.fixture(autouse=True)
def quiet_signals() -> Any:
    kept = [(one, signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    yield
    for number, handler in kept:
        signal.signal(number, handler)


def run(
    capfd: Any, *words: object, host: Any = None, home: str = "/nowhere"
) -> tuple[int, str, str]:
    status = cli.main([str(word) for word in words], host or NoXen(), home)
    told = capfd.readouterr()
    return status, told.out, told.err


def test_safe_and_not_safe(files: Path, capfd: Any) -> None:
    status, out, err = run(capfd, "check", files / "new.cfg", "--hvm", files / "old.cfg")
    assert (status, out) == (0, "")
    assert "host.unknown" in err
    assert "Safe" in err
    status, out, err = run(capfd, "check", files / "evil.cfg", "--hvm", files / "old.cfg")
    assert (status, out) == (1, "")
    assert err.endswith("Not safe: key.hardware\n")
    assert "line 5" in err


def test_fix_gives_a_config_that_is_safe(files: Path, capfd: Any) -> None:
    old, fixed = files / "old.cfg", files / "fixed.cfg"
    status, out, _ = run(capfd, "check", "--fix", files / "evil.cfg", "--hvm", old)
    assert status == 0
    assert "pci =" not in out
    assert run(capfd, "check", files / "evil.cfg", f"--fix={fixed}", "--hvm", old)[:2] == (0, "")
    assert fixed.read_text() == out
    assert run(capfd, "check", fixed, "--hvm", old)[0] == 0


def test_what_cannot_be_fixed_gives_nothing(files: Path, capfd: Any) -> None:
    status, out, err = run(capfd, "check", "--fix", files / "evil.cfg")
    assert (status, out) == (1, "")
    assert "no safe config can be made of it" in err


def test_json_is_one_document_always(files: Path, capfd: Any) -> None:
    words = ["check", files / "evil.cfg", "--hvm", files / "old.cfg", "--json"]
    _, out, _ = run(capfd, *words)
    assert [one["id"] for one in json.loads(out)["findings"]] == ["host.unknown", "key.hardware"]
    _, out, _ = run(capfd, *words, "--fix")
    assert "pygrub" in json.loads(out)["config"]
    status, out, _ = run(capfd, "check", files / "none.cfg", "--json")
    assert status == 1
    assert "none.cfg" in json.loads(out)["error"]["message"]


def test_from_stdin(files: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO((files / "evil.cfg").read_bytes()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert "key.hardware" in run(capfd, "check", "-", "--hvm", files / "old.cfg")[2]


@pytest.mark.parametrize(
    "words",
    ["", "check", "check a b", "verify x", "fetch", "trial", "trial x", "trial --resume a --hvm x",
     "trial x --resume a", "trial --resume a/b", "check x --timeout 5", "check x --resume a",
     "check x --restore", "check x --evidence console", "trial x --hvm y --evidence none",
     "fetch x --fix", "fetch x --hvm y", "check x --hvm a --domain b",
     "check x --fix=",
     "trial x --hvm y --timeout 0", "explain no.such", "explain x --json", "check x --pol y",
     "check x --policy /nowhere"],
)  # fmt: skip
def test_wrong_usage(words: str, capfd: Any) -> None:
    status, out, err = run(capfd, *words.split())
    assert status == 2
    assert err.startswith("pvprep-dom0: ")
    assert not out or json.loads(out)["error"]["status"] == 2


def test_explain(capfd: Any) -> None:
    assert [line.split()[0] for line in run(capfd, "explain")[1].splitlines()] == [*TOPICS]
    assert run(capfd, "explain", "disk.script")[1].startswith("disk.script\n\nA disk's script")


def test_fetch(capfd: Any, tmp_path: Path) -> None:
    store = PretendXenstore(b"a = 1\n")
    status, out, err = run(capfd, "fetch", "bifit", host=store)
    assert (status, out) == (0, "a = 1\n")
    assert "Do not trust it" in err
    assert run(capfd, "fetch", "7", "--output", tmp_path / "x", host=store)[:2] == (0, "")
    assert (tmp_path / "x").read_text() == "a = 1\n"
    assert run(capfd, "fetch", "nobody", host=store)[0] == 1
    assert run(capfd, "fetch", "nobody")[2].startswith("pvprep-dom0: there is no xl here")


def test_fetch_and_check_knows_whom_it_came_from(files: Path, capfd: Any) -> None:
    class Both(PretendXenstore):
        """xenstore, and the domain 7 that runs with the disk."""

        def run(self, argv: Sequence[str], timeout: float = 60) -> Done:
            if argv[:2] == ["xl", "list"]:
                disk = {"pdev_path": f"{files}/disk.img", "vdev": "hda", "format": "raw"}
                config = {
                    "c_info": {"name": "bifit", "type": "hvm"}, "b_info": {"target_memkb": 524288},
                    "disks": [disk],
                }  # fmt: skip
                return Done(0, json.dumps([{"domid": 7, "config": config}]))
            return super().run(argv, timeout)

    good = (files / "new.cfg").read_bytes()
    status, out, err = run(capfd, "fetch", "7", "--check", host=Both(good))
    assert (status, out.encode()) == (0, good)
    assert "name.running" in err
    evil = Both(good.replace(b"bifit", b"other", 1))
    status, out, err = run(capfd, "fetch", "7", "--check", host=evil)
    assert (status, out) == (1, "")
    assert "name.not-its-own" in err
    assert run(capfd, "fetch", "7", "--check", host=Both(good, format="xm"))[:2] == (1, "")


def test_trial(files: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    words = ["trial", files / "new.cfg", "--hvm", files / "old.cfg"]
    home = str(files / "home")
    assert run(capfd, *words, host=PretendXen(UP), home=home)[:2] == (0, "")
    assert run(capfd, *words, "--timeout", 4, host=PretendXen(), home=home)[:2] == (3, "")
    seen = PretendXen()
    seen.prints, seen.devices = b"\nbifit login: ", {"vbd": {"51712": 4}}
    status, _, err = run(capfd, *words, "--evidence", "console", host=seen, home=home)
    assert (status, seen.type) == (0, "pv")
    assert "up, by what dom0 sees" in err
    evil = ["trial", files / "evil.cfg", "--hvm", files / "old.cfg"]
    xen = PretendXen()
    assert run(capfd, *evil, host=xen, home=home)[0] == 1
    assert xen.type == "hvm"
    assert xen.calls == ["xl list -l"]
    assert run(capfd, *words, home=home)[0] == 1
    assert "no trial of bifit" in run(capfd, "trial", "--resume", "bifit", home=home)[2]


def test_one_trial_at_a_time(files: Path, capfd: Any) -> None:
    home = str(files / "home")
    words = ["trial", files / "new.cfg", "--hvm", files / "old.cfg"]
    store = state.Store(home, "bifit")
    store.lock()
    assert "another trial of bifit" in run(capfd, *words, host=PretendXen(UP), home=home)[2]
    store.unlock()
    store.save(state.State("bifit", "pv", "hvm", phase="waiting"))
    status, _, err = run(capfd, *words, host=PretendXen(UP), home=home)
    assert status == 4
    assert "do: pvprep-dom0 trial --resume bifit" in err


def test_programs_end_in_time_and_see_no_signals(tmp_path: Path) -> None:
    host = Dom0()
    assert host.run(["/nowhere/xl"]).status == 127
    assert host.run([str(tmp_path)]).status == 126
    assert host.run(["sleep", "60"], timeout=0.1).status == 124
    done = host.run(["sh", "-c", "echo a; echo b >&2; exit 3"])
    assert (done.status, done.output, done.said) == (3, "a\n", "b\n")
    told = host.run([sys.executable, "-c", "import os; print(os.getsid(0))"]).output
    assert int(told) != os.getsid(0)


def test_it_needs_nothing_but_the_standard_library() -> None:
    """Not the guest's agent either, and no package of this machine's."""
    agent = Path(cli.__file__).parents[1]
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pvprep_dom0.cli; " \
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, agent], capture_output=True, text=True, check=True
    )
    assert "pvprep" not in done.stdout.split()
    assert "pvprep_dom0" in done.stdout.split()
