"""What pygrub takes before and after, and what update-grub writes the next time."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.building import (
    DEFAULTS_TEXT,
    GRUB_CFG,
    GRUB_DEFAULTS,
    MENU_LST,
    SDA,
    UUID,
    VERSION,
    XENLINUX,
    Content,
    apply,
    disk,
    entry,
    grub_cfg,
    guest,
    ids,
    kernel,
    kinds,
    mount,
    plan,
    removed,
    run,
    said,
    settle,
    stanza,
    touched,
    written,
)

from pvprep.changes import BuildInitrd, InstallPackages, WriteFile
from pvprep.facts import Facts
from pvprep.findings import Level
from pvprep.pygrub import Pick, Refusal
from pvprep.steps import bootloader_grub2 as grub2

ARGS = "root=/dev/xvda1 ro quiet console=tty0 console=hvc0"
NEWER = "6.12.0-1-686-pae"
OWN_SCRIPT = "/etc/grub.d/09_pvprep"
GOOD = "root=/dev/sda1 ro console=tty0 console=hvc0"


def picked(facts: Facts, **options: Any) -> Pick:
    """What pygrub takes once the plan is carried out; nothing more is to be done then."""
    after, _ = settle(facts, **options)
    again = plan(after, **options)
    assert again.changes == ()
    assert not again.errors
    assert isinstance(again.pick, Pick)
    return again.pick


def cmdline(text: str, key: str = "GRUB_CMDLINE_LINUX") -> str:
    (line,) = [line for line in text.split("\n") if line.startswith(f"{key}=")]
    return line.split("=", 1)[1]


def test_the_entry_before_and_after() -> None:
    facts = guest()
    before = run("preflight", facts)
    assert before.text(GRUB_CFG) == grub_cfg()
    pick = picked(facts)
    assert (pick.kernel, pick.initrd) == (f"/boot/vmlinuz-{VERSION}", f"/boot/initrd.img-{VERSION}")
    assert pick.args == ARGS
    assert pick.volume == "/dev/sda1"


def test_the_settings_keep_it_at_the_next_update_grub() -> None:
    text = written(run("bootloader", guest()))[GRUB_DEFAULTS]
    assert cmdline(text) == '"root=/dev/xvda1 console=tty0 console=hvc0"'
    assert cmdline(text, "GRUB_CMDLINE_LINUX_DEFAULT") == '"quiet"'


def test_with_uuids_no_root_is_named() -> None:
    facts = guest({GRUB_CFG: grub_cfg(entry(args=f"root=UUID={UUID} ro"))})
    text = written(run("bootloader", facts))[GRUB_DEFAULTS]
    assert cmdline(text) == '"console=tty0 console=hvc0"'
    assert picked(facts).args == f"root=UUID={UUID} ro console=tty0 console=hvc0"


def test_uuids_that_are_asked_for() -> None:
    assert picked(guest(), device_names="uuid").args.startswith(f"root=UUID={UUID} ro ")


def test_what_update_grub_writes_as_hvm_is_right_as_it_is() -> None:
    """GRUB_DEVICE is /dev/sda1 then, and GRUB_CMDLINE_LINUX overrides it."""
    after, _ = settle(guest())
    text = grub_cfg(entry(args=f"root=/dev/sda1 ro {ARGS}"))
    files = {**after.files, GRUB_CFG: dataclasses.replace(after.files[GRUB_CFG],
                                                          content=text.encode())}  # fmt: skip
    again = plan(dataclasses.replace(after, files=files))
    assert again.changes == ()
    assert again.ready


def test_a_console_of_the_normal_boot_only() -> None:
    """It is written behind the arguments of all kernels: hvc0 has to come last there, too."""
    text = DEFAULTS_TEXT.replace('"quiet"', '"quiet console=ttyS0"')
    after = written(run("bootloader", guest({GRUB_DEFAULTS: text})))[GRUB_DEFAULTS]
    assert cmdline(after, "GRUB_CMDLINE_LINUX_DEFAULT") == '"quiet console=ttyS0 console=hvc0"'


def test_drop_ins_are_read_after_the_settings() -> None:
    cloud = "/etc/default/grub.d/50-cloud.cfg"
    off = "/etc/default/grub.d/old.dpkg-old"
    files: dict[str, Content] = {
        cloud: 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX net.ifnames=0"\n'
        'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\n',
        off: "GRUB_CMDLINE_LINUX=root=/dev/sda1\n",
    }
    facts = guest(files)
    texts = written(run("bootloader", facts))
    assert cmdline(texts[cloud]).endswith(
        ' net.ifnames=0 root=/dev/xvda1 console=tty0 console=hvc0"'
    )
    assert texts[cloud].endswith('"console=tty1 console=ttyS0 console=hvc0"\n')
    assert GRUB_DEFAULTS not in texts, "the drop-in takes over what is set there"
    assert off not in texts
    picked(facts)


def test_settings_without_arguments_get_some() -> None:
    facts = guest({GRUB_DEFAULTS: "GRUB_TIMEOUT=5\n"})
    assert written(run("bootloader", facts))[GRUB_DEFAULTS] == (
        'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX="root=/dev/xvda1 console=tty0 console=hvc0"\n'
    )
    picked(facts)


def test_settings_that_a_command_makes() -> None:
    text = 'GRUB_CMDLINE_LINUX="$(cat /etc/args)"\n'
    draft = run("bootloader", guest({GRUB_DEFAULTS: text}))
    found = said(draft, "bootloader.settings")
    assert found.level is Level.WARN
    assert found.where == f"{GRUB_DEFAULTS}:1"
    assert "console=hvc0" in found.remedy
    assert GRUB_DEFAULTS not in touched(draft)


def test_a_later_setting_of_the_guests_own_counts() -> None:
    text = 'GRUB_CMDLINE_LINUX="a"\nGRUB_CMDLINE_LINUX="b"\n'
    assert "GRUB_CMDLINE_LINUX" in written(run("bootloader", guest({GRUB_DEFAULTS: text})))[
        GRUB_DEFAULTS
    ]


@pytest.mark.parametrize(
    ("old", "kept"),
    [
        ("clocksource=tsc", ""), ("clocksource=acpi_pm", ""), ("clocksource=xen", "it"),
        ("xen_emul_unplug=never", ""), ("crashkernel=64M", "it"),
    ],
)  # fmt: skip
def test_arguments_for_emulated_hardware_only(old: str, kept: str) -> None:
    facts = guest({GRUB_CFG: grub_cfg(entry(args=f"root=/dev/sda1 ro {old} quiet"))})
    args = picked(facts).args.split()
    assert (old in args) == bool(kept)
    assert "quiet" in args


def two_kernels(**files: Content) -> Facts:
    """The newest kernel cannot boot PV; its entry comes first."""
    cfg = grub_cfg(entry(NEWER), entry())
    known: dict[str, Content] = {GRUB_CFG: cfg, **files}
    return guest(known, kernels=[kernel(), kernel(NEWER, pv=False)])


def test_an_older_kernel_gets_an_entry_of_its_own_in_front() -> None:
    facts = two_kernels()
    first = plan(facts)
    text = written(first)[GRUB_CFG]
    assert text.index(f"### BEGIN {OWN_SCRIPT} ###") < text.index("### BEGIN /etc/grub.d/10_linux")
    assert entry(NEWER) in text, "the other kernel's entry is left"
    assert next(c for c in kinds(first, WriteFile) if c.path == OWN_SCRIPT).mode == 0o755
    pick = picked(facts)
    assert pick.index == 0
    assert pick.title == f"Linux {VERSION} (Xen PV)"
    assert (pick.kernel, pick.args) == (f"/boot/vmlinuz-{VERSION}", ARGS)


@pytest.mark.parametrize("default", ["saved", "2", '"Debian, with Linux"', "'1>0'"])
def test_the_default_becomes_the_first(default: str) -> None:
    cfg = grub_cfg(entry(NEWER), entry(), default="1>0")
    settings = DEFAULTS_TEXT.replace("GRUB_DEFAULT=0", f"GRUB_DEFAULT={default}")
    facts = two_kernels(**{GRUB_CFG: cfg, GRUB_DEFAULTS: settings})
    texts = written(plan(facts))
    assert 'set default="0"\n' in texts[GRUB_CFG]
    assert cmdline(texts[GRUB_DEFAULTS], "GRUB_DEFAULT").strip("\"'") == "0"
    assert picked(facts).index == 0


def test_a_saved_default_needs_no_change_where_pygrub_takes_the_kernel() -> None:
    settings = DEFAULTS_TEXT.replace("GRUB_DEFAULT=0", "GRUB_DEFAULT=saved")
    facts = guest({GRUB_CFG: grub_cfg(default="${saved_entry}"), GRUB_DEFAULTS: settings})
    assert "GRUB_DEFAULT=saved\n" in written(plan(facts))[GRUB_DEFAULTS]
    assert picked(facts).args == ARGS


def test_the_kernel_that_pygrub_takes_stays_if_it_can() -> None:
    facts = guest(
        {GRUB_CFG: grub_cfg(entry(VERSION), entry("6.12.1-amd64"))},
        kernels=[kernel(VERSION), kernel("6.12.1-amd64")],
    )
    assert picked(facts).kernel == f"/boot/vmlinuz-{VERSION}"
    assert OWN_SCRIPT not in touched(plan(facts))


def test_a_kernel_that_the_menu_does_not_have_gets_an_entry() -> None:
    pick = picked(two_kernels(**{GRUB_CFG: grub_cfg(entry(NEWER))}))
    assert (pick.index, pick.kernel) == (0, f"/boot/vmlinuz-{VERSION}")
    assert {"root=/dev/xvda1", "ro", "quiet"} < set(pick.args.split())
    assert pick.args.index("console=tty0") < pick.args.index("console=hvc0")


def test_an_entry_that_lacks_its_initrd_is_not_put_in_front() -> None:
    bare = entry().replace(f"\tinitrd\t/boot/initrd.img-{VERSION}\n", "")
    planned = plan(two_kernels(**{GRUB_CFG: grub_cfg(entry(NEWER), bare)}))
    assert OWN_SCRIPT not in touched(planned)
    found = said(planned, "bootloader.wrong-kernel")
    assert found.level is Level.ERROR
    assert found.where == GRUB_CFG


def test_before_a_kernel_is_installed_only_the_settings_change() -> None:
    facts = guest(kernels=[kernel(pv=False)])
    planned = plan(facts)
    assert kinds(planned, InstallPackages)
    assert GRUB_DEFAULTS in touched(planned)
    assert GRUB_CFG not in touched(planned)


def test_the_boot_moves_last() -> None:
    changes = plan(guest()).changes
    assert isinstance(changes[-2], BuildInitrd)
    assert getattr(changes[-1], "path", "") == GRUB_CFG


# What is wrong with a pick, each alone


def judged(args: str = GOOD, text: str = "", **more: Any) -> list[str]:
    """Ids for an entry that the step cannot mend, since another kernel's is the only one."""
    facts = guest({GRUB_CFG: text or grub_cfg(entry(args=args))}, **more)
    return [id for id in ids(plan(facts)) if id.startswith("bootloader.")]


