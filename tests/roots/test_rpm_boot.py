"""Initrd and boot loader of a guest that rpm manages: converted, its next kernel, and the way back.

rpm, dnf, dracut, kernel-install and GRUB's scripts are real; grubby's share of kernel-install is a
stand-in (see tests/guests/rpmprofiles.py).
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.guests import chroot, images, roots, rpminstalled, rpmprofiles, rpmroots
from tests.guests.rpmprofiles import RpmProfile
from tests.roots import disks, snapshot
from tests.roots.runs import Result, has_driver, inside, names, pvprep, restored
from tests.roots.test_inside import Inside
from tests.unit.pygrub_cases import real

pytestmark = pytest.mark.roots

OLD, NEW = rpmprofiles.PV.release, rpmprofiles.PV_UPDATE.release
GUESTS = {"el9": rpmprofiles.EL9_PV, "el8": rpmprofiles.EL8_PV, "menu": rpmprofiles.EL9_PV_MENU}
CONSOLES = "console=tty0 console=hvc0"
GRUB_CFG = "boot/grub2/grub.cfg"


@dataclass(frozen=True)
class Story:
    """What came of one guest, from first to last."""

    profile: RpmProfile
    before: str  # what pygrub takes of the guest as installed
    prepared: Result
    converted: Mapping[str, str]
    drivers: set[str]
    preload: str
    check: Result
    again: Result
    changed_by_second: list[str]
    real: disks.Taken
    promised: disks.Taken
    rolled_back: Result
    left: list[str]


@pytest.fixture(
    scope="module", params=["el9", "el8", pytest.param("menu", marks=pytest.mark.long)]
)
def story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    profile = GUESTS[request.param]
    with roots.in_memory(tmp_path_factory.mktemp(request.param) / "memory") as work:
        yield _tell(profile, work)


def _tell(profile: RpmProfile, work: Path) -> Story:
    root = work / "root"
    roots.unpack(rpmroots.build(profile), root)
    before, taken = snapshot.take(root), _taken(root)
    prepared = pvprep(root)
    assert prepared.status == 0, prepared.err
    initrd = f"/boot/initramfs-{OLD}.img"
    drivers = names(root, "lsinitrd", initrd)
    preload = inside(root, "lsinitrd", "-f", "etc/cmdline.d/20-force_drivers.conf", initrd)
    check = pvprep(root, "check", "--json")
    converted = snapshot.take(root)
    again = pvprep(root)
    changed_by_second = snapshot.differences(converted, snapshot.take(root))
    found, promised = disks.taken(root, work / "disk"), disks.promised(root, check.json["pygrub"])
    texts = _texts(root)
    rolled_back = pvprep(root, "rollback", "--verify")
    return Story(
        profile, taken, prepared, texts, drivers, preload, check, again, changed_by_second, found,
        promised, rolled_back, restored(before, root),
    )  # fmt: skip


def _taken(root: Path) -> str:
    """The kernel that the real pygrub takes of the menu."""
    menu = (root / GRUB_CFG).read_bytes()
    return real.choose(real.load(), {f"/{GRUB_CFG}": menu}).kernel


def _texts(root: Path) -> dict[str, str]:
    paths = [GRUB_CFG, "etc/default/grub", "etc/kernel/cmdline", "boot/grub2/grubenv"]
    paths += [str(path.relative_to(root)) for path in (root / "boot/loader/entries").glob("*.conf")]
    return {path: (root / path).read_text() for path in paths if (root / path).exists()}


def test_pygrub_reads_no_bls(story: Story) -> None:
    menu = story.profile.boot == "menu"
    assert story.before == (f"/boot/vmlinuz-{OLD}" if menu else "")


def test_the_real_pygrub_takes_what_was_said(story: Story) -> None:
    assert story.real == story.promised
    assert "root=/dev/xvda1" in story.real.args
    assert story.real.args.endswith(CONSOLES)
    assert "mitigations=off" in story.real.args


def test_its_initrd_has_the_drivers_first(story: Story) -> None:
    assert has_driver(story.drivers, "xen-blkfront")
    assert has_driver(story.drivers, "xen-netfront")
    preload = story.preload.replace("-", "_").split()
    assert preload == ["rd.driver.pre=xen_blkfront", "rd.driver.pre=xen_netfront"]


def test_all_that_arguments_are_made_from_is_in_step(story: Story) -> None:
    made_from = [story.converted["etc/kernel/cmdline"]]
    if story.profile.boot != "menu":
        made_from += [text for path, text in story.converted.items() if path.endswith(".conf")]
        assert len(made_from) == 2
    assert not any("/dev/sda" in text for text in made_from)
    if story.profile.boot == "kernelopts":
        environment = story.converted["boot/grub2/grubenv"]
        assert len(environment) == 1024
        assert "kernelopts=root=/dev/xvda1 " in environment and CONSOLES in environment
    assert "\nGRUB_ENABLE_BLSCFG=false" in story.converted["etc/default/grub"]


def test_it_is_ready_and_a_second_time_nothing_is_done(story: Story) -> None:
    assert story.check.status == 0, story.check.err
    assert story.check.json["ready"]
    assert (story.again.status, story.again.out) == (0, "")
    assert story.changed_by_second == []


def test_the_way_back_is_exact(story: Story) -> None:
    assert story.rolled_back.status == 0, story.rolled_back.err
    assert story.left == []


@pytest.mark.parametrize("name", ["el9", "el8"])
def test_the_next_kernel_is_the_one_that_pygrub_takes(name: str, tmp_path: Path) -> None:
    with roots.in_memory(tmp_path / "memory") as work:
        root = work / "root"
        roots.unpack(rpmroots.build(GUESTS[name]), root)
        # As tuned writes it, each time: two `=`, and pygrub would give up on the file.
        tuned = root / "etc/grub.d/01_tuned"
        tuned.write_text("#!/bin/sh\necho 'set tuned_params=\"skew_tick=1\"'\n")
        tuned.chmod(0o755)
        prepared = pvprep(root)
        assert prepared.status == 0, prepared.err
        assert _taken(root) == f"/boot/vmlinuz-{OLD}"
        _install(root, NEW)
        taken = disks.taken(root, work / "disk")
        assert taken.kernel == (root / f"boot/vmlinuz-{NEW}").read_bytes()
        assert taken.initrd == (root / f"boot/initramfs-{NEW}.img").read_bytes()
        assert "root=/dev/xvda1" in taken.args and taken.args.rstrip().endswith(CONSOLES)
        check = pvprep(root, "check", "--json")
        assert check.status == 0, check.json["findings"]
        assert check.json["ready"], check.json["changes"]


def _install(root: Path, release: str) -> None:
    """dnf installs a kernel on the running guest, whose GRUB knows its disk."""
    with tempfile.TemporaryDirectory() as work:
        probe = Path(work) / "grub-probe"
        probe.write_text(rpminstalled.GRUB_PROBE)
        probe.chmod(0o755)
        version = release.rpartition(".")[0]
        command = ["dnf", "-y", "install", f"kernel-{version}"]
        chroot.run(root, command, stand_in=(str(probe), "/usr/sbin/grub2-probe"))


# Its own kernel is the one, or another has to come, whose scripts make the menu.
INSTALLATIONS = {"kernel": rpmprofiles.EL9_PV, "kernel-uek": rpmprofiles.EL9_UEK}
RELEASES = {"kernel": OLD, "kernel-uek": rpmprofiles.UEK.release}


@pytest.fixture(params=INSTALLATIONS)
def installing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Inside, str]]:
    """As a kickstart's %post finds the new system, in a chroot, on its disk; and the PV kernel."""
    tree, disk, root = tmp_path / "tree", tmp_path / "disk", tmp_path / "mounted"
    roots.unpack(rpmroots.build(INSTALLATIONS[request.param]), tree)
    images.mbr(tree, disk, root_mib=1500, swap_mib=16)
    roots.remove(tree)
    root.mkdir()
    subprocess.run(["mount", "-o", f"loop,offset={images.MIB}", disk, root], check=True)
    try:
        yield Inside(root, tmp_path), RELEASES[request.param]
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)
        disk.unlink()


