"""A guest in libguestfs' appliance: an MBR disk with /boot and, inside LUKS, LVM; a second disk
with btrfs. A first run is killed in the middle of a conversion; all else is seen by a second one.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.images import appliance, disks

from pvprep import images
from pvprep.changes import WriteFile
from pvprep.errors import PvprepError
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.workers import GuestWorkers

guestfs = pytest.importorskip("guestfs")
pytestmark = [pytest.mark.guest, pytest.mark.long]

BOOT, OPT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
FSTAB = f"""/dev/mapper/vg-root / ext4 defaults 0 1
UUID={BOOT} /boot ext4 defaults 0 2
/dev/vg/var /var ext4 defaults 0 2
UUID={OPT} /opt btrfs subvol=opt 0 0
/dev/mapper/vg-swap none swap sw 0 0
"""
FIRST, SECOND = "/etc/first", "/boot/second"
KILLED = """
import os, sys, time
from pvprep import images
from pvprep.changes import WriteFile
from pvprep.journal import Journal
from pvprep.workers import GuestWorkers
request = images.Request(tuple(sys.argv[2:]), "guestfs", key_file=sys.argv[1])
with images.attached(request, print) as guest:
    workers = GuestWorkers(guest, print, print, print)
    transaction = Journal(guest).begin({})
    for path, old in (("/etc/first", b"old"), ("/boot/second", None)):
        transaction.apply(WriteFile("test", path, b"new", old), workers)
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in appliance.environment().items():
            patch.setenv(name, value)
        place = tmp_path_factory.mktemp("guestfs")
        _fill(place)
        yield place


def _fill(place: Path) -> None:
    """The inside of LUKS is made where it can be opened: in an appliance."""
    first = disks.blank(
        place / "first.img", 240, "label: dos\nstart=2048,size=32M,type=83\ntype=83\n"
    )
    second = disks.blank(place / "second.img", 120)
    disks.ext4(first, disks.boot(place / "boot"), 1, 32, BOOT)
    container = disks.blank(place / "container", 240 - 33)
    (place / "key").write_text("secret")
    quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--batch-mode"]
    disks.run(["cryptsetup", "luksFormat", *quick, container, place / "key"])
    where = [f"of={first}", "bs=1M", "seek=33", "conv=notrunc,sparse"]
    disks.run(["dd", f"if={container}", "status=none", *where])
    tree = disks.tree(place / "tree", FSTAB)
    (tree / "opt").mkdir()
    (tree / FIRST[1:]).write_text("old")
    for name in ("listed", "capable"):
        (tree / "etc" / name).write_text("")
    (tree / "etc/link").symlink_to("/etc/first")
    disks.run(["tar", "-C", tree, "-cf", place / "tree.tar", "."])
    g = guestfs.GuestFS(python_return_dict=True)
    for image in (first, second):
        g.add_drive_opts(str(image), format="raw")
    g.launch()
    g.cryptsetup_open("/dev/sda2", "secret", "crypt")
    g.pvcreate("/dev/mapper/crypt")
    g.vgcreate("vg", ["/dev/mapper/crypt"])
    for name, size in (("root", 96), ("var", 64), ("swap", 16)):
        g.lvcreate(name, "vg", size)
    for name in ("root", "var"):
        g.mkfs("ext4", f"/dev/vg/{name}")
    g.mkswap("/dev/vg/swap")
    g.mkfs("btrfs", "/dev/sdb")
    g.set_uuid("/dev/sdb", OPT)
    g.mount("/dev/sdb", "/")
    g.btrfs_subvolume_create("/opt")
    g.umount_all()
    g.mount("/dev/vg/root", "/")
    g.tar_in(str(place / "tree.tar"), "/", xattrs=True)
    g.acl_set_file("/etc/listed", "access", "u::rw,u:1000:r,g::r,m::r,o::-")
    g.cap_set_file("/etc/capable", "cap_net_bind_service=ep")
    g.umount_all()
    g.shutdown()
    g.close()


