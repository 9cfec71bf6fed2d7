"""pvprep killed, or asked to stop, in the middle of a real conversion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.roots import snapshot
from tests.roots.runs import OURS, Result, end, environment, pvprep, restored, start
from tests.roots.trees import package

from pvprep import lock
from pvprep.guest import Guest
from pvprep.packages import dpkg

pytestmark = pytest.mark.roots

# The pid of the pvprep that is at work, as programs inside the tree can read it.
PID = "$(cat /var/lib/pvprep/lock)"
ALONE = f"kill -{{}} {PID}; sleep 1"
# With start_new_session pvprep leads the group that the builder is in.
GROUP = f"kill -{{}} -{PID}; sleep 1"


def _hook(root: Path, command: str) -> None:
    """Let the initrd builder run a command, half way through the initrd."""
    hook = root / "etc/initramfs-tools/hooks/zz-trouble"
    hook.write_text(f'#!/bin/sh\n[ "$1" = prereqs ] && exit\n{command}\n')
    hook.chmod(0o755)


def _killed(root: Path, *words: str) -> None:
    """Run until it is killed from inside; all that it started has ended when this returns."""
    done = end(start(root, *words, start_new_session=True))
    assert done.status == -signal.SIGKILL, done.err
    assert done.out == ""
    _calm(root)


def _calm(root: Path) -> None:
    """Wait until nothing that was started is at work any more."""
    deadline = time.monotonic() + 60
    while _running(root) or lock.holder(f"{root}{OURS}"):
        assert time.monotonic() < deadline, _running(root)
        time.sleep(0.1)


def _running(root: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "root") == str(root):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def _half_way(root: Path) -> None:
    """Everybody who asks is told, and nobody makes it worse."""
    before = snapshot.take(root)
    for words in (("check",), ("--dry-run",), ("prepare",), ("rollback",)):
        done = pvprep(root, *words)
        assert (done.status, done.out) == (4, ""), (words, done.err)
        assert "pvprep recover" in done.err
    assert pvprep(root, "status").status == 4
    assert snapshot.differences(before, snapshot.take(root), (OURS,)) == []


def _recovered(root: Path, before: snapshot.Snapshot, packages: bool = False) -> Result:
    done = pvprep(root, "recover")
    assert done.status == 0, done.err
    assert restored(before, root, packages) == []
    return done


# Kills itself after so many files were written.
_AT_WRITE = """
import os, sys
from pvprep import cli, transaction
write, left = transaction.write, [int(sys.argv.pop(1))]
def counted(*arguments):
    write(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), 9)
transaction.write = counted
sys.exit(cli.main())
"""


@pytest.mark.parametrize("writes", [1, 5])
def test_between_two_files(guest_tree: Path, writes: int) -> None:
    before = snapshot.take(guest_tree)
    argv = [sys.executable, "-c", _AT_WRITE, str(writes), "--root", str(guest_tree)]
    done = subprocess.run(argv, env=environment(), capture_output=True, cwd="/")
    assert done.returncode == -signal.SIGKILL
    assert restored(before, guest_tree) != []
    _half_way(guest_tree)
    _recovered(guest_tree, before)
    assert pvprep(guest_tree, "check").status == 1


@pytest.mark.parametrize("command", [ALONE, GROUP], ids=["alone", "with the builder"])
def test_while_the_initrd_is_built(guest_tree: Path, command: str) -> None:
    _hook(guest_tree, command.format("KILL"))
    before = snapshot.take(guest_tree)
    _killed(guest_tree)
    _half_way(guest_tree)
    assert "put back what was half done" in _recovered(guest_tree, before).err
    assert list((guest_tree / "boot").glob(".pvprep*")) == []


def test_after_a_recovery_it_goes_through(guest_tree: Path) -> None:
    _hook(guest_tree, ALONE.format("KILL"))
    _killed(guest_tree)
    assert pvprep(guest_tree, "recover").status == 0
    _hook(guest_tree, ":")
    before = snapshot.take(guest_tree)
    done = pvprep(guest_tree, "--emit-config")
    assert done.status == 0, done.err
    assert 'bootloader = "pygrub"' in done.out
    assert pvprep(guest_tree, "rollback").status == 0
    assert restored(before, guest_tree) == [f"{OURS}: mtime"]


@pytest.mark.parametrize("script", ["preinst", "postinst"])
@pytest.mark.parametrize("dpkg_too", [False, True], ids=["alone", "with dpkg"])
def test_while_packages_are_installed(
    guest_tree: Path, tmp_path: Path, script: str, dpkg_too: bool
) -> None:
    command = f"{ALONE.format('KILL')}; {'kill -KILL $PPID' if dpkg_too else 'sleep 4'}"
    scripts = {script: command}
    files = [
        package(tmp_path, "linux-image-test", Depends="linux-extra-test", **scripts),
        package(tmp_path, "linux-extra-test"),
    ]
    words = [word for file in files for word in ("--kernel-package", str(file))]
    before, packages = snapshot.take(guest_tree), dpkg.installed(Guest(str(guest_tree)))
    done = end(start(guest_tree, *words, start_new_session=True))
    assert done.status == -signal.SIGKILL, done.err
    if not dpkg_too:
        early = pvprep(guest_tree, "recover")
        assert (early.status, early.out) == (1, "")
        assert "(a package manager) is still at work" in early.err
    _calm(guest_tree)
    _half_way(guest_tree)
    _recovered(guest_tree, before, packages=True)
    assert dpkg.installed(Guest(str(guest_tree))) == packages
    assert dpkg.broken(Guest(str(guest_tree))) == []


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_asked_to_stop_it_puts_everything_back(guest_tree: Path, name: str) -> None:
    """INT as Ctrl-C sends it: to the builder as well."""
    _hook(guest_tree, (GROUP if name == "INT" else ALONE).format(name))
    before = snapshot.take(guest_tree)
    done = end(start(guest_tree, "--emit-config", start_new_session=True))
    assert (done.status, done.out) == (3, "")
    assert f"stopped by SIG{name}; everything was put back\n" in done.err
    assert restored(before, guest_tree) == []
    assert pvprep(guest_tree, "check").status == 1


def test_asked_to_stop_while_dpkg_is_at_work(guest_tree: Path, tmp_path: Path) -> None:
    """More words than a pipe holds: whoever stops listening would have dpkg wait for ever."""
    words = "i=0; while [ $i -lt 3000 ]; do echo many words, one line after the other; i=$((i+1))"
    file = package(tmp_path, "linux-image-test", postinst=f"{ALONE.format('TERM')}; {words}; done")
    before = snapshot.take(guest_tree)
    began = time.monotonic()
    done = pvprep(guest_tree, "--kernel-package", str(file))
    assert (done.status, done.out) == (3, "")
    assert "stopped by SIGTERM; everything was put back\n" in done.err
    assert time.monotonic() - began < 60
    assert restored(before, guest_tree, packages=True) == []