def test_in_the_chroot_of_an_installation(installing: tuple[Inside, str]) -> None:
    guest, release = installing
    before = snapshot.take(guest.root)
    done = guest.run("--emit-config")
    assert done.status == 0, done.err
    assert 'bootloader = "pygrub"' in done.out
    assert _taken(guest.root) == f"/boot/vmlinuz-{release}"
    found = names(guest.root, "lsinitrd", f"/boot/initramfs-{release}.img")
    assert has_driver(found, "xen-blkfront") and has_driver(found, "xen-netfront")
    assert guest.run("check").status == 0
    converted = snapshot.take(guest.root)
    assert guest.run().status == 0
    assert snapshot.differences(converted, snapshot.take(guest.root), ("/var/log", "/run")) == []
    assert guest.run("rollback").status == 0
    assert _boot_and_etc(restored(before, guest.root, packages=True)) == []


def test_a_kernel_that_comes_into_a_tree(tmp_path: Path) -> None:
    """Its scripts build the initrd, once; GRUB's would take this machine's disk for the guest's."""
    with roots.in_memory(tmp_path / "memory") as work:
        root = work / "root"
        roots.unpack(rpmroots.build(rpmprofiles.EL9_UEK), root)
        before = snapshot.take(root)
        prepared = pvprep(root)
        assert prepared.status == 0, prepared.err
        assert "build /boot" not in prepared.err
        release = rpmprofiles.UEK.release
        check = pvprep(root, "check", "--json")
        assert check.json["ready"]
        taken = disks.taken(root, work / "disk")
        assert taken == disks.promised(root, check.json["pygrub"])
        assert taken.kernel == (root / f"boot/vmlinuz-{release}").read_bytes()
        assert "root=/dev/xvda1" in taken.args and taken.args.endswith(CONSOLES)
        rolled_back = pvprep(root, "rollback", "--verify")
        assert rolled_back.status == 0, rolled_back.err
        assert _boot_and_etc(restored(before, root, packages=True)) == []


def _boot_and_etc(differences: list[str]) -> list[str]:
    """Without the files of rpm, dnf and their caches."""
    return [line for line in differences if line.startswith(("/boot", "/etc", "/lib/modules"))]