def test_an_entry_without_initrd() -> None:
    text = grub_cfg(entry()).replace(f"\tinitrd\t/boot/initrd.img-{VERSION}\n", "")
    assert judged(text=text) == ["bootloader.no-initrd"]


def test_an_entry_without_root() -> None:
    assert judged("ro quiet") == ["bootloader.no-root"]


@pytest.mark.parametrize("root", ["/dev/sdz1", "UUID=11111111-0000-4000-8000-000000000000"])
def test_a_root_that_is_another(root: str) -> None:
    facts = guest({GRUB_CFG: grub_cfg(entry(args=f"root={root} ro"))})
    found = said(plan(facts), "bootloader.wrong-root")
    assert found.level is Level.ERROR
    assert root in found.message


@pytest.mark.parametrize(
    "root",
    [f"UUID={UUID}", "LABEL=root", "/dev/mapper/vg-root", "PARTUUID=12-01", f'"UUID={UUID}"'],
)
def test_a_root_that_may_be_right(root: str) -> None:
    assert judged(f"root={root} ro") == []


def test_the_last_root_is_judged() -> None:
    assert judged(f"root=/dev/sdz1 ro root=UUID={UUID}") == []
    assert judged(f"root=UUID={UUID} ro root=/dev/sdz1") == ["bootloader.wrong-root"]


