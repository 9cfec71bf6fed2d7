"""Disks of guests, attached by this machine's kernel: what is found, mounted, refused, left."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.guests.images import MIB
from tests.images import disks

from pvprep import plan, survey
from pvprep.errors import Exit, PvprepError
from pvprep.facts import Facts, Mount
from pvprep.guest import Guest
from pvprep.images import Request, attached, detach, way

pytestmark = pytest.mark.roots

READ_ONLY = 0x1  # ST_RDONLY


def silent(_line: str) -> None:
    pass


def digest(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


def names(found: Facts) -> list[str]:
    return [mount.target for mount in found.mounts]


@contextmanager
def on(*images: Path, how: str = "loop", read_only: bool = False) -> Iterator[Guest]:
    request = Request(tuple(str(image) for image in images), how, read_only)
    with attached(request, silent) as guest:
        yield guest


def refused(*images: Path, read_only: bool = False, how: str = "loop") -> PvprepError:
    with pytest.raises(PvprepError) as caught, on(*images, read_only=read_only, how=how):
        pass
    assert caught.value.status == Exit.NOT_READY
    return caught.value


def test_what_is_written_to_the_root_is_in_the_image(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    with on(image) as guest:
        Path(guest.host("/etc/hostname")).write_text("written\n")
        assert guest.layout
        (disk,) = guest.layout.disks
        assert (disk.name, disk.table, disk.size) == ("disk0", "dos", 34 * MIB)
        first = disk.partitions[0]
        assert (first.number, first.start, first.size) == (1, MIB, 24 * MIB)
        assert (first.fstype, first.uuid, first.type) == ("ext4", disks.ROOT_UUID, "0x83")
        assert guest.layout.mounts == (
            Mount("/", f"UUID={disks.ROOT_UUID}", "ext4", ("errors=remount-ro",), "part",
                  ("disk0p1",)),
        )  # fmt: skip
    with on(image, read_only=True) as guest:
        assert guest.text("/etc/hostname") == "written\n"


def test_the_survey_names_the_disk_as_the_guest_does(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    for path, text in {"etc/os-release": "ID=debian\n", "var/lib/dpkg/status": ""}.items():
        (tmp_path / "bifit.tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bifit.tree" / path).write_text(text)
    disks.ext4(image, tmp_path / "bifit.tree", 1, 24)
    with on(image) as guest:
        found = survey.take(guest, plan.reads())
        assert [disk.name for disk in found.disks] == ["sda"]
        assert found.mounts[0].parts == ("sda1",)


def test_read_only_leaves_every_byte(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    before, changed = digest(image), image.stat().st_mtime_ns
    with on(image, read_only=True) as guest:
        assert os.statvfs(guest.root).f_flag & READ_ONLY
        with pytest.raises(OSError):
            Path(guest.host("/etc/new")).write_text("")
    assert (digest(image), image.stat().st_mtime_ns) == (before, changed)


def test_looking_that_ends_in_a_refusal_leaves_every_byte(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path, fstab="UUID=1234 / ext4 defaults 0 1\n")
    before = digest(image)
    assert "UUID=1234 (/) is not on these disks" in refused(image, read_only=True).message
    assert digest(image) == before


def test_a_logical_partition(tmp_path: Path) -> None:
    table = "label: dos\nstart=2048,size=4M,type=82\nstart=12288,type=5\nstart=14336,type=83\n"
    image = disks.blank(tmp_path / "disk.img", 40, table)
    fstab = "/dev/sda5 / ext4 defaults 0 1\n"
    disks.ext4(image, disks.tree(tmp_path / "tree", fstab), 7, 24)
    with on(image) as guest:
        assert guest.layout
        assert [part.number for part in guest.layout.disks[0].partitions] == [1, 5]
        assert guest.layout.mounts[0].parts == ("disk0p5",)


def _apart(tmp_path: Path) -> Path:
    table = "label: gpt\nstart=2048,size=16M,name=boot\nsize=24M,name=root\n"
    image = disks.blank(tmp_path / "gpt.img", 44, table)
    fstab = f"{disks.FSTAB}UUID={disks.BOOT_UUID} /boot ext4 defaults 0 2\n"
    fstab += "srv:/export /usr nfs defaults 0 0\nUUID=none /var/cache ext4 noauto 0 0\n"
    disks.ext4(image, disks.boot(tmp_path / "boot"), 1, 16, disks.BOOT_UUID)
    disks.ext4(image, disks.tree(tmp_path / "root", fstab), 17, 24)
    return image


def test_boot_apart_is_mounted_and_what_it_hides_is_kept(tmp_path: Path) -> None:
    with on(_apart(tmp_path)) as guest:
        assert guest.layout
        assert guest.text("/boot/grub/grub.cfg") == "# of /boot\n"
        assert guest.layout.stale == {"/boot/grub/grub.cfg": b"# the root's own, of bifit\n"}
        assert [(mount.target, mount.parts) for mount in guest.layout.mounts] == [
            ("/", ("disk0p2",)), ("/boot", ("disk0p1",)),
        ]  # fmt: skip
        assert guest.layout.disks[0].partitions[0].type == "0fc63daf-8483-4772-8e79-3d69d8477de4"


def test_a_mount_point_that_is_a_link_stays_inside(tmp_path: Path) -> None:
    _apart(tmp_path)
    root, image = tmp_path / "root", tmp_path / "gpt.img"
    (root / "inside").mkdir()
    disks.run(["rm", "-r", root / "boot"])
    (root / "boot").symlink_to("/../../inside")
    disks.ext4(image, root, 17, 24)
    with on(image) as guest:
        assert os.path.ismount(f"{guest.root}/inside")


def test_a_boot_that_is_not_there_is_refused(tmp_path: Path) -> None:
    fstab = f"{disks.FSTAB}UUID={disks.BOOT_UUID} /boot ext4 defaults 0 2\n"
    image = disks.mbr(tmp_path, fstab=fstab)
    assert f"UUID={disks.BOOT_UUID} (/boot) is not on these disks" in refused(image).message


def test_others_that_are_not_there_are_said(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path, fstab=f"{disks.FSTAB}LABEL=log /var/log ext4 defaults 0 2\n")
    said: list[str] = []
    with attached(Request((str(image),), "loop"), said.append):
        pass
    assert said == ["/etc/fstab: LABEL=log (/var/log) is not on these disks; it is left out"]


def test_a_whole_disk_with_a_file_system(tmp_path: Path) -> None:
    image = disks.blank(tmp_path / "whole.img", 24)
    disks.ext4(image, disks.tree(tmp_path / "tree", "/dev/xvda / ext4 x 0 0\n"), 0, 24)
    with on(image) as guest:
        assert guest.layout
        assert guest.layout.disks[0].partitions[0].number == 0
        assert guest.layout.mounts[0].parts == ("disk0",)


def test_several_disks_in_the_guests_order(tmp_path: Path) -> None:
    first = disks.blank(tmp_path / "a.img", 20, "label: dos\nstart=2048,type=83\n")
    second = disks.blank(tmp_path / "b.img", 34, "label: dos\nstart=2048,type=83\n")
    disks.ext4(first, disks.boot(tmp_path / "boot"), 1, 16, disks.BOOT_UUID)
    fstab = "/dev/sdb1 / ext4 x 0 1\n/dev/sda1 /boot ext4 x 0 2\n"
    disks.ext4(second, disks.tree(tmp_path / "tree", fstab), 1, 24)
    with on(first, second) as guest:
        assert guest.layout
        assert [mount.parts for mount in guest.layout.mounts] == [("disk1p1",), ("disk0p1",)]
    assert "has /dev/sdb1 as root, which is disk1p1" in refused(second, first).message


def test_xfs_also_where_this_host_has_one_of_the_same_uuid_mounted(tmp_path: Path) -> None:
    image = disks.blank(tmp_path / "xfs.img", 300)
    root = disks.tree(tmp_path / "tree", f"UUID={disks.ROOT_UUID} / xfs defaults 0 0\n")
    disks.filled(image, root, "xfs", ["-m", f"uuid={disks.ROOT_UUID}"])
    twin = tmp_path / "twin.img"
    disks.run(["cp", "--sparse=always", image, twin])
    (tmp_path / "here").mkdir()
    disks.run(["mount", "-o", "loop", twin, tmp_path / "here"])
    try:
        with on(image) as guest:
            assert guest.layout
            assert guest.layout.disks[0].partitions[0].quirk == "XFS v5"
            Path(guest.host("/etc/new")).write_text("")
    finally:
        disks.run(["umount", tmp_path / "here"])


@pytest.mark.parametrize("fstab", ["subvol=@rootfs", "defaults"])
def test_a_subvolume_of_btrfs(tmp_path: Path, fstab: str) -> None:
    image = disks.blank(tmp_path / "btrfs.img", 128)
    root = disks.tree(tmp_path / "tree", f"UUID={disks.BTRFS_UUID} / btrfs {fstab} 0 0\n")
    make = "btrfs -q subvolume create /mnt/@rootfs && btrfs -q subvolume create /mnt/@home"
    disks.filled(image, root, "btrfs", ["-U", disks.BTRFS_UUID], make)
    with on(image) as guest:
        Path(guest.host("/etc/new")).write_text("")
    with on(image, read_only=True) as guest:
        assert guest.exists("/etc/new")
        assert guest.layout


LVM = r"""
disk=$(losetup --find --show --offset 1048576 "$1")
trap 'losetup --detach "$disk"' EXIT
lvm() {
    /sbin/lvm "$@" --driverloaded n --devicesfile '' --config "
        devices { obtain_device_list_from_udev=0 hints=\"none\"
                  filter=[\"a|^$disk\$|\", \"r|.*|\"] }
        activation { udev_sync=0 udev_rules=0 }" 2>/dev/null
}
lvm pvcreate -y -u 3Aipcl-VSIB-BSkn-HRWq-Ebyj-Zua5-8cMwle --norestorefile "$disk" &&
lvm vgcreate vg "$disk" && lvm lvcreate -y -an -Zn -Wn -L 8m -n swap vg &&
lvm lvcreate -y -an -Zn -Wn -L 24m -n the-root vg
"""


def lvm(place: Path) -> Path:
    place.mkdir()
    image = disks.blank(place / "lvm.img", 60, "label: dos\nstart=2048,type=8e\n")
    disks.run(["unshare", "--mount", "sh", "-c", LVM, "sh", image])
    root = disks.tree(place / "tree", "/dev/mapper/vg-the--root / ext4 x 0 1\n")
    disks.ext4(image, root, 1 + 1 + 8, 24)
    return image


def test_a_logical_volume_beside_another_of_the_same_names_and_uuids(tmp_path: Path) -> None:
    image = lvm(tmp_path / "one")
    twin = tmp_path / "twin.img"
    disks.run(["cp", "--sparse=always", image, twin])
    loop = disks.run(["losetup", "--find", "--show", "--offset", MIB, twin]).strip()
    try:
        with on(image) as guest:
            assert guest.layout
            (mount,) = guest.layout.mounts
            assert (mount.device, mount.kind) == ("/dev/mapper/vg-the--root", "lvm")
            assert mount.parts == ("disk0p1",)
            Path(guest.host("/etc/hostname")).write_text("one\n")
    finally:
        disks.run(["losetup", "--detach", loop])
    with on(image, read_only=True) as guest:
        assert guest.text("/etc/hostname") == "one\n"


@pytest.mark.parametrize(("suffix", "form"), [("qcow2", "qcow2"), ("vmdk", "vmdk"),
                                              ("vhd", "vpc"), ("vhdx", "vhdx")])  # fmt: skip
def test_an_image_that_is_not_raw(tmp_path: Path, suffix: str, form: str) -> None:
    image = tmp_path / f"disk.{suffix}"
    disks.run(["qemu-img", "convert", "-f", "raw", "-O", form, disks.mbr(tmp_path), image])
    with on(image) as guest:
        Path(guest.host("/etc/hostname")).write_text("written\n")
    before = digest(image)
    with on(image, read_only=True) as guest:
        assert guest.text("/etc/hostname") == "written\n"
    assert digest(image) == before
    disks.run(["qemu-img", "info", "-f", form, image])  # nobody holds its lock


def test_content_that_belies_the_name_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    disks.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disks.mbr(tmp_path), image])
    image.rename(tmp_path / "disk.img")
    error = refused(tmp_path / "disk.img")
    assert "is qcow2 by its content, and raw by its name" in error.message
    (tmp_path / "bifit.img").rename(tmp_path / "bifit.qcow2")
    assert "is qcow2 by its name, and raw by its content" in refused(
        tmp_path / "bifit.qcow2"
    ).message  # fmt: skip


def test_an_image_of_others_names_no_file_of_this_host(tmp_path: Path) -> None:
    secret = disks.mbr(tmp_path)
    image = tmp_path / "disk.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, image]
    disks.run(make)
    with on(image) as guest:  # the operator's own overlay
        Path(guest.host("/etc/hostname")).write_text("over\n")
    os.chown(image, 65534, 65534)
    assert "names another file" in refused(image).message
    os.chown(image, 0, 0)
    # What the operator's own overlay rests on may be of others, as long as that names nothing.
    os.chown(secret, 65534, 65534)
    with on(image, read_only=True) as guest:
        assert guest.text("/etc/hostname") == "over\n"
    between = tmp_path / "between.qcow2"
    disks.run([*make[:-1], between])
    os.chown(between, 65534, 65534)
    disks.run([*make[:6], "qcow2", "-b", between, tmp_path / "top.qcow2"])
    assert "names another file" in refused(tmp_path / "top.qcow2").message


def test_a_journal_is_replayed_before_anything_is_read(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    start = f"offset={MIB},sizelimit={24 * MIB}"
    # Copied while it is mounted: as after a loss of power, the journal alone has the directory.
    script = f'mount -o loop,{start} "$1" /mnt && mkdir /mnt/etc/replayed && sync /mnt/etc'
    script += ' && cp "$1" "$2" && umount /mnt'
    crashed = tmp_path / "crashed.img"
    disks.run(["unshare", "--mount", "sh", "-ec", script, "sh", image, crashed])
    image = crashed
    before = digest(image)
    said: list[str] = []
    with attached(Request((str(image),), "loop", True), said.append) as guest:
        assert not guest.exists("/etc/replayed")
    assert said == ["disk0p1: its journal is not replayed; what is read may be old"]
    assert digest(image) == before
    with attached(Request((str(image),), "loop"), said.append) as guest:
        assert guest.is_dir("/etc/replayed")
    assert said[1:] == ["disk0p1: its journal is replayed"]


def test_a_damaged_file_system_is_refused_in_its_checkers_words(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    with image.open("r+b") as file:
        file.seek(MIB + 4096)
        file.write(b"\xa5" * 512)  # its group descriptors
    before = digest(image)
    message = refused(image).message
    assert message.startswith("disk0p1")
    assert digest(image) == before


def test_damage_below_a_clean_mark_is_found_before_anything_is_written(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    disks.run(["debugfs", "-w", "-R", "clri /etc/hostname", f"{image}?offset={MIB}"])
    error = refused(image)
    assert error.message.startswith("disk0p1 has errors, nothing was changed: ")


def test_two_systems_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    table = "label: dos\nstart=2048,size=16M,type=83\nsize=16M,type=83\n"
    image = disks.blank(tmp_path / "two.img", 40, table)
    for number in (0, 1):
        uuid = disks.ROOT_UUID[:-1] + str(number)
        root = disks.tree(tmp_path / f"tree{number}", f"UUID={uuid} / ext4 x 0 1\n")
        disks.ext4(image, root, 1 + 16 * number, 16, uuid)
    assert "several systems are on these disks: on disk0p1, disk0p2" in refused(image).message


def test_a_copy_of_the_root_is_not_taken_for_it(tmp_path: Path) -> None:
    table = "label: dos\nstart=2048,size=16M,type=83\nsize=16M,type=83\n"
    image = disks.blank(tmp_path / "copy.img", 40, table)
    root = disks.tree(tmp_path / "tree", "/dev/sda2 / ext4 x 0 1\n")
    disks.ext4(image, root, 1, 16, disks.BOOT_UUID)
    disks.ext4(image, root, 17, 16)
    with on(image) as guest:
        assert guest.layout
        assert guest.layout.mounts[0].parts == ("disk0p2",)


def test_disks_without_a_system(tmp_path: Path) -> None:
    image = disks.blank(tmp_path / "none.img", 24, "label: gpt\nstart=2048,size=16M\n")
    disks.ext4(image, disks.boot(tmp_path / "boot"), 1, 16)
    message = refused(image).message
    assert message == "no root of a Linux system is on these disks; on them: disk0p1 (ext4)"


IN_THE_MIDDLE = """
import sys
from pvprep.images import Request, attached
with attached(Request((sys.argv[1],), "loop"), print) as guest:
    open(guest.host("/etc/new"), "w").close()
    print("in", flush=True)
    import time
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("suffix", ["img", "qcow2"])
def test_a_signal_in_the_middle_leaves_nothing(
    tmp_path: Path, number: signal.Signals, suffix: str
) -> None:
    image = disks.mbr(tmp_path)
    if suffix == "qcow2":
        raw, image = image, tmp_path / "disk.qcow2"
        disks.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", IN_THE_MIDDLE, str(image)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"in\n"
        process.send_signal(number)
    end = time.monotonic() + 10
    while str(image) in disks.run(["losetup", "-a"]) and time.monotonic() < end:
        time.sleep(0.02)
    said: list[str] = []
    assert detach(said.append) == 0
    assert [line for line in said if "is at work" not in line] == []  # others may be
    assert not os.path.exists(f"/run/pvprep/attached-{process.pid}.json")
    if suffix == "img":
        with on(image):
            pass


def test_an_error_in_the_block_comes_through_and_leaves_nothing(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    with pytest.raises(ZeroDivisionError), on(image):
        raise ZeroDivisionError


def test_what_is_damaged_meanwhile_is_said(tmp_path: Path) -> None:
    image = disks.mbr(tmp_path)
    with pytest.raises(PvprepError, match="disk0p1 has errors now"), on(image):
        # EXT4_IOC_SHUTDOWN: the kernel gives the file system up, as at an error.
        fd = os.open("/run/pvprep/root", os.O_RDONLY)
        fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))
        os.close(fd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: (path.unlink(), path.mkdir()), "neither a file nor a block device"),
        (lambda path: os.truncate(path, 20 * MIB), "partition 1 of"),
        (lambda path: os.truncate(path, 0), "no file system and no partition"),
    ],
)
def test_what_is_no_disk(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    image = disks.mbr(tmp_path)
    change(image)
    assert message in refused(image).message


def test_an_image_of_others_goes_to_libguestfs_or_that_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = disks.mbr(tmp_path)
    overlay = tmp_path / "over.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, overlay]
    disks.run(make)
    there: list[object] = [None]
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: there[0])
    said: list[str] = []
    for disk in (str(image), str(overlay)):
        os.chown(image, 0, 0)
        assert (way([disk], "auto", said.append), said) == ("loop", [])
        os.chown(image, 65534, 65534)
        there[0] = None
        assert way([disk], "auto", said.append) == "loop"
        assert said.pop().startswith(f"{disk} was written by somebody else")
        there[0] = object()
        assert (way([disk], "auto", said.append), said) == ("guestfs", [])
        assert way([disk], "loop", said.append) == "loop"
