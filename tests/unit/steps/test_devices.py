"""Names of disks in every file that has them."""

from __future__ import annotations

import pytest
from tests.unit.building import (
    SDA,
    SWAP_UUID,
    UUID,
    XENLINUX,
    Content,
    directory,
    disk,
    guest,
    ids,
    kinds,
    link,
    plan,
    removed,
    run,
    said,
    settle,
    touched,
    written,
)

from pvprep.changes import MakeLink
from pvprep.findings import Level

FSTAB = "/etc/fstab"
UNITS = "/etc/systemd/system/"
SWAP = UNITS + "dev-sda2.swap"
ID = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
BY_PATH = "/dev/disk/by-path/pci-0000:00:01.1-ata-1"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("sda", "/dev/sda1", "/dev/xvda1"),
        ("hda", "/dev/hda1", "/dev/xvda1"),
        ("vda", "/dev/vda1", "/dev/xvda1"),
        ("nvme0n1", "/dev/nvme0n1p1", "/dev/xvda1"),
        ("cciss/c0d0", "/dev/cciss/c0d0p1", "/dev/xvda1"),
        ("mmcblk0", "/dev/mmcblk0p1", "/dev/xvda1"),
        ("xvda", "/dev/xvda1", "/dev/xvda1"),
    ],
)
def test_every_kind_of_disk(name: str, old: str, new: str) -> None:
    facts = guest({FSTAB: f"{old} / ext4 defaults 0 1\n"}, disks=[disk(name, "ext4")], grub=False)
    texts = written(run("devices", facts))
    assert texts.get(FSTAB, f"{old} / ext4 defaults 0 1\n") == f"{new} / ext4 defaults 0 1\n"
    assert (FSTAB in texts) == (old != new)
    assert run("devices", settle(facts)[0]).changes() == ()


def test_several_disks_in_guest_order() -> None:
    facts = guest({FSTAB: "/dev/sdb1 /srv ext4\n/dev/sda1 / ext4\n/dev/nvme0n1p2 /x xfs\n"},
                  disks=[SDA, disk("sdb", "ext4"), disk("nvme0n1", "ext4", "xfs")])  # fmt: skip
    assert written(run("devices", facts))[FSTAB] == (
        "/dev/xvdb1 /srv ext4\n/dev/xvda1 / ext4\n/dev/xvdc2 /x xfs\n"
    )


def test_a_guest_that_says_xvda_is_left_alone() -> None:
    files: dict[str, Content] = {
        FSTAB: "/dev/xvda1 / ext4\n/dev/xvda2 none swap sw\n",
        "/etc/smartd.conf": "/dev/xvda -a\n",
        UNITS + "dev-xvda2.swap": "[Swap]\nWhat=/dev/xvda2\n",
        "/boot/grub/device.map": "(hd0) /dev/xvda\n",
    }
    draft = run("devices", guest(files, disks=[disk("xvda", "ext4", "swap")]))
    assert draft.changes() == ()
    assert draft.findings == []


@pytest.mark.parametrize(
    "device",
    [f"UUID={UUID}", "LABEL=root", "LABEL=/dev/sda1", "PARTUUID=1-01", "/dev/mapper/vg-root",
     "/dev/vg/root", "/dev/md0", "/dev/sr0", "tmpfs", "nas:/dev/sda1", f"/dev/disk/by-uuid/{UUID}"],
)  # fmt: skip
def test_what_is_right_everywhere_stays(device: str) -> None:
    draft = run("devices", guest({FSTAB: f"{device} / ext4 defaults 0 1\n"}))
    assert draft.changes() == ()
    assert draft.findings == []


@pytest.mark.parametrize(
    ("device", "new"),
    [(f"{ID}-part1", "/dev/xvda1"), (f"{BY_PATH}-part2", "/dev/xvda2"), (ID, "/dev/xvda")],
)
def test_names_that_describe_the_hardware_go(device: str, new: str) -> None:
    facts = guest({FSTAB: f"{device} /a ext4\n"}, aliases={ID: "sda", BY_PATH: "sda"})
    assert written(run("devices", facts))[FSTAB] == f"{new} /a ext4\n"