def test_an_old_root_and_no_console_of_an_entry_that_is_not_edited() -> None:
    """Another kernel's entry stays as it is."""
    bare = entry().replace(f"\tinitrd\t/boot/initrd.img-{VERSION}\n", "")
    found = judged(
        text=grub_cfg(entry(NEWER, "root=/dev/sda1 ro"), bare),
        kernels=[kernel(), kernel(NEWER, pv=False)],
    )
    assert found == ["bootloader.wrong-kernel", "bootloader.old-root", "bootloader.no-console"]


def test_a_timeout_that_is_no_number() -> None:
    """As Fedora's scripts write it last; pygrub fails where it shows its menu."""
    text = grub_cfg() + "set timeout=${menu_show_once_timeout}\n"
    planned = plan(guest({GRUB_CFG: text}))
    assert "bootloader.needs-quiet" not in ids(planned)
    texts = written(planned)
    assert texts[GRUB_CFG].endswith("  set timeout=5\nfi\n### END /etc/grub.d/99_pvprep ###\n\n")
    assert "set timeout=$GRUB_TIMEOUT\n" in texts["/etc/grub.d/99_pvprep"]
    assert picked(guest({GRUB_CFG: text})).needs_quiet == ""


def test_a_timeout_that_cannot_be_mended() -> None:
    menu = legacy("timeout soon\n" + stanza())
    found = said(plan(menu), "bootloader.needs-quiet")
    assert found.level is Level.WARN
    assert "bootloader.needs-quiet" not in ids(plan(menu, bootloader="pvgrub"))


