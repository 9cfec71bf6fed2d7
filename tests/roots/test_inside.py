"""pvprep inside the guest, with its own Python: so do kickstart's and preseed's chroots run it.

Of this machine nothing is seen but the kernel: the guest finds itself on /dev/sda1, as a new one
does whose installer runs pvprep at its end.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.guests import roots
from tests.roots import disks, lsblk, snapshot
from tests.roots.runs import AGENT, Result, has_driver, names, restored, version
from tests.roots.test_conversion import RELEASES

pytestmark = pytest.mark.roots

# The mounts that installers make; they end with the namespace. lsblk would tell of the machine's
# disks, and tells of the guest's instead.
_ENTER = """
mount --make-rprivate /
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sys sys
[ -n "$3" ] || mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount --bind "$2" bin/lsblk
shift 3
exec chroot . "$@"
"""


class Inside:
    """The guest with pvprep in it."""

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self._lsblk = lsblk.stand_in(root, work / "lsblk")
        shutil.copytree(
            AGENT / "pvprep", root / "opt/pvprep", ignore=shutil.ignore_patterns("__pycache__")
        )
        # A tree's initrd takes every driver; here MODULES=dep would ask for this machine's disk.
        # (dracut copes, and shall.)
        conf = root / "etc/initramfs-tools/conf.d/modules"
        if conf.parent.is_dir():
            conf.write_text("MODULES=most\n")

    def run(self, *words: str, without_dev: bool = False) -> Result:
        """Run /usr/bin/python3 -m pvprep in a chroot."""
        enter = ["unshare", "--mount", "sh", "-ec", _ENTER, "sh"]
        command = ["/usr/bin/python3", "-m", "pvprep", *words]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*enter, str(self.root), str(self._lsblk), "1" * without_dev, *command],
            env={"PATH": path, "PYTHONPATH": "/opt", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(params=["debian-11", "debian-13-networkd"])
def inside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inside]:
    tree = tmp_path / "tree"
    roots.unpack(roots.build_profile(RELEASES[request.param]), tree)
    with disks.mounted(tree, tmp_path) as root:
        yield Inside(root, tmp_path)


def test_it_works_with_the_guests_own_python(inside: Inside) -> None:
    before = snapshot.take(inside.root)
    dry = inside.run("--dry-run", "--emit-config")
    assert dry.status == 0, dry.err
    assert snapshot.differences(before, snapshot.take(inside.root)) == []
    done = inside.run("--emit-config")
    assert done.status == 0, done.err
    assert done.out == dry.out
    found = names(inside.root, "lsinitramfs", f"/boot/initrd.img-{version(inside.root)}")
    assert has_driver(found, "xen-blkfront") and has_driver(found, "xen-netfront")
    assert inside.run("check").status == 0
    status = inside.run("status")
    assert status.status == 0 and "done, " in status.out
    assert inside.run("rollback").status == 0
    # Its log is the guest's here.
    left = [line for line in restored(before, inside.root) if not line.startswith("/var/log")]
    assert left == []
    assert list((inside.root / "var/log/pvprep").glob("*-prepare-*.log"))


def test_a_disk_that_grub_cannot_find_is_said_before(inside: Inside) -> None:
    """A kernel is needed, whose package would run update-grub and fail."""
    for path in (inside.root / "boot").glob("vmlinuz-*"):
        path.unlink()
    before = snapshot.take(inside.root)
    done = inside.run("--emit-config", without_dev=True)
    assert (done.status, done.out) == (1, ""), done.err
    assert "Not ready: bootloader.no-device." in done.err
    assert "found: /usr/sbin/grub-probe: error: " in done.err
    differences = snapshot.differences(before, snapshot.take(inside.root), ("/var/log",))
    assert differences == []
    # With /dev there it does find it.
    assert "bootloader.no-device" not in inside.run("check").err