def test_uuids_where_they_are_asked_for() -> None:
    files: dict[str, Content] = {
        FSTAB: "/dev/sda1 / ext4\n/dev/sda3 /a ext4\n",
        "/etc/crypttab": "c /dev/sda2 none luks\n",
        "/etc/initramfs-tools/conf.d/resume": "RESUME=/dev/sda2\n",
        "/boot/grub/device.map": "(hd0) /dev/sda\n",
    }
    one = disk("sda", "ext4", "swap", "ext4", uuids=(UUID, SWAP_UUID))
    texts = written(run("devices", guest(files, disks=[one]), device_names="uuid"))
    assert texts == {
        FSTAB: f"UUID={UUID} / ext4\n/dev/xvda3 /a ext4\n",
        "/etc/crypttab": f"c UUID={SWAP_UUID} none luks\n",
        "/etc/initramfs-tools/conf.d/resume": f"RESUME=UUID={SWAP_UUID}\n",
        "/boot/grub/device.map": "(hd0) /dev/xvda\n",
    }


@pytest.mark.parametrize("names", ["hd", "auto"])
def test_xenlinux_kernels_know_hda(names: str) -> None:
    facts = guest({FSTAB: "/dev/sda1 / ext3\n"}, kernels=[XENLINUX])
    assert written(run("devices", facts, device_names=names))[FSTAB] == "/dev/hda1 / ext3\n"
    assert written(run("devices", facts, device_names="xvd"))[FSTAB] == "/dev/xvda1 / ext3\n"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("/etc/crypttab", "c /dev/sda2 none luks\n", "c /dev/xvda2 none luks\n"),
        ("/etc/initramfs-tools/initramfs.conf", "RESUME=/dev/sda2\n", "RESUME=/dev/xvda2\n"),
        ("/etc/initramfs-tools/conf.d/resume", 'RESUME="/dev/sda2"\n', 'RESUME="/dev/xvda2"\n'),
        ("/etc/mdadm/mdadm.conf", "DEVICE /dev/sda1 /dev/sda2\n", "DEVICE /dev/xvda1 /dev/xvda2\n"),
        ("/etc/mdadm.conf", "DEVICE /dev/sda1\n", "DEVICE /dev/xvda1\n"),
        ("/boot/grub/device.map", "(hd0)\t/dev/sda\n", "(hd0)\t/dev/xvda\n"),
        ("/etc/uswsusp.conf", "resume device = /dev/sda2\n", "resume device = /dev/xvda2\n"),
        ("/etc/lvm/lvm.conf", 'filter = [ "a|/dev/sda.*|" ]\n', 'filter = [ "a|/dev/xvda.*|" ]\n'),
        ("/etc/lvm/lvmlocal.conf", 'filter="a|/dev/sda2|"\n', 'filter="a|/dev/xvda2|"\n'),
        ("/etc/kernel/cmdline", "root=/dev/sda1 ro\n", "root=/dev/xvda1 ro\n"),
        (UNITS + "srv.mount", "[Mount]\nWhat=/dev/sda1\n", "[Mount]\nWhat=/dev/xvda1\n"),
    ],
)  # fmt: skip
def test_every_file_that_names_devices(path: str, old: str, new: str) -> None:
    facts = guest({path: old}, grub=False)
    assert written(run("devices", facts)) == {path: new}
    assert run("devices", settle(facts)[0]).changes() == ()


def test_resume_none_and_stale_tags_are_no_devices() -> None:
    for value in ("none", "auto", f"UUID={SWAP_UUID}", "LABEL=swap", ""):
        path = "/etc/initramfs-tools/conf.d/resume"
        assert run("devices", guest({path: f"RESUME={value}\n"})).changes() == ()


def test_a_swap_unit_is_named_after_its_device() -> None:
    wants = UNITS + "swap.target.wants/dev-sda2.swap"
    facts = guest({SWAP: "[Swap]\nWhat=/dev/sda2\n", wants: link(wants, "../dev-sda2.swap", b"",
                                                                 SWAP)})  # fmt: skip
    draft = run("devices", facts)
    assert written(draft) == {UNITS + "dev-xvda2.swap": "[Swap]\nWhat=/dev/xvda2\n"}
    assert removed(draft) == [SWAP, wants]
    (made,) = kinds(draft, MakeLink)
    assert made.path == UNITS + "swap.target.wants/dev-xvda2.swap"
    assert made.target == "../dev-xvda2.swap"
    assert run("devices", settle(facts)[0]).changes() == ()