# File systems, partitions


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (guest(disks=[disk("sda", "LVM2_member")],
               mounts=[mount("/", "sda1", device="/dev/mapper/a-b", kind="lvm")]), "LVM2_member"),
        (guest(disks=[disk("sda", "btrfs")]), "cannot read btrfs"),
        (guest(disks=[disk("sda", "crypto_LUKS")],
               mounts=[mount("/", "sda1", device="/dev/mapper/a", kind="crypt")]), "crypto_LUKS"),
        (guest(disks=[dataclasses.replace(
            disk("sda"), partitions=(dataclasses.replace(
                disk("sda", "xfs").partitions[0], quirk="XFS v5"),))]), "XFS v5"),
        (guest(disks=[disk("sda", "ext4", "ext4", "ext4", "ext4", "ext4")],
               mounts=[mount("/", "sda5")]), "sda1"),
        (guest({GRUB_CFG: grub_cfg() + "set a=b=c\n"}), f"{GRUB_CFG}:11"),
    ],
    ids=["lvm", "btrfs", "luks", "xfs", "logical", "syntax"],
)  # fmt: skip
def test_what_pygrub_cannot_read(facts: Facts, reason: str) -> None:
    planned = plan(facts)
    assert isinstance(planned.pick, Refusal)
    found = said(planned, "bootloader.pygrub-refuses")
    assert found.level is Level.ERROR
    assert reason in found.message
    assert found.evidence
    assert "--bootloader pvgrub" in found.remedy
    for other in ("pvgrub", "direct"):
        planned = plan(facts, bootloader=other)
        assert not planned.errors
        assert said(planned, "bootloader.pygrub-refuses").level is Level.INFO
        assert OWN_SCRIPT not in touched(planned), "GRUB's own menu has the kernel"