def _session(leader: int) -> list[str]:
    argv = ["ps", "-o", "stat=,comm=", "-s", str(leader)]
    said = subprocess.run(argv, capture_output=True, text=True)
    # In a container nobody may be there to wait for those that are dead.
    return [line for line in said.stdout.splitlines() if not line.startswith("Z")]


@pytest.fixture(scope="module")
def killed(prepared: Path) -> list[str]:
    """A run killed when it had made two changes, in two file systems; what was left of it.

    Without the btrfs: then nothing but the mounts' own `sync` has brought them to the disk.
    """
    argv = [sys.executable, "-c", KILLED, prepared / "key", prepared / "first.img"]
    path = str(Path(images.__file__).parents[2])
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as run:
        assert run.stdout
        said = []
        for line in run.stdout:
            said.append(line)
            if line == "ready\n":
                break
        assert "ready\n" in said, said
        servers = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True)
        leaders = [int(word) for word in servers.stdout.split()]
        assert any("qemu" in name for leader in leaders for name in _session(leader))
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while time.monotonic() < end and any(_session(leader) for leader in leaders):
        time.sleep(0.1)
    left = [name for leader in leaders for name in _session(leader)]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return left + [line for line in mounts if "pvprep" in line]


@pytest.fixture(scope="module")
def guest(prepared: Path, killed: list[str]) -> Iterator[Guest]:
    request = images.Request(
        (str(prepared / "first.img"), str(prepared / "second.img")), "guestfs",
        key_file=str(prepared / "key"),
    )  # fmt: skip
    with images.attached(request, lambda _line: None) as guest:
        yield guest


def test_nothing_is_left_of_a_run_that_was_killed(killed: list[str]) -> None:
    assert killed == []


def test_disks_and_mounts_are_those_of_the_guest(guest: Guest) -> None:
    layout = guest.layout
    assert layout
    assert [(disk.name, disk.table) for disk in layout.disks] == [("disk0", "dos"), ("disk1", "")]
    parts = [
        (part.name, part.start, part.fstype) for disk in layout.disks for part in disk.partitions
    ]
    assert parts == [
        ("disk0p1", 1 << 20, "ext4"), ("disk0p2", 33 << 20, "crypto_LUKS"), ("disk1", 0, "btrfs")
    ]  # fmt: skip
    mounts = [
        (one.target, one.device, one.kind, one.parts, one.subdir) for one in layout.mounts
    ]
    assert mounts == [
        ("/", "/dev/mapper/vg-root", "lvm", ("disk0p2",), "/"),
        ("/boot", f"UUID={BOOT}", "part", ("disk0p1",), "/"),
        ("/opt", f"UUID={OPT}", "disk", ("disk1",), "/opt"),
        ("/var", "/dev/vg/var", "lvm", ("disk0p2",), "/"),
    ]


def test_what_a_mounted_boot_hides_is_known(guest: Guest) -> None:
    assert guest.layout
    assert guest.layout.stale["/boot/grub/grub.cfg"].startswith(b"# the root's own")
    assert guest.text("/boot/grub/grub.cfg") == "# of /boot\n"


def test_what_the_journal_had_done_survived_the_kill_and_is_undone(guest: Guest) -> None:
    journal = Journal(guest)
    assert len(journal.pending()) == 1
    assert [guest.text(path) for path in (FIRST, SECOND)] == ["new", "new"]
    journal.recover(GuestWorkers(guest, print, lambda *_: None, lambda *_: None))
    assert guest.text(FIRST) == "old"
    assert not guest.exists(SECOND)


def test_a_change_can_be_made_and_rolled_back(guest: Guest) -> None:
    workers = GuestWorkers(guest, print, lambda *_: None, lambda *_: None)
    transaction = Journal(guest).begin({})
    transaction.apply(WriteFile("test", FIRST, b"newer", b"old"), workers)
    transaction.commit()
    assert guest.text(FIRST) == "newer"
    assert not Journal(guest).rollback(workers).problems
    assert guest.text(FIRST) == "old"