def test_a_link_that_is_there_already_is_not_made_again() -> None:
    old, new = (UNITS + f"swap.target.requires/dev-{name}.swap" for name in ("sda2", "xvda2"))
    facts = guest({
        SWAP: "[Swap]\n",
        old: link(old, "../dev-sda2.swap", b"", SWAP),
        new: link(new, "../dev-xvda2.swap"),
    })  # fmt: skip
    draft = run("devices", facts)
    assert kinds(draft, MakeLink) == []
    assert old in removed(draft)


def test_other_units_wants_stay() -> None:
    other = UNITS + "swap.target.wants/dev-sda22.swap"
    facts = guest({SWAP: "[Swap]\n", other: link(other, "../dev-sda22.swap")})
    assert other not in touched(run("devices", facts))


def test_a_link_is_not_edited_but_what_it_leads_to_may_be() -> None:
    path = "/etc/initramfs-tools/conf.d/resume"
    facts = guest({path: link(path, "/etc/default/resume", "RESUME=/dev/sda2\n", "/etc/resume")})
    assert run("devices", facts).changes() == ()


@pytest.mark.parametrize("path", ["/etc/blkid.tab", "/etc/lvm/cache/.cache"])
def test_caches_of_names_go(path: str) -> None:
    facts = guest({path: "/dev/sda1"})
    assert removed(run("devices", facts)) == [path]
    assert run("devices", settle(facts)[0]).changes() == ()


@pytest.mark.parametrize(
    "path",
    ["/etc/smartd.conf", "/etc/hdparm.conf", "/etc/multipath.conf", "/etc/auto.master",
     "/etc/default/kdump-tools", "/etc/default/smartmontools", "/etc/lvm/devices/system.devices",
     "/etc/rc.local", "/etc/crontab", "/etc/cron.d/raid", "/etc/X11/xorg.conf"],
)  # fmt: skip
def test_files_for_a_person_are_reported_by_line(path: str) -> None:
    draft = run("devices", guest({path: "# /dev/sda\n\n/dev/sda -a  # here\n"}))
    assert draft.changes() == ()
    found = said(draft, "devices.review")
    assert found.level is Level.WARN
    assert found.where == f"{path}:3"
    assert found.message.endswith("HVM guest: /dev/sda"), "the rest may be a secret"


def test_a_directory_by_such_a_name_is_nothing() -> None:
    assert run("devices", guest({"/etc/cron.d/x": directory("/etc/cron.d/x")})).findings == []


@pytest.mark.parametrize(
    ("path", "line"), [(FSTAB, "/dev/sdz1 /old ext4\n"), ("/etc/crypttab", "old /dev/sdz1\n")]
)
def test_a_disk_that_is_not_there(path: str, line: str) -> None:
    draft = run("devices", guest({path: f"# tables\n{line}"}))
    assert draft.changes() == ()
    found = said(draft, "devices.unknown")
    assert found.level is Level.WARN
    assert found.where == f"{path}:2"
    assert "/dev/sdz1" in found.message


DEBCONF = """\
Name: grub-pc/hidden_timeout
Template: grub-pc/hidden_timeout
Value: /dev/sda
Owners: grub-pc

Name: grub-pc/install_devices
Template: grub-pc/install_devices
Value: {}
Owners: grub-pc
Flags: seen

Name: other
Value: /dev/sda
"""


@pytest.mark.parametrize(
    ("value", "gone"),
    [("/dev/sda", "/dev/sda"), (f"{ID}, /dev/vg/x", ID), ("/dev/xvda", ""), ("", ""),
     ("/dev/sdz", "")],
)  # fmt: skip
def test_where_grub_pc_would_install(value: str, gone: str) -> None:
    facts = guest({"/var/cache/debconf/config.dat": DEBCONF.format(value)}, aliases={ID: "sda"})
    draft = run("devices", facts)
    assert draft.changes() == ()
    if gone:
        assert said(draft, "devices.grub-install").level is Level.WARN
        assert f"install to {gone}," in said(draft, "devices.grub-install").message
    else:
        assert ids(draft) == []


def test_the_config_and_the_files_have_the_same_names() -> None:
    facts = guest({FSTAB: "/dev/sdb1 / ext4\n"}, disks=[SDA, disk("sdb", "ext4")])
    planned = plan(facts)
    assert planned.context.devices.vdevs == {"sda": "xvda", "sdb": "xvdb"}
    assert written(planned)[FSTAB].startswith("/dev/xvdb1 ")