BOOT = disk("sda", "ext4", "ext4", "swap", uuids=("b", UUID))


def separate_boot(first: str = "sda1", second: str = "sda2", **more: Any) -> Facts:
    """/boot on the first partition; GRUB's paths start there."""
    cfg = grub_cfg(entry(boot="/", args="root=/dev/sda2 ro"))
    files: dict[str, Content] = {GRUB_CFG: cfg, **more.pop("files", {})}
    return guest(files, disks=[BOOT], mounts=[mount("/", second), mount("/boot", first)], **more)


def test_a_boot_of_its_own() -> None:
    pick = picked(separate_boot())
    assert (pick.volume, pick.config) == ("/dev/sda1", "/grub/grub.cfg")
    assert pick.kernel == f"/vmlinuz-{VERSION}"
    assert pick.args == "root=/dev/xvda2 ro console=tty0 console=hvc0"


def test_a_boot_behind_the_root() -> None:
    pick = picked(separate_boot("sda2", "sda1"))
    assert pick.volume == "/dev/sda2"
    assert [miss.volume for miss in pick.misses] == ["/dev/sda1"]


def test_a_stale_configuration_under_the_mount_point() -> None:
    """The root comes first on the disk, and its own /boot still has what nobody sees."""
    stale = {GRUB_CFG: grub_cfg(entry("5.10.0-1-amd64")).encode()}
    planned = plan(separate_boot("sda2", "sda1", stale=stale))
    found = said(planned, "bootloader.pygrub-refuses")
    assert found.level is Level.ERROR
    assert "/boot/vmlinuz-5.10.0-1-amd64" in found.message
    assert found.where == f"{GRUB_CFG}:5"
    behind = plan(separate_boot("sda1", "sda2", stale=stale))
    assert not behind.errors, "pygrub never comes to it"


def test_a_partition_in_front_that_nobody_can_look_into() -> None:
    facts = guest(disks=[disk("sda", "ext4", "ext4")], mounts=[mount("/", "sda2")])
    found = said(plan(facts), "bootloader.unread-volume")
    assert found.level is Level.WARN
    assert "/dev/sda1" in found.message


# GRUB legacy


MENU = f"""\
default\t\t0
timeout\t\t5
### BEGIN AUTOMAGIC KERNELS LIST
## ## Start Default Options ##
# kopt=root=/dev/sda1 ro
## controls how many
# groot=(hd0,0)
# defoptions=quiet
## ## End Default Options ##
{stanza()}\
### END DEBIAN AUTOMAGIC KERNELS LIST
"""


def legacy(menu: str = MENU, path: str = MENU_LST, **more: Any) -> Facts:
    return guest({path: menu, **more.pop("files", {})}, grub=False, **more)


@pytest.mark.parametrize("path", [MENU_LST, "/boot/grub/grub.conf"])
def test_menu_lst_with_its_magic_comments(path: str) -> None:
    facts = legacy(path=path)
    text = written(plan(facts))[path]
    assert "# kopt=root=/dev/xvda1 ro console=tty0 console=hvc0\n" in text
    assert "# defoptions=quiet\n" in text
    assert "# groot=(hd0,0)\n## ## End" not in text
    pick = picked(facts)
    assert pick.config == path
    assert pick.args == ARGS


