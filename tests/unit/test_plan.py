"""Whole plans: order, convergence, and what they promise about files, whatever these hold."""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit import building
from tests.unit.building import (
    DEFAULTS_TEXT,
    GRUB_CFG,
    GRUB_DEFAULTS,
    MAC,
    MENU_LST,
    VERSION,
    XENLINUX,
    apply,
    disk,
    entry,
    grub_cfg,
    guest,
    ids,
    kernel,
    kinds,
    plan,
    seen,
    settle,
    stanza,
    touched,
    written,
)
from tests.unit.editors.laws import line_texts

from pvprep.changes import BuildInitrd, InstallPackages, WriteFile
from pvprep.devicenames import split
from pvprep.editors.edited import lines
from pvprep.facts import Facts, Virt
from pvprep.plan import Plan, reads
from pvprep.steps import STEPS

UUIDS = (building.UUID, building.SWAP_UUID)
DISKS = {
    name: [disk(name, "ext4", "swap", uuids=UUIDS)]
    for name in ("sda", "hda", "vda", "xvda", "nvme0n1", "cciss/c0d0")
}
DISKS["two"] = [*DISKS["sda"], disk("sdb", "ext4")]
KERNELS = {
    "one": [kernel()],
    "older": [kernel(), kernel("6.12.0-1-686-pae", pv=False)],
    "none": [kernel(pv=False)],
    "xenlinux": [XENLINUX],
}
DEVICES = (
    "/dev/sda1", "/dev/hda2", "/dev/nvme0n1p1", "/dev/cciss/c0d0p2", "/dev/xvda1", "/dev/sdb1"
)  # fmt: skip
NET = "/etc/udev/rules.d/70-persistent-net.rules"
INTERFACES = "/etc/network/interfaces"
NETPLAN = "/etc/netplan/01.yaml"

# What lines of each file may look like, between lines of anything.
KNOWN: dict[str, tuple[str, ...]] = {
    "/etc/fstab": (
        "# /dev/sda1", *(f"{name} /srv ext4 defaults,journal_path={name} 0 2" for name in DEVICES),
        "UUID=1-2 / ext4", "/dev/sda2\tnone\tswap\tsw", "tmpfs /tmp tmpfs",
    ),
    "/etc/crypttab": ("c /dev/sda2 none luks", "d UUID=1 /dev/sda1:/key luks", "# c /dev/sda2"),
    GRUB_CFG: (
        *grub_cfg(entry(), entry("6.12.0-1-686-pae"), entry(XENLINUX.version)).split("\n"),
        "submenu 'More' {", "}", "\tlinux16 /boot/vmlinuz root=/dev/sda1", "### END x ###",
        f"\tlinux\t/boot/vmlinuz-{VERSION} root=/dev/sda1 root=/dev/xvda1 -- x",
    ),
    MENU_LST: (
        *stanza().split("\n"), *stanza(XENLINUX.version).split("\n"), "default 1", "timeout 5",
        "### BEGIN AUTOMAGIC KERNELS LIST", "# kopt=root=/dev/sda1 ro", "# defoptions=console=tty1",
        "### END DEBIAN AUTOMAGIC KERNELS LIST",
    ),
    GRUB_DEFAULTS: (
        *DEFAULTS_TEXT.split("\n"), "GRUB_DEFAULT=saved", "GRUB_CMDLINE_LINUX='a b'",
        'GRUB_CMDLINE_LINUX="root=/dev/sda1 console=ttyS0"', 'GRUB_CMDLINE_LINUX="$(x)"',
        'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX console=ttyS0,9600 clocksource=tsc"',
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet console=ttyS0"',
    ),
    "/etc/default/grub.d/50-cloud.cfg": (
        'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX x"', 'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1"',
    ),
    "/etc/initramfs-tools/conf.d/resume": ("RESUME=/dev/sda2", "RESUME=none", "RESUME=UUID=1"),
    "/etc/initramfs-tools/modules": ("xen-netfront", "xen_blkfront x=1", "e1000", "# xen-blkfront"),
    "/etc/modules": ("e1000", "loop", "ata-piix x=1", "# e1000"),
    "/etc/systemd/system/dev-sda2.swap": ("[Swap]", "What=/dev/sda2"),
    "/etc/mdadm/mdadm.conf": ("DEVICE /dev/sda1 /dev/sda2", "ARRAY /dev/md0 UUID=1"),
    "/etc/lvm/lvm.conf": ('filter = [ "a|/dev/sda[0-9]|" ]', "devices {", "}"),
    "/boot/grub/device.map": ("(hd0) /dev/sda", "(hd1)\t/dev/sdb"),
    NET: (
        "# PCI device 0x8086:0x100e (e1000)",
        f'SUBSYSTEM=="net", ATTR{{address}}=="{MAC}", NAME="eth0"', 'KERNEL=="tap*", GROUP="vpn"',
    ),
    NETPLAN: (
        "network:", "  ethernets:", "    ens3:", "      match:", "        driver: e1000",
        f"        macaddress: {MAC}", "      dhcp4: true",
    ),
    "/etc/systemd/network/20.network": ("[Match]", "Driver=e1000", "Name=ens3", "[Network]"),
    "/etc/NetworkManager/system-connections/a": ("[match]", "driver=e1000", "[connection]"),
    INTERFACES: ("auto ens3", "iface ens3 inet dhcp", "  pre-up ethtool -K ens3 tso off"),
    "/etc/inittab": ("1:2345:respawn:/sbin/getty 38400 tty1", "id:2:initdefault:"),
    "/etc/securetty": ("tty1", "hvc0", "console"),
    "/etc/smartd.conf": ("/dev/sda -a", "DEVICESCAN"),
}  # fmt: skip
# A line with none of these words means nothing to pvprep, and has to stay.
MEANS = re.compile(
    r"/dev/|linux|kernel|default|GRUB|kopt|defoptions|RESUME|xen|e1000|ata|disk|Driver|driver|"
    r"address|Path|path|### (BEGIN|END)",
    re.I,
)