def test_no_program_of_the_guest_runs(guest: Guest) -> None:
    done = guest.run(["/bin/true"])
    assert done.status == 127 and "--initrd append" in done.output


def test_links_are_those_of_the_file_system(guest: Guest) -> None:
    assert guest.readlink("/etc/link") == "/etc/first"
    one, other = guest.host("/opt/one"), guest.host("/opt/other")
    Path(one).write_text("x")
    os.link(one, other)
    found = [os.lstat(path) for path in (one, other)]
    assert found[0].st_ino == found[1].st_ino and found[1].st_nlink == 2
    with pytest.raises(OSError) as caught:
        os.link(one, guest.host("/boot/other"))
    assert caught.value.errno == errno.EXDEV


@pytest.mark.parametrize(
    ("name", "value"),
    [("user.x", b"\x01\xff"), ("security.selinux", b"system_u:object_r:etc_t:s0\x00")],
)
def test_attributes_are_kept(guest: Guest, name: str, value: bytes) -> None:
    place = guest.host("/etc/attributes")
    Path(place).write_text("")
    os.chmod(place, 0o640)
    os.setxattr(place, name, value)
    assert name in os.listxattr(place)
    assert os.getxattr(place, name) == value
    os.unlink(place)


# version 2; user::rw-, user:1000:r--, group::r--, mask::r--, other::--- (acl(5))
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, bits, who)
    for tag, bits, who in (
        (1, 6, 0xFFFFFFFF), (2, 4, 1000), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    )
)  # fmt: skip
# VFS_CAP_REVISION_2 with its flag "effective"; cap_net_bind_service (linux/capability.h)
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/etc/listed", "system.posix_acl_access", ACL),
        ("/etc/capable", "security.capability", CAPABILITY),
    ],
)
def test_what_has_attributes_that_cannot_be_written_is_not_touched(
    guest: Guest, path: str, name: str, value: bytes
) -> None:
    assert os.getxattr(guest.host(path), name) == value
    transaction = Journal(guest).begin({})
    workers = GuestWorkers(guest, print, lambda *_: None, lambda *_: None)
    with pytest.raises(PvprepError, match=f"{name}, which libguestfs cannot write"):
        transaction.apply(WriteFile("test", path, b"new", b""), workers)
    assert not transaction.undo(workers)
    assert os.getxattr(guest.host(path), name) == value


def test_mode_owner_and_times_are_kept(guest: Guest) -> None:
    place = guest.host("/etc/dressed")
    Path(place).write_text("")
    os.chown(place, 70000, 12)
    os.chmod(place, 0o4751)
    os.utime(place, ns=(1_000_000_001, 1_600_000_000_123_456_789))
    info = os.lstat(place)
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (70000, 12, 0o4751)
    assert (info.st_atime_ns, info.st_mtime_ns) == (1_000_000_001, 1_600_000_000_123_456_789)


def test_open_is_as_strict_as_elsewhere(guest: Guest) -> None:
    place = guest.host("/etc/first")
    with pytest.raises(FileExistsError):
        os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with pytest.raises(OSError) as caught:
        os.open(guest.host("/etc/link", follow=False), os.O_RDONLY | os.O_NOFOLLOW)
    assert caught.value.errno == errno.ELOOP
    fd = os.open(guest.host("/etc"), os.O_PATH | os.O_DIRECTORY)
    assert os.stat("first", dir_fd=fd).st_ino == os.stat(place).st_ino
    os.close(fd)


def test_a_file_that_is_replaced_while_open_leaves_nothing(guest: Guest) -> None:
    directory = Path(guest.host("/etc"))
    (directory / "new").write_text("n")
    with (directory / "first").open("rb"):
        (directory / "new").rename(directory / "first")
        assert [name for name in os.listdir(directory) if name.startswith(".fuse")] == []
    (directory / "first").write_text("old")
