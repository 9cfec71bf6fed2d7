"""What stands in the way, or breaks in the middle: each is named, and the tree stays as it was."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.roots import runs, snapshot
from tests.roots.runs import AGENT, OURS, Result, end, pvprep, restored, start, watch
from tests.roots.trees import in_tree, package

pytestmark = pytest.mark.roots


def _refused(tree: Path, id: str, *words: str) -> Result:
    """prepare and check both name the id and change nothing; gives the check, with its JSON."""
    unchanged = watch(tree)
    done = pvprep(tree, "--emit-config", *words)
    assert (done.status, done.out) == (1, ""), done.err
    assert f"Not ready: {id}" in done.err
    assert "Nothing was changed" in done.err
    check = pvprep(tree, "check", "--json", *words)
    assert check.status == 1
    assert check.ids[id]["level"] == "error"
    assert check.ids[id]["remedy"]
    assert not check.json["ready"]
    unchanged.check()
    return check


def _put_back(tree: Path, before: snapshot.Snapshot, *words: str, packages: bool = False) -> str:
    """prepare fails half way, and the tree is as it was; gives what it said."""
    done = pvprep(tree, "--emit-config", *words)
    assert (done.status, done.out) == (3, ""), done.err
    assert "everything was put back" in done.err
    assert restored(before, tree, packages) == []
    return done.err


@pytest.fixture
def small_boot(guest_tree: Path, tmp_path: Path) -> Iterator[Path]:
    """The guest with /boot on an ext4 file system of its own, 64 MB."""
    image = tmp_path / "boot.img"
    boot = guest_tree / "boot"
    size = "64M"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", boot, image, size], check=True)
    subprocess.run(["mount", "-o", "loop", image, boot], check=True)
    yield guest_tree
    subprocess.run(["umount", "--lazy", boot], check=True)


def test_boot_is_full(small_boot: Path) -> None:
    room = os.statvfs(small_boot / "boot")
    with (small_boot / "boot/filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, (room.f_bavail - 100) * room.f_frsize)
    check = _refused(small_boot, "boot.full")
    assert "/boot has 0 MiB free" in check.ids["boot.full"]["message"]


def test_boot_fills_up_in_the_middle(small_boot: Path) -> None:
    """While the initrd is built somebody else takes the room."""
    hook = small_boot / "etc/initramfs-tools/hooks/zz-trouble"
    hook.write_text(
        '#!/bin/sh\n[ "$1" = prereqs ] && exit\n'
        "dd if=/dev/zero of=/boot/filler bs=4k 2>/dev/null; echo full\n"
    )
    hook.chmod(0o755)
    before = snapshot.take(small_boot)
    done = pvprep(small_boot)
    assert (done.status, done.out) == (3, ""), done.err
    assert "No space left" in done.err
    assert "make room in /boot" in done.err
    left = [line for line in restored(before, small_boot) if "filler" not in line]
    assert left in ([], ["/boot: mtime"])  # the filler is a new name there


def test_no_inode_is_left(small_boot: Path) -> None:
    many = small_boot / "boot/many"
    many.mkdir()
    with pytest.raises(OSError):
        for number in range(1_000_000):
            (many / str(number)).touch()
    check = _refused(small_boot, "fs.no-inodes")
    assert "/boot has only 0 inodes left" in check.ids["fs.no-inodes"]["message"]


def test_the_root_is_read_only(guest_tree: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "--bind", guest_tree, guest_tree], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", guest_tree], check=True)
        check = _refused(guest_tree, "fs.read-only")
    finally:
        subprocess.run(["umount", "--lazy", guest_tree], check=True)
    assert "mount -o remount,rw" in check.ids["fs.read-only"]["remedy"]


def test_dpkg_is_half_configured(guest_tree: Path, tmp_path: Path) -> None:
    file = package(tmp_path, "cart", postinst="exit 1")
    install = ["dpkg", "--root", str(guest_tree), "--force-depends", "-i", str(file)]
    subprocess.run(install, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check = _refused(guest_tree, "dpkg.broken")
    assert "cart:all" in check.ids["dpkg.broken"]["evidence"]


def test_dpkg_is_in_use(guest_tree: Path, tmp_path: Path) -> None:
    """It is said at once and waited for, only where a package has to be installed."""
    before = snapshot.take(guest_tree)
    file = package(tmp_path, "linux-image-test")
    with (guest_tree / "var/lib/dpkg/lock-frontend").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        check = pvprep(guest_tree, "check", "--json")
        waiting = start(guest_tree, "--kernel-package", str(file))
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4)
    assert f"process {os.getpid()} " in check.ids["dpkg.locked"]["message"]
    done = end(waiting)
    assert done.status == 0, done.err
    assert pvprep(guest_tree, "rollback").status == 0
    assert restored(before, guest_tree, packages=True) == []


def test_a_hook_fails(guest_tree: Path) -> None:
    hook = guest_tree / "etc/initramfs-tools/hooks/zz-trouble"
    hook.write_text("#!/bin/sh\n[ \"$1\" = prereqs ] && exit\necho the sky is falling\nexit 1\n")
    hook.chmod(0o755)
    said = _put_back(guest_tree, snapshot.take(guest_tree))
    assert "the sky is falling" in said
    assert "zz-trouble failed with return 1" in said


def test_a_package_fails(guest_tree: Path, tmp_path: Path) -> None:
    file = package(tmp_path, "linux-image-test", postinst="echo the wheel came off; exit 3")
    before = snapshot.take(guest_tree)
    said = _put_back(guest_tree, before, "--kernel-package", str(file), packages=True)
    assert "the wheel came off" in said


def test_the_archive_cannot_be_reached(guest_tree: Path) -> None:
    kernels = [f"linux-image-{runs.version(guest_tree)}", "linux-image-cloud-amd64"]
    purge = ["dpkg", "--purge", *kernels]
    assert in_tree(guest_tree, lambda guest: guest.run(purge)).status == 0
    sources = guest_tree / "etc/apt/sources.list"
    sources.write_text("deb http://127.0.0.1:9/debian bookworm main\n")
    said = _put_back(guest_tree, snapshot.take(guest_tree), packages=True)
    assert "cannot fetch the package lists" in said
    assert "127.0.0.1" in said


def test_a_distribution_that_nobody_knows(guest_tree: Path) -> None:
    (guest_tree / "etc/os-release").unlink()
    (guest_tree / "etc/os-release").write_text('ID=hannah\nPRETTY_NAME="Hannah Linux 1"\n')
    check = _refused(guest_tree, "distro.unknown")
    assert "Hannah Linux 1" in check.ids["distro.unknown"]["message"]
    assert "ID=hannah" in check.ids["distro.unknown"]["evidence"]


@pytest.fixture
def nobody(tmp_path: Path) -> tuple[str, ...]:
    """Runs a command as nobody, who can get at the tree and at a pvprep of its own."""
    shutil.copytree(AGENT, tmp_path / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o011 != 0o011:
            path.chmod(path.stat().st_mode | 0o011)
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    return (*as_nobody, "env", f"PYTHONPATH={tmp_path}/agent")


def test_not_root(guest_tree: Path, nobody: tuple[str, ...]) -> None:
    unchanged = watch(guest_tree)
    for words in ((), ("check",), ("--dry-run",)):
        done = pvprep(guest_tree, *words, before=nobody)
        assert (done.status, done.out) == (1, ""), done.err
        assert "host.not-root" in done.err
    unchanged.check()


@pytest.mark.parametrize("verb", ["rollback", "recover"])
def test_not_root_for_an_undo(guest_tree: Path, nobody: tuple[str, ...], verb: str) -> None:
    unchanged = watch(guest_tree)
    done = pvprep(guest_tree, verb, before=nobody)
    assert (done.status, done.out) == (1, ""), done.err
    assert "Traceback" not in done.err
    assert "as root" in done.err
    unchanged.check()


def test_an_edit_since_then_stops_the_rollback(guest_tree: Path) -> None:
    before = snapshot.take(guest_tree)
    assert pvprep(guest_tree).status == 0
    fstab = guest_tree / "etc/fstab"
    ours = fstab.read_text()
    with fstab.open("a") as file:
        file.write("tmpfs /scratch tmpfs defaults 0 0\n")
    edited = watch(guest_tree)
    for words in (("rollback",), ("rollback", "--dry-run")):
        done = pvprep(guest_tree, *words)
        assert (done.status, done.out) == (1, ""), done.err
        assert "/etc/fstab" in done.err
        assert "/etc/default/grub:" not in done.err
    edited.check((f"{OURS}/lock",))
    fstab.write_text(ours)
    done = pvprep(guest_tree, "rollback", "--verify")
    assert done.status == 0, done.err
    assert restored(before, guest_tree) == []
    # Once it is back there is nothing more to undo, and nothing wrong with asking.
    again = pvprep(guest_tree, "rollback")
    assert again.status == 0
    assert "nothing to roll back" in again.err
    assert in_tree(guest_tree, lambda guest: guest.run(["dpkg", "--audit"])).output == ""
