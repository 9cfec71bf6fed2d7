"""The example of the how-to that pvprep automates, from end to end: RHEL 5 in an HVM domain."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import pytest
from tests.guests.old import made, rhel5
from tests.guests.old.convert import no_program_runs
from tests.unit.journal_tools import changed, snapshot

from pvprep import cli, converge
from pvprep.guest import Guest
from pvprep.options import Options
from pvprep.survey.initrd_image import prove_initrd

# As the how-to prints it.
CONFIG = """\
bootloader='/usr/lib/xen-3.2-1/bin/pygrub'
memory = 512
name = "bifit"
vcpus=1
vif = [ 'bridge=xenbr4,mac=00:16:3e:01:12:c1' ]
disk = ['phy:/dev/drbd/bifit,hda,w']
on_poweroff = 'destroy'
on_reboot   = 'restart'
on_crash    = 'restart'
"""
GRUB_CONF = """\
default=0
timeout=5
title Red Hat Enterprise Linux Server (2.6.18-8.el5xen)
    root (hd0,0)
    kernel /boot/vmlinuz-2.6.18-8.el5xen ro root=/dev/hda1
    initrd /boot/initrd-2.6.18-8.el5xenU.img
"""
WORDS = (
    *("--disk-backend", "/dev/drbd/bifit", "--bridge", "xenbr4", "--memory", "512"),
    *("--vcpus", "1", "--name", "bifit", "--format", "xm", "--xen", "3.2"),
    *("--initrd", "append"),
)
OPTIONS = Options(form="xm", xen=(3, 2), initrd="append")
INITRD = f"boot/initrd-{rhel5.XEN}.img"
KUDZU = [f"etc/rc.d/rc{level}.d/{name}kudzu" for level in (3, 4, 5) for name in ("K95", "S05")]


@pytest.fixture(autouse=True)
def no_program_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    no_program_runs(monkeypatch)


def convert(root: Path, capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the command; what it writes to stdout."""
    status = cli.main(["--root", str(root), *WORDS, *words])
    out, err = capfd.readouterr()
    assert status == 0, err
    assert not (root / "was-run").exists()
    return out


def assigned(text: str) -> dict[str, Any]:
    """xm's configurations are Python."""
    found = {}
    for node in ast.parse(text).body:
        assert isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line and not line.startswith("#")]


@pytest.mark.parametrize("disk", ["hda", "sda"])
def test_the_config_is_the_how_tos_line_by_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], disk: str
) -> None:
    mine = assigned(convert(rhel5.make(tmp_path, disk), capfd, "--emit-config"))
    theirs = assigned(CONFIG)
    for config in (mine, theirs):
        (config["vif"],) = (set(vif.split(",")) for vif in config["vif"])
    assert mine == theirs


@pytest.mark.parametrize("disk", ["hda", "sda"])
def test_grub_conf_is_as_it_shows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], disk: str
) -> None:
    """But for the console, which it leaves out, and the initrd, which it has beside the usual."""
    root = rhel5.make(tmp_path, disk)
    convert(root, capfd)
    text = (root / "boot/grub/grub.conf").read_text()
    assert (root / "boot/grub/menu.lst").is_symlink()
    there = [line for line in lines(text) if not line.startswith(("splashimage", "hiddenmenu"))]
    wanted = lines(GRUB_CONF.replace("el5xenU.img", "el5xen.img").replace(
        "root=/dev/hda1", "root=/dev/hda1 xencons=xvc console=tty0 console=xvc0"
    ))  # fmt: skip
    assert there[: len(wanted)] == wanted
    old = rhel5.GRUB_CONF.format(disk=f"/dev/{disk}", root=f"/dev/{disk}1")
    assert text.endswith(old[old.index("title Red Hat Enterprise Linux Server (2.6.18-8.el5)\n") :])


