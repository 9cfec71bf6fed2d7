"""pvprep on guests that rpm manages and that need another kernel: it comes, or all is as it was."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.guests import chroot, roots, rpmprofiles, rpmroots
from tests.guests.rpmprofiles import RpmProfile
from tests.roots import rpms, runs, snapshot, trees

from pvprep.changes import InstallPackages
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.workers import GuestWorkers

pytestmark = pytest.mark.roots

TOUCHES = ("/boot/grub2/grubenv", "/boot/grub2/grub.cfg", "/etc/kernel/cmdline")
# dnf notes a checksum beside each package of a repository that is a directory; killed, it leaves
# the file that it reads the words of scripts from.
_NOTES = re.compile(r"/srv/repos/.*: xattrs|/tmp/tmp\w{8}: new")
Unpack = Callable[[RpmProfile], Path]


@pytest.fixture
def unpacked(tmp_path: Path) -> Iterator[Unpack]:
    """Unpacks a guest into memory."""
    with roots.in_memory(tmp_path / "memory") as memory:

        def unpack(profile: RpmProfile) -> Path:
            root = memory / "tree"
            roots.unpack(rpmroots.build(profile), root)
            return root

        yield unpack


@contextmanager
def as_it_was(root: Path) -> Iterator[None]:
    """In the end the tree, its packages and what rpm finds changed in them are as before."""
    packages, verified = rpms.installed(root), _verify(root)
    before = snapshot.take(root)
    yield
    left = runs.restored(before, root, packages=True)
    assert [line for line in left if not _NOTES.fullmatch(line)] == []
    assert rpms.installed(root) == packages
    assert _verify(root) == verified


def _verify(root: Path) -> str:
    return chroot.run(root, ["sh", "-c", "rpm -Va || true"])


def test_a_guest_for_which_there_is_no_kernel_is_not_touched(unpacked: Unpack) -> None:
    root = unpacked(rpmprofiles.EL9)
    unchanged = runs.watch(root)
    done = runs.pvprep(root, "--json")
    assert done.status == 1
    found = done.ids["kernel.none"]
    assert found["evidence"] == "# CONFIG_XEN_PV is not set"
    path, line = found["where"].split(":")
    assert path == f"/boot/config-{rpmprofiles.STOCK.release}"
    assert (root / path[1:]).read_text().split("\n")[int(line) - 1] == found["evidence"]
    unchanged.check()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (rpmprofiles.EL9_BROKEN_POSTTRANS, "scriptlet"),
        (rpmprofiles.EL9_BROKEN_PRE, "scriptlet"),
        (rpmprofiles.EL9_WITHOUT_FRONTENDS, "has no xen_blkfront and no xen_netfront"),
    ],
)
def test_a_kernel_that_will_not_do_goes_again(
    unpacked: Unpack, profile: RpmProfile, words: str
) -> None:
    root = unpacked(profile)
    _enable_a_name(root)
    with as_it_was(root):
        done = runs.pvprep(root)
        assert done.status == 3, done.err
        assert words in done.err
        assert "everything was put back" in done.err


def _enable_a_name(root: Path) -> None:
    """RHEL's own `kernel` is not tried there; as a Fedora, which these tests do not have, it is."""
    release = root / "usr/lib/os-release"
    release.write_text('ID=fedora\nVERSION_ID="41"\nPRETTY_NAME="Stand-in for Fedora"\n')


def _workers(guest: Guest) -> GuestWorkers:
    quiet = (lambda _line: None, lambda _fraction, _text: None)
    return GuestWorkers(guest, *quiet, lambda _change, _output: None)


def test_a_kernel_that_came_goes_byte_for_byte(unpacked: Unpack) -> None:
    root = unpacked(rpmprofiles.EL9_PV_TO_BE_HAD)
    kernel = root / f"boot/vmlinuz-{rpmprofiles.PV_UPDATE.release}"
    entries = sorted(f"/{path.relative_to(root)}" for path in root.glob("boot/loader/entries/*"))

    def there(guest: Guest) -> None:
        workers = _workers(guest)
        transaction = Journal(guest).begin({})
        change = InstallPackages("test", one_of=("kernel-uek", "kernel"),
                                 touches=(*TOUCHES, *entries))  # fmt: skip
        transaction.apply(change, workers)
        transaction.commit()

    with as_it_was(root):
        trees.in_tree(root, there)
        assert kernel.exists()
        done = runs.pvprep(root, "rollback", "--verify")
        assert done.status == 0, done.err


def test_a_kill_while_the_kernel_is_installed_is_recovered_from(unpacked: Unpack) -> None:
    root = unpacked(rpmprofiles.EL9_PV_TO_BE_HAD)
    _enable_a_name(root)
    with as_it_was(root):
        process = runs.start(root, start_new_session=True)
        modules = root / "lib/modules" / rpmprofiles.PV_UPDATE.release
        while not modules.exists() and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None
        for other in Path("/proc").glob("[0-9]*"):
            if _works_in(other, root):
                os.kill(int(other.name), signal.SIGKILL)
        process.kill()
        runs.end(process)
        done = runs.pvprep(root, "recover")
        assert done.status == 0, done.err
        assert not modules.exists()


def _works_in(process: Path, root: Path) -> bool:
    try:
        return os.readlink(process / "root").startswith(str(root))
    except OSError:
        return False