def test_the_stanza_of_the_kernel_becomes_the_default() -> None:
    menu = "default 0\n" + stanza(NEWER) + stanza()
    facts = legacy(menu, kernels=[kernel(), kernel(NEWER, pv=False)])
    text = written(plan(facts))[MENU_LST]
    assert text.startswith("default 1\n" + stanza(NEWER))
    assert picked(facts).index == 1


def test_a_hypervisors_stanza_is_not_the_kernels() -> None:
    xen = f"title Xen\nkernel /boot/xen.gz\nmodule /boot/vmlinuz-{VERSION} root=/dev/sda1\n\n"
    facts = legacy("default 0\n" + xen + stanza())
    text = written(plan(facts))[MENU_LST]
    assert text.startswith("default 1\n" + xen)


def test_a_stale_grub_cfg_beside_a_good_menu_lst() -> None:
    facts = legacy(files={GRUB_CFG: grub_cfg(entry("2.6.32-5-686"))})
    planned = plan(facts)
    assert removed(planned) == [GRUB_CFG]
    assert picked(facts).config == MENU_LST


def test_a_grub_cfg_that_is_in_use_stays() -> None:
    facts = legacy(files={GRUB_CFG: grub_cfg()})
    assert removed(plan(facts)) == []
    assert picked(facts).config == GRUB_CFG


def test_xenlinux_has_other_names_and_another_console() -> None:
    version = XENLINUX.version
    facts = legacy(stanza(version, "root=/dev/sda1 ro"), kernels=[XENLINUX],
                   machine={"userland": "i386", "init": "sysvinit"},
                   files={"/etc/inittab": "1:2345:respawn:/sbin/getty 38400 tty1\n"})  # fmt: skip
    assert picked(facts).args == "root=/dev/hda1 ro xencons=xvc console=tty0 console=xvc0"


def test_neither_configuration_is_there() -> None:
    planned = plan(guest(grub=False))
    assert "no boot loader configuration" in said(planned, "bootloader.pygrub-refuses").message


def test_a_system_that_boots_by_lilo_gets_a_menu() -> None:
    lilo = 'boot=/dev/sda\nroot=/dev/sda1\nappend="quiet noapic"\nimage=/vmlinuz\n\tlabel=Linux\n'
    facts = guest({"/etc/lilo.conf": lilo}, grub=False)
    planned = plan(facts)
    text = written(planned)[MENU_LST]
    assert text.endswith(
        f"title Linux {VERSION} (Xen PV)\n\troot (hd0,0)\n\tkernel /boot/vmlinuz-{VERSION} "
        "root=/dev/xvda1 quiet noapic ro console=tty0 console=hvc0\n"
        f"\tinitrd /boot/initrd.img-{VERSION}\n"
    )
    assert picked(facts).config == MENU_LST
    assert "/etc/lilo.conf" not in written(planned), "it is for HVM, whose LILO read it"
    after = settle(facts)[0]
    assert plan(after).changes == ()


def test_a_disk_without_partitions() -> None:
    whole = dataclasses.replace(
        SDA, table="", partitions=(dataclasses.replace(SDA.partitions[0], name="sda", number=0),)
    )
    facts = guest(
        {GRUB_CFG: grub_cfg(entry(args="root=/dev/sda ro"))}, disks=[whole],
        mounts=[mount("/", "sda", kind="disk")],
    )  # fmt: skip
    pick = picked(facts)
    assert (pick.volume, pick.args.split()[0]) == ("/dev/sda", "root=/dev/xvda")


def test_a_tree_goes_by_its_fstab() -> None:
    root = mount("/", "sda1", device=f"UUID={UUID}", parts=())
    facts = guest({GRUB_CFG: grub_cfg(entry(args=f"root=UUID={UUID} ro"))},
                  disks=[], mounts=[root], is_tree=True)  # fmt: skip
    assert picked(facts).volume == f"UUID={UUID}"