def test_a_guest_that_was_converted_by_hand(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the how-to, with a second initrd: the entry names the one that is proven."""
    root = rhel5.make(tmp_path)
    (root / "boot/grub/grub.conf").write_text(GRUB_CONF)
    by_hand = made.nash_initrd(("xenblk", "xennet", "jbd", "ext3"), "/dev/hda1", "/dev/hda2")
    (root / "boot/initrd-2.6.18-8.el5xenU.img").write_bytes(by_hand)
    convert(root, capfd)
    assert (root / "boot/grub/grub.conf").read_text() == GRUB_CONF.replace(
        "el5xenU.img", "el5xen.img"
    ).replace("=/dev/hda1\n", "=/dev/hda1 xencons=xvc console=tty0 console=xvc0\n")
    assert (root / "boot/initrd-2.6.18-8.el5xenU.img").read_bytes() == by_hand


def test_fstab_is_on_hda(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = rhel5.make(tmp_path, "sda")
    convert(root, capfd)
    hda = rhel5.FSTAB.format(root="/dev/hda1", swap="/dev/hda2")
    assert (root / "etc/fstab").read_text() == hda
    rules = (root / "etc/udev/rules.d/59-pvprep-names.rules").read_text()
    assert 'KERNEL=="sda[0-9]*", SYMLINK+="hda%n"' in rules, "so it still boots as HVM"


@pytest.mark.parametrize(
    ("layout", "root_device"), [("labels", "LABEL=/"), ("lvm", "/dev/VolGroup00/LogVol00")]
)
def test_names_that_are_right_everywhere_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], layout: str, root_device: str
) -> None:
    root = rhel5.make(tmp_path, layout=layout)
    before = snapshot(root)
    out = convert(root, capfd, "--emit-config")
    touched = changed(before, snapshot(root))
    assert "etc/fstab" not in touched, "LABEL=SWAP-hda2 is but a label"
    assert f"ro root={root_device} xencons=xvc" in (root / "boot/grub/grub.conf").read_text()
    assert assigned(out)["disk"] == ["phy:/dev/drbd/bifit,hda,w"]


def test_the_initrd_loads_the_frontends_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = rhel5.make(tmp_path, "sda")
    hvm = (root / f"boot/initrd-{rhel5.HVM}.img").read_bytes()
    convert(root, capfd)
    proof = prove_initrd(str(root / INITRD))
    assert (proof.kind, proof.problem) == ("mkinitrd", "")
    assert proof.preload == ("xenblk", "xennet", "jbd", "ext3"), "as --preload has it"
    assert {"xenblk", "xennet"} <= proof.modules
    assert proof.resume == "/dev/hda2"
    assert "\nmkrootdev -t ext3 -o defaults,ro /dev/hda1\n" in proof.files["init"].decode()
    old = made.nash_initrd(("jbd", "ext3"), "/dev/sda1", "/dev/sda2")
    assert (root / INITRD).read_bytes().startswith(old), "it was appended to"
    assert (root / f"boot/initrd-{rhel5.HVM}.img").read_bytes() == hvm


def test_hardware_that_a_pv_guest_lacks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = rhel5.make(tmp_path)
    convert(root, capfd)
    assert (root / "etc/modprobe.conf").read_text() == (
        "alias eth0 xennet\nalias scsi_hostadapter xenblk\n"
    )
    assert [path for path in KUDZU if os.path.lexists(root / path)] == KUDZU[::2]
    kernel = (root / "etc/sysconfig/kernel").read_text()
    assert kernel == rhel5.SYSCONFIG_KERNEL.replace("=kernel\n", "=kernel-xen\n")
    ifcfg = (root / "etc/sysconfig/network-scripts/ifcfg-eth0").read_text()
    assert f"HWADDR={rhel5.MAC.upper()}\n" in ifcfg, "the config gives the vif this address"


def test_a_login_is_on_the_console(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = rhel5.make(tmp_path)
    convert(root, capfd)
    text = (root / "etc/inittab").read_text()
    assert text.startswith(rhel5.INITTAB + "xvc0:2345:respawn:/bin/sh -c 'test -c /dev/xvc0 && ")
    assert (root / "etc/securetty").read_text().endswith("\ntty11\nxvc0\n")


def test_a_libc_for_xen_is_used_where_there_is_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with_one = rhel5.make(tmp_path / "5")
    before = snapshot(with_one)
    convert(with_one, capfd)
    touched = changed(before, snapshot(with_one))
    assert not [path for path in touched if path.startswith("lib")]
    without = rhel5.make(tmp_path / "4", nosegneg=False)
    convert(without, capfd)
    assert (without / "lib/tls.disabled/libc.so.6").is_file()
    assert list((without / "lib/tls").iterdir()) == []


def test_the_second_run_finds_nothing_and_rollback_puts_all_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = rhel5.make(tmp_path, "sda", nosegneg=False)
    before = snapshot(root)
    convert(root, capfd)
    after = snapshot(root)
    assert converge.look(Guest(str(root)), OPTIONS).ready
    convert(root, capfd)
    assert changed(after, snapshot(root)) == {}
    assert not (root / "run").exists(), "it is younger than this release"
    assert cli.main(["rollback", "--root", str(root)]) == 0
    capfd.readouterr()
    left = {path for path in changed(before, snapshot(root)) if "var/lib/pvprep" not in path}
    assert left == set()


def test_what_there_is_to_say(tmp_path: Path) -> None:
    plan = converge.look(Guest(str(rhel5.make(tmp_path))), OPTIONS)
    assert plan.errors == ()
    assert plan.context.target and plan.context.target.version == rhel5.XEN
    assert [kernel.version for kernel in plan.context.facts.kernels] == [rhel5.HVM, rhel5.XEN]
    said = {finding.id for finding in plan.findings}
    assert "rpm.broken" not in said, "a modern rpm cannot read its database, but nobody tries"
    assert "kernel.pv32" not in said, "Xen 3.2 runs 32-bit guests"