@st.composite
def guests(draw: st.DrawFn) -> tuple[Facts, dict[str, Any]]:
    """A guest with a few files of any content, and options."""
    paths = draw(st.lists(st.sampled_from(sorted(KNOWN)), unique=True, max_size=5))
    kernels = draw(st.sampled_from(sorted(KERNELS)))
    facts = guest(
        {path: draw(line_texts(*KNOWN[path])) for path in paths},
        disks=DISKS[draw(st.sampled_from(sorted(DISKS)))],
        kernels=KERNELS[kernels],
        machine={
            "init": draw(st.sampled_from(["systemd", "sysvinit", "upstart"])),
            "userland": "i386" if kernels == "xenlinux" else "amd64",
        },
        grub=draw(st.booleans()),
    )
    options = {
        "bootloader": draw(st.sampled_from(["pvgrub", "pygrub"])),
        "device_names": draw(st.sampled_from(["auto", "uuid"])),
    }
    return facts, options


QUICK = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)


@QUICK
@given(guests())
def test_a_plan_that_is_carried_out_is_settled(case: tuple[Facts, dict[str, Any]]) -> None:
    facts, options = case
    after, first = settle(facts, **options)
    again = plan(after, **options)
    assert kinds(again, WriteFile) == []
    assert touched(again) <= {change.path for change in kinds(first, BuildInitrd)}
    if not kinds(first, InstallPackages) and not first.errors:
        assert again.changes == ()
        assert again.ready, again.errors


@QUICK
@given(guests())
def test_a_line_that_means_nothing_stays(case: tuple[Facts, dict[str, Any]]) -> None:
    facts, options = case
    for change in kinds(plan(facts, **options), WriteFile):
        if change.expect is None or change.path not in KNOWN:
            continue
        old, new = (
            lines(content.decode("utf-8", "surrogateescape"))
            for content in (change.expect, change.content)
        )
        if old and not old[-1].endswith("\n"):
            old.pop()  # something may have been put behind it
        rest = iter(new)
        for line in old:
            assert MEANS.search(line) or line in rest, line


@QUICK
@given(guests())
def test_each_line_that_differs_is_told(case: tuple[Facts, dict[str, Any]]) -> None:
    facts, options = case
    for change in kinds(plan(facts, **options), WriteFile):
        if change.expect is None or change.path not in KNOWN:
            continue
        told = sum(len(_places(change.path, why)) for why in change.why)
        assert differing(change.expect, change.content) <= told


def _places(path: str, why: str) -> list[str]:
    """The numbers of the lines in `/etc/fstab:1,2 old -> new`."""
    assert why.startswith(f"{path}:")
    return why[len(path) + 1 :].split(" ", 1)[0].split(",")


def differing(old: bytes, new: bytes) -> int:
    """How many lines were changed, added or removed; empty ones do not count."""
    rows = [[row.strip() for row in text.split(b"\n")] for text in (old, new)]
    matcher = difflib.SequenceMatcher(None, *rows, autojunk=False)
    return sum(
        max(len([r for r in rows[0][a:b] if r]), len([r for r in rows[1][c:d] if r]))
        for tag, a, b, c, d in matcher.get_opcodes()
        if tag != "equal"
    )


@QUICK
@given(
    line_texts(*KNOWN[INTERFACES]),
    line_texts(*(line for line in KNOWN[NETPLAN] if "driver" not in line)),
)
def test_configuration_by_name_or_mac_is_never_touched(interfaces: str, netplan: str) -> None:
    if "driver" in netplan:
        return
    paths = touched(plan(guest({INTERFACES: interfaces, NETPLAN: netplan})))
    assert not {INTERFACES, NETPLAN} & paths