def test_a_tree_on_lvm_is_no_tree_for_pygrub() -> None:
    root = mount("/", "", device="/dev/mapper/vg-root", parts=(), kind="lvm")
    assert "bootloader.pygrub-refuses" in ids(plan(guest(disks=[], mounts=[root], is_tree=True)))


def test_carrying_it_out_changes_what_it_says() -> None:
    facts = guest()
    first = plan(facts)
    assert apply(facts, first).text(GRUB_CFG) == written(first)[GRUB_CFG]


def test_a_menu_lst_that_is_no_better_lets_the_grub_cfg_stay() -> None:
    facts = legacy("timeout 5\n", files={GRUB_CFG: grub_cfg(entry("2.6.32-5-686"))})
    assert GRUB_CFG not in removed(plan(facts))


# The script that grub-mkconfig runs

# What asks for the disk under a file answers as for a plain one; the rest is GRUB's own.
LIBRARY = """\
. /usr/share/grub/grub-mkconfig_lib
make_system_path_relative_to_its_root() { echo /boot; }
prepare_grub_to_access_device() { echo "set root='hd0,msdos1'"; }
"""


def generated(tmp_path: Path, *images: str, pv: Sequence[str], **environment: str) -> str:
    """What it writes for these kernels and initrds in /boot."""
    (tmp_path / "grub-mkconfig_lib").write_text(LIBRARY)
    for name in images:
        (tmp_path / name).touch()
    for version in pv:
        (tmp_path / f"config-{version}").write_text("CONFIG_XEN=y\nCONFIG_XEN_PV=y\n")
    script = grub2.OWN_SCRIPT_TEXT.replace(" /boot/", f" {tmp_path}/")
    script = script.replace('"/boot/', f'"{tmp_path}/').replace("#/boot/", f"#{tmp_path}/")
    variables = {"pkgdatadir": str(tmp_path), "GRUB_DEVICE": "/dev/xvda1", **environment}
    done = subprocess.run(
        ["sh"], input=script, env={**os.environ, **variables}, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    return done.stdout


def test_the_newest_kernel_that_can_boot_pv_comes_first(tmp_path: Path) -> None:
    versions = ("6.1.9-1.el9", "6.1.10-1.el9", "6.2.0-1.el9", "0-rescue-b1f1")
    names = [f"{kind}-{one}" for one in versions for kind in ("vmlinuz", "initrd")]
    text = generated(
        tmp_path, *names, pv=versions[:2], GRUB_CMDLINE_LINUX="ro root=/dev/xvda1",
        GRUB_DEVICE_UUID="1b0f",
    )  # fmt: skip
    assert text == (
        "menuentry 'Linux 6.1.10-1.el9 (Xen PV)' --class gnu-linux {\n"
        "\tset root='hd0,msdos1'\n"
        "\tlinux /boot/vmlinuz-6.1.10-1.el9 root=UUID=1b0f ro ro root=/dev/xvda1 \n"
        "\tinitrd /boot/initrd-6.1.10-1.el9\n"
        "}\n"
    )


@pytest.mark.parametrize("name", ["initrd.img-1", "initramfs-1.img", "initrd-1"])
def test_each_distributions_initrd_is_found(tmp_path: Path, name: str) -> None:
    assert f"\n\tinitrd /boot/{name}\n" in generated(tmp_path, "vmlinuz-1", name, pv=["1"])


def test_without_such_a_kernel_there_is_no_entry(tmp_path: Path) -> None:
    assert generated(tmp_path, "vmlinuz-1", pv=[]) == ""


@pytest.mark.parametrize(("given", "seconds"), [("3", 3), ("", 5), ("-1", 5), ("menu", 5)])
def test_the_timeout_that_pygrub_reads(given: str, seconds: int) -> None:
    done = subprocess.run(
        ["sh"], input=grub2.TIMEOUT_SCRIPT_TEXT, env={**os.environ, "GRUB_TIMEOUT": given},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == grub2.TIMEOUT_TEXT.format(seconds)