@QUICK
@given(st.sampled_from(sorted(KNOWN)).flatmap(lambda p: st.tuples(st.just(p), st.binary())))
def test_any_bytes_in_any_file(case: tuple[str, bytes]) -> None:
    path, content = case
    for options in ({}, {"device_names": "uuid", "bootloader": "direct"}):
        after, _ = settle(guest({path: content}), **options)
        assert kinds(plan(after, **options), WriteFile) == []


# By example


@pytest.mark.parametrize("name", sorted(DISKS))
@pytest.mark.parametrize("names", ["auto", "uuid", "hd"])
@pytest.mark.parametrize("root", ["device", "uuid"])
def test_every_kind_of_disk_settles_at_once(name: str, names: str, root: str) -> None:
    part = DISKS[name][0].partitions[0].name
    told = f"/dev/{part}" if root == "device" else f"UUID={building.UUID}"
    facts = guest(
        {"/etc/fstab": f"{told} / ext4 defaults 0 1\n", GRUB_CFG: grub_cfg(entry(
            args=f"root={told} ro quiet"))},
        disks=DISKS[name],
    )  # fmt: skip
    after, first = settle(facts, device_names=names)
    assert not first.errors
    again = plan(after, device_names=names)
    assert again.changes == ()
    assert again.ready


def test_a_ready_guest_that_says_xvda_needs_nothing() -> None:
    args = "root=/dev/xvda1 ro console=tty0 console=hvc0"
    facts = guest(
        {
            "/etc/fstab": "/dev/xvda1 / ext4\n",
            GRUB_CFG: grub_cfg(entry(args=args)),
            GRUB_DEFAULTS: f'GRUB_CMDLINE_LINUX="{args}"\n',
            "/etc/initramfs-tools/modules": "xen-blkfront\nxen-netfront\n",
            "/etc/systemd/network/5.link": f"[Match]\nMACAddress={MAC}\n[Link]\nName=ens3\n",
        },
        disks=DISKS["xvda"],
    )
    proof = building.built(facts.files, VERSION)
    planned = plan(dataclasses.replace(facts, initrds={f"/boot/initrd.img-{VERSION}": proof}))
    assert planned.changes == ()
    assert planned.ready
    assert ids(planned) == ["kernel.capable", "tls.not-needed", "initrd.proven"]


def test_packages_and_initrds_come_after_what_they_read_and_the_menu_last() -> None:
    order = [type(change) for change in plan(guest()).changes]
    assert order == [*[WriteFile] * (len(order) - 2), BuildInitrd, WriteFile]
    order = [type(change) for change in plan(guest(kernels=[kernel(pv=False)])).changes]
    assert order[-1] is InstallPackages


@pytest.mark.parametrize("virt", [Virt.XEN_PV, Virt.XEN_PVH])
def test_what_runs_is_not_planned_again(virt: Virt) -> None:
    planned = plan(guest(machine={"virt": virt}))
    assert planned.ready
    assert ids(planned) == ["virt.pv-already"]


@pytest.mark.parametrize("virt", [v for v in Virt if v not in (Virt.XEN_PV, Virt.XEN_PVH)])
def test_anything_else_is(virt: Virt) -> None:
    assert plan(guest(machine={"virt": virt})).changes


def test_ready_is_without_changes_and_without_errors() -> None:
    whole = plan(guest())
    empty = dataclasses.replace(whole, changes=(), findings=())
    assert isinstance(whole, Plan)
    assert (whole.ready, empty.ready) == (False, True)
    error = plan(guest(as_root=False)).errors
    assert [finding.id for finding in error] == ["host.not-root"]
    assert not dataclasses.replace(empty, findings=error).ready


def test_what_a_plan_writes_is_seen_by_the_next_survey() -> None:
    """Else it would be written again and again, or be judged blindly."""
    variants = [
        guest(), guest(initrd_tool="dracut"), guest(machine={"init": "upstart"}),
        guest({"/etc/systemd/system/dev-sda2.swap": "[Swap]\nWhat=/dev/sda2\n"}),
    ]  # fmt: skip
    variants.append(guest({GRUB_CFG: grub_cfg(entry("6.12"), entry())},
                          kernels=[kernel(), kernel("6.12", pv=False)]))  # fmt: skip
    paths = {path for facts in variants for path in written(plan(facts))}
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not seen(path)] == []


def test_every_file_that_is_rewritten_is_read() -> None:
    assert [path for path in KNOWN if not seen(path)] == []
    assert len(set(reads())) > 50


def test_steps_have_names_and_reasons_of_their_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS) == 11
    for step in STEPS:
        assert step.why.strip().endswith(".")


def test_plans_are_pure() -> None:
    facts = guest({"/etc/fstab": "/dev/sda1 / ext4\n"})
    before = dataclasses.asdict(facts)
    assert plan(facts) == plan(facts)
    assert dataclasses.asdict(facts) == before
    assert apply(facts, plan(facts)) != facts
    assert dataclasses.asdict(facts) == before


def test_every_disk_name_here_is_one() -> None:
    assert all(split(name) for name in DISKS if name != "two")
