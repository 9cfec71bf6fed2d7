"""Boot loaders of Fedora, EL and SUSE: their own files, planned, and read by the real pygrub."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.unit.building import (
    REDHAT,
    SUSE,
    Content,
    apply,
    disk,
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
    touched,
    written,
)
from tests.unit.pygrub_cases import real

from pvprep.changes import InstallPackages, MakeLink, WriteFile
from pvprep.facts import Facts, Kernel
from pvprep.findings import Level
from pvprep.pygrub import Pick, Refusal

CORPUS = Path(__file__).parent.parent / "pygrub_cases"
EL9 = "5.14.0-427.13.1.el9_4.x86_64"
LT = "6.1.90-1.el9.elrepo.x86_64"
GRUB2 = "/boot/grub2/grub.cfg"
GRUBENV = "/boot/grub2/grubenv"
DEFAULTS = "/etc/default/grub"
ENTRIES = "/boot/loader/entries"
PLUGIN = "/etc/kernel/install.d/99-pvprep.install"
OWN_SCRIPT = "/etc/grub.d/09_pvprep"
MACHINE_ID = "b1f170000000400080000000000000c1"
ROOT = "root=UUID=9f2b1c3a-7a51-4b8e-9a3c-1b0f6d1e7c55"
# What anaconda and grub2-mkconfig leave in /etc/default/grub.
DEFAULTS_TEXT = """\
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR="$(sed 's, release .*$,,g' /etc/system-release)"
GRUB_DEFAULT=saved
GRUB_DISABLE_SUBMENU=true
GRUB_TERMINAL_OUTPUT="console"
GRUB_CMDLINE_LINUX="crashkernel=1G-4G:192M resume=/dev/sda3 rhgb quiet"
GRUB_DISABLE_RECOVERY="true"
GRUB_ENABLE_BLSCFG=true
"""
BOOT = disk("sda", "ext4", "ext4", "swap", uuids=("b", ROOT.split("=")[2], "s"))
CONSOLES = "console=tty0 console=hvc0"


def grubenv(**values: str) -> str:
    text = "# GRUB Environment Block\n" + "".join(f"{k}={v}\n" for k, v in values.items())
    return text.ljust(1024, "#")


def snippet(version: str, options: str) -> str:
    return (
        f"title Rocky Linux ({version}) 9.4 (Blue Onyx)\nversion {version}\n"
        f"linux /vmlinuz-{version}\ninitrd /initramfs-{version}.img\noptions {options}\n"
        "grub_users $grub_users\ngrub_arg --unrestricted\ngrub_class rocky\n"
    )


def el(version: str, **more: Any) -> Kernel:
    return kernel(version, **{"initrd": f"/boot/initramfs-{version}.img", **more})


def corpus(name: str) -> str:
    return (CORPUS / name).read_text()


def rpm_guest(files: dict[str, Content], kernels: Sequence[Kernel], **more: Any) -> Facts:
    """A guest with /boot on its first partition."""
    known: dict[str, Content] = {"/etc/fstab": "", **files}
    options: dict[str, Any] = {
        "distro": REDHAT, "initrd_tool": "dracut", "disks": [BOOT], "grub": False,
        "mounts": [mount("/", "sda2"), mount("/boot", "sda1")], **more,
    }  # fmt: skip
    return guest(known, kernels=kernels, **options)


def el9(
    options: str = f"{ROOT} ro crashkernel=1G-4G:192M resume=/dev/sda3 rhgb quiet",
    cfg: str = "el9-bls.grub.cfg",
    **more: Any,
) -> Facts:
    """Entries for a kernel that can boot PV and for a newer one that cannot."""
    files: dict[str, Content] = {
        GRUB2: corpus(cfg),
        GRUBENV: grubenv(saved_entry=f"{MACHINE_ID}-{EL9}", boot_success="0"),
        DEFAULTS: DEFAULTS_TEXT,
        f"{ENTRIES}/{MACHINE_ID}-{EL9}.conf": snippet(EL9, options),
        f"{ENTRIES}/{MACHINE_ID}-{LT}.conf": snippet(LT, options),
        **more.pop("files", {}),
    }
    return rpm_guest(files, more.pop("kernels", [el(EL9, pv=False), el(LT)]), **more)


@pytest.fixture(scope="module")
def pygrub() -> ModuleType:
    return real.load()


def converted(facts: Facts, pygrub: ModuleType, **options: Any) -> tuple[Facts, Pick]:
    """What the guest is then, and what both pygrubs take; nothing more is to be done."""
    after, _ = settle(facts, **options)
    again = plan(after, **options)
    assert again.changes == ()
    assert not again.errors, again.errors
    pick = again.pick
    assert isinstance(pick, Pick)
    assert not pick.needs_quiet
    boot = facts.mount("/boot") is not None
    volume = {
        path[len("/boot") :] if boot else path: found.content
        for path, found in after.files.items()
        if path.startswith("/boot/") and not found.is_dir
    }
    choice = real.choose(pygrub, volume)
    assert (choice.kernel, choice.initrd, choice.args) == (pick.kernel, pick.initrd, pick.args)
    assert choice.index == pick.index
    return after, pick


def setting(text: str, key: str) -> str:
    (line,) = [line for line in text.split("\n") if line.startswith(f"{key}=")]
    return line.split("=", 1)[1].strip('"')


# BLS


@pytest.mark.parametrize("cfg", ["el9-bls.grub.cfg", "rhel8-bls.grub.cfg"])
def test_pygrub_takes_nothing_before_and_the_kernel_after(cfg: str, pygrub: ModuleType) -> None:
    facts = el9(cfg=cfg)
    assert isinstance(plan(facts, bootloader="pvgrub").pick, Pick)
    assert isinstance(plan(el9(cfg=cfg, kernels=[])).pick, Refusal)
    assert real.choose(pygrub, {"/grub2/grub.cfg": corpus(cfg).encode()}).kernel == ""
    after, pick = converted(facts, pygrub)
    assert (pick.index, pick.kernel) == (0, f"/vmlinuz-{LT}")
    assert pick.initrd == f"/initramfs-{LT}.img"
    assert pick.args == (
        f"{ROOT} ro crashkernel=1G-4G:192M resume=/dev/xvda3 rhgb quiet {CONSOLES}"
    )
    assert "blscfg\n" in after.text(GRUB2), "GRUB itself still reads the entries"
    assert 'set default="0"\n' in after.text(GRUB2)


def test_it_stays_so_when_the_menu_is_made_anew() -> None:
    first = plan(el9())
    texts = written(first)
    settings = texts[DEFAULTS]
    assert "GRUB_ENABLE_BLSCFG=false\n" in settings
    assert "GRUB_DEFAULT=0\n" in settings
    assert setting(settings, "GRUB_CMDLINE_LINUX") == (
        f"crashkernel=1G-4G:192M resume=/dev/xvda3 rhgb quiet {CONSOLES}"
    )
    assert "grub2-mkconfig -o " in texts[PLUGIN]
    for path in (PLUGIN, OWN_SCRIPT):
        (one,) = [change for change in kinds(first, WriteFile) if change.path == path]
        assert one.mode == 0o755


def test_a_setting_that_is_missing_is_added() -> None:
    """Without it Fedora's scripts use BLS."""
    text = DEFAULTS_TEXT.replace("GRUB_ENABLE_BLSCFG=true\n", "")
    assert 'GRUB_ENABLE_BLSCFG="false"\n' in written(plan(el9(files={DEFAULTS: text})))[DEFAULTS]


def test_arguments_that_only_the_entries_have_are_not_lost(pygrub: ModuleType) -> None:
    """As grubby leaves them."""
    facts = el9(f"{ROOT} ro rhgb quiet net.ifnames=0 console=ttyS0,115200 rd.lvm.lv=a/b")
    texts = written(plan(facts))
    assert setting(texts[DEFAULTS], "GRUB_CMDLINE_LINUX") == (
        "crashkernel=1G-4G:192M resume=/dev/xvda3 rhgb quiet net.ifnames=0 rd.lvm.lv=a/b "
        "console=ttyS0,115200 console=tty0 console=hvc0"
    )
    _, pick = converted(facts, pygrub)
    assert pick.args == (
        f"{ROOT} ro rhgb quiet net.ifnames=0 console=ttyS0,115200 rd.lvm.lv=a/b console=hvc0"
    )


def test_all_that_arguments_are_made_from_is_kept_in_step() -> None:
    options = "root=/dev/sda2 ro resume=/dev/sda3"
    cmdline = "/etc/kernel/cmdline"
    texts = written(plan(el9(options, files={cmdline: options + "\n"})))
    new = f"root=/dev/xvda2 ro resume=/dev/xvda3 {CONSOLES}"
    assert texts[cmdline] == new + "\n"
    assert f"options {new}\n" in texts[f"{ENTRIES}/{MACHINE_ID}-{LT}.conf"]
    assert f"{ENTRIES}/{MACHINE_ID}-{EL9}.conf" not in texts, "the other kernel's stays"
    assert setting(texts[DEFAULTS], "GRUB_CMDLINE_LINUX").startswith(
        "crashkernel=1G-4G:192M resume=/dev/xvda3 rhgb quiet root=/dev/xvda2"
    )


def test_arguments_in_grubenv(pygrub: ModuleType) -> None:
    """EL 8: the entries name a variable."""
    env = grubenv(kernelopts="root=/dev/sda2 ro quiet audit=1", saved_entry="x")
    facts = el9("$kernelopts $tuned_params", "rhel8-bls.grub.cfg", files={GRUBENV: env})
    text = written(plan(facts))[GRUBENV]
    assert len(text) == 1024
    assert f"kernelopts=root=/dev/xvda2 ro quiet audit=1 {CONSOLES}\nsaved_entry=x\n####" in text
    after, pick = converted(facts, pygrub)
    assert pick.args == f"root=/dev/xvda2 ro quiet audit=1 {CONSOLES}"
    assert "audit=1" in after.text(DEFAULTS)
    assert "options $kernelopts $tuned_params\n" in after.text(
        f"{ENTRIES}/{MACHINE_ID}-{LT}.conf"
    )


def test_arguments_that_the_menu_falls_back_to(pygrub: ModuleType) -> None:
    """EL 8 without them in grubenv."""
    facts = el9("$kernelopts", "rhel8-bls.grub.cfg")
    _, pick = converted(facts, pygrub)
    assert pick.args.startswith("root=/dev/mapper/rhel-root ro crashkernel=auto ")


def test_what_tuned_adds_does_not_stop_pygrub(pygrub: ModuleType) -> None:
    tuned = 'set tuned_params="skew_tick=1 nohz=on"\nset tuned_initrd=""\n'
    facts = el9(f"{ROOT} ro $tuned_params", files={GRUB2: corpus("el9-bls.grub.cfg") + tuned})
    after, pick = converted(facts, pygrub)
    assert pick.args.startswith(f"{ROOT} ro skew_tick=1 nohz=on")
    assert '\ntuned_params="skew_tick=1 nohz=on"\n' in after.text(GRUB2)
    assert "skew_tick=1 nohz=on" in after.text(DEFAULTS)


def test_entries_without_a_menu_that_pygrub_reads(pygrub: ModuleType) -> None:
    """EL 8 on EFI, whose grub.cfg lies on the ESP."""
    facts = el9()
    files = {path: found for path, found in facts.files.items() if path != GRUB2}
    after, pick = converted(dataclasses.replace(facts, files=files), pygrub)
    assert pick.config == "/grub2/grub.cfg"
    assert pick.kernel == f"/vmlinuz-{LT}"
    assert OWN_SCRIPT in after.files and PLUGIN in after.files


def test_before_a_kernel_is_installed_all_is_set_for_it() -> None:
    cmdline = "/etc/kernel/cmdline"
    facts = el9(kernels=[el(EL9, pv=False)], files={cmdline: "root=/dev/sda2 ro"})
    planned = plan(facts, kernel_packages=("/k.rpm",))
    assert written(planned)[cmdline] == f"root=/dev/xvda2 ro {CONSOLES}"
    before = [change for change in planned.changes if isinstance(change, WriteFile)]
    assert {DEFAULTS, PLUGIN, OWN_SCRIPT} <= {change.path for change in before}
    assert "GRUB_ENABLE_BLSCFG=false" in written(planned)[DEFAULTS]
    assert GRUB2 not in touched(planned)
    order = [type(change) for change in planned.changes]
    assert order.index(InstallPackages) == len(order) - 1


def test_the_menu_made_anew_by_its_package_needs_nothing_more(pygrub: ModuleType) -> None:
    """What grub2-mkconfig writes without BLS and with our scripts."""
    after, _ = settle(el9())
    args = f"{ROOT} ro {setting(after.text(DEFAULTS), 'GRUB_CMDLINE_LINUX')}"
    own = (
        f"### BEGIN {OWN_SCRIPT} ###\nmenuentry 'Linux {LT} (Xen PV)' --class gnu-linux {{\n"
        f"\tset root='hd0,msdos1'\n\tlinux /vmlinuz-{LT} {args} \n"
        f"\tinitrd /initramfs-{LT}.img\n}}\n### END {OWN_SCRIPT} ###\n"
    )
    end = after.text(GRUB2)[after.text(GRUB2).index("### BEGIN /etc/grub.d/99_pvprep") :]
    text = corpus("fedora41-nobls.grub.cfg").replace("${saved_entry}", "0").replace(
        "### BEGIN /etc/grub.d/10_linux", own + "### BEGIN /etc/grub.d/10_linux"
    )
    files = {**after.files, GRUB2: dataclasses.replace(after.files[GRUB2],
                                                       content=(text + end).encode())}
    again = dataclasses.replace(after, files=files)
    assert plan(again).changes == ()
    _, pick = converted(again, pygrub)
    assert pick.kernel == f"/vmlinuz-{LT}"


def test_without_settings_they_are_made(pygrub: ModuleType) -> None:
    facts = el9()
    files = {path: found for path, found in facts.files.items() if path != DEFAULTS}
    after, pick = converted(dataclasses.replace(facts, files=files), pygrub)
    assert 'GRUB_ENABLE_BLSCFG="false"\n' in after.text(DEFAULTS)
    assert pick.kernel == f"/vmlinuz-{LT}"


def test_a_menu_of_files_is_not_stale() -> None:
    menu = f"title Old\nkernel /vmlinuz-{LT} ro\n"
    planned = plan(el9(files={"/boot/grub/menu.lst": menu}))
    assert GRUB2 not in removed(planned)


def test_only_where_bls_is_in_use() -> None:
    facts = rpm_guest(
        {GRUB2: corpus("centos7.grub.cfg"), DEFAULTS: DEFAULTS_TEXT.replace("true", "false")},
        [el("3.10.0-1160.el7.x86_64")],
    )
    assert not {PLUGIN, OWN_SCRIPT} & touched(plan(facts))


# GRUB 2 without BLS


def test_el7(pygrub: ModuleType) -> None:
    version = "3.10.0-1160.el7.x86_64"
    text = DEFAULTS_TEXT.replace("GRUB_ENABLE_BLSCFG=true\n", "")
    facts = rpm_guest({GRUB2: corpus("centos7.grub.cfg"), DEFAULTS: text}, [el(version)])
    after, pick = converted(facts, pygrub)
    assert pick.kernel == f"/vmlinuz-{version}"
    assert pick.args.endswith(f"LANG=en_GB.UTF-8 {CONSOLES}")
    assert "root=/dev/mapper/centos-root ro\n" in after.text(GRUB2), "the rescue entry stays"
    assert "GRUB_DEFAULT=saved\n" in after.text(DEFAULTS)


def test_fedora_without_bls(pygrub: ModuleType) -> None:
    version = "6.11.4-301.fc41.x86_64"
    text = DEFAULTS_TEXT.replace("BLSCFG=true", "BLSCFG=false")
    menu = corpus("fedora41-nobls.grub.cfg").replace("root=UUID=1b0f", ROOT)
    facts = rpm_guest({GRUB2: menu, DEFAULTS: text}, [el(version)])
    _, pick = converted(facts, pygrub)
    assert pick.args == f"{ROOT} ro rootflags=subvol=root rhgb quiet {CONSOLES}"


def test_leap(pygrub: ModuleType) -> None:
    version = "6.4.0-150600.21-default"
    facts = rpm_guest(
        {GRUB2: corpus("leap15.grub.cfg").replace("UUID=6f1c", "UUID=u"),
         DEFAULTS: 'GRUB_TIMEOUT=8\nGRUB_CMDLINE_LINUX_DEFAULT="splash=silent quiet"\n'},
        [kernel(version, initrd=f"/boot/initrd-{version}")],
        distro=SUSE, disks=[disk("sda", "ext4", "swap", uuids=("u",))], mounts=[mount("/", "sda1")],
    )  # fmt: skip
    after, pick = converted(facts, pygrub)
    assert (pick.kernel, pick.initrd) == (f"/boot/vmlinuz-{version}", f"/boot/initrd-{version}")
    assert pick.args.startswith("root=UUID=u ")
    assert f'GRUB_CMDLINE_LINUX="{CONSOLES}"\n' in after.text(DEFAULTS)


# GRUB legacy

EL5 = kernel(
    "2.6.18-419.el5xen", initrd="/boot/initrd-2.6.18-419.el5xen.img",
    modules=frozenset({"xenblk", "xennet"}), config={"XEN": "y", "X86_64_XEN": "y"},
    proof={"pvh": False, "compression": "gzip"},
)  # fmt: skip
SYSCONFIG = "/etc/sysconfig/kernel"


def el5(menu: str, path: str = "/boot/grub/grub.conf", **more: Any) -> Facts:
    files: dict[str, Content] = {
        path: menu,
        SYSCONFIG: "# UPDATEDEFAULT specifies if\nUPDATEDEFAULT=no\nDEFAULTKERNEL=kernel\n",
        "/etc/inittab": "1:2345:respawn:/sbin/mingetty tty1\n",
    }
    others = [el("2.6.18-419.el5", pv=False)]
    options: dict[str, Any] = {"machine": {"init": "sysvinit"}, "initrd_tool": "mkinitrd", **more}
    return rpm_guest(files, [*others, EL5], **options)


def test_a_stanza_for_dom0_becomes_a_guests(pygrub: ModuleType) -> None:
    after, pick = converted(el5(corpus("el5-xen.grub.conf")), pygrub)
    text = after.text("/boot/grub/grub.conf")
    assert (
        "title CentOS (2.6.18-419.el5xen)\n"
        "\troot (hd0,0)\n"
        "\tkernel /vmlinuz-2.6.18-419.el5xen ro root=/dev/VolGroup00/LogVol00 rhgb quiet "
        "xencons=xvc console=tty0 console=xvc0\n"
        "\tinitrd /initrd-2.6.18-419.el5xen.img\n"
        "title CentOS (2.6.18-419.el5)\n"
    ) in text
    assert "xen.gz" not in text
    assert text.startswith("# grub.conf generated by anaconda\n")
    assert pick.index == 0
    assert after.text(SYSCONFIG).endswith("\nUPDATEDEFAULT=yes\nDEFAULTKERNEL=kernel-xen\n")


def test_a_kernel_without_a_stanza_gets_one(pygrub: ModuleType) -> None:
    """As in the how-to: the kernel was installed into a tree, and no script knew of the menu."""
    menu = corpus("el5-xen.grub.conf")
    menu = menu[: menu.index("title")] + menu[menu.index("title CentOS (2.6.18-419.el5)") :]
    after, pick = converted(el5(menu), pygrub)
    assert (
        "title Linux 2.6.18-419.el5xen (Xen PV)\n"
        "\troot (hd0,0)\n"
        "\tkernel /vmlinuz-2.6.18-419.el5xen ro root=/dev/VolGroup00/LogVol00 rhgb quiet "
        "xencons=xvc console=tty0 console=xvc0\n"
        "\tinitrd /initrd-2.6.18-419.el5xen.img\n"
    ) in after.text("/boot/grub/grub.conf")
    assert pick.kernel == "/vmlinuz-2.6.18-419.el5xen"


def test_a_menu_is_edited_through_its_link() -> None:
    """menu.lst is a link to grub.conf, as is /etc/grub.conf, which nobody reads."""
    facts = el5(corpus("el5-xen.grub.conf"))
    conf = facts.files["/boot/grub/grub.conf"]
    link = dataclasses.replace(conf, target="./grub.conf")
    facts = dataclasses.replace(facts, files={**facts.files, "/boot/grub/menu.lst": link})
    planned = plan(facts)
    paths = [change.path for change in kinds(planned, WriteFile)]
    assert paths.count("/boot/grub/grub.conf") == 1
    assert "/boot/grub/menu.lst" not in paths
    assert plan(apply(facts, planned)).changes == ()


def test_el6(pygrub: ModuleType) -> None:
    """A pv_ops kernel; its dracut has no preloading."""
    version = "2.6.32-754.el6.x86_64"
    facts = rpm_guest(
        {"/boot/grub/grub.conf": corpus("el6.grub.conf"), SYSCONFIG: "DEFAULTKERNEL=kernel\n"},
        [el(version)], initrd_options=frozenset(), machine={"init": "upstart"},
    )  # fmt: skip
    first = plan(facts)
    assert SYSCONFIG not in written(first), "it is what makes kernels of this name the default"
    assert "bootloader.pygrub-refuses" not in ids(first)
    _, pick = converted(facts, pygrub)
    assert pick.kernel == f"/vmlinuz-{version}"
    assert "rd_LVM_LV=vg_a/lv_root" in pick.args and pick.args.endswith(CONSOLES)


def test_sles_11(pygrub: ModuleType) -> None:
    version = "3.0.101-63-xen"
    xen = dataclasses.replace(
        EL5, version=version, image=f"/boot/vmlinuz-{version}", initrd=f"/boot/initrd-{version}"
    )
    facts = rpm_guest(
        {"/boot/grub/menu.lst": corpus("sles11.menu.lst"),
         SYSCONFIG: 'DOMU_INITRD_MODULES="xennet xenblk"\n',
         "/etc/inittab": "1:2345:respawn:/sbin/mingetty tty1\n"},
        [xen], distro=SUSE, initrd_tool="mkinitrd-suse", machine={"init": "sysvinit"},
        disks=[disk("sda", "ext4", "swap")], mounts=[mount("/", "sda1")],
    )  # fmt: skip
    after, pick = converted(facts, pygrub)
    assert pick.args == (
        "root=/dev/hda1 resume=/dev/hda2 splash=silent showopts "
        "xencons=xvc console=tty0 console=xvc0"
    )
    text = after.text("/boot/grub/menu.lst")
    assert "###Don't change this comment - YaST2 identifier: Original name: xen###\n" in text
    assert "xen.gz" not in text


# What cannot be


def test_a_boot_that_pygrub_cannot_read() -> None:
    """EL 8 and later: XFS v5."""
    parts = tuple(
        dataclasses.replace(part, fstype="xfs", quirk="XFS v5") for part in BOOT.partitions[:2]
    )
    facts = el9(disks=[dataclasses.replace(BOOT, partitions=parts)])
    found = said(plan(facts), "bootloader.pygrub-refuses")
    assert (found.level, "XFS v5" in found.message) == (Level.ERROR, True)


def test_pvgrub_finds_the_menu_by_another_name() -> None:
    facts = el9()
    (link,) = kinds(plan(facts, bootloader="pvgrub"), MakeLink)
    assert (link.path, link.target) == ("/boot/grub/grub.cfg", "../grub2/grub.cfg")
    assert kinds(plan(facts), MakeLink) == []
    after, _ = settle(facts, bootloader="pvgrub")
    linked = dataclasses.replace(after.files[GRUB2], target=link.target)
    again = dataclasses.replace(after, files={**after.files, link.path: linked})
    assert plan(again, bootloader="pvgrub").changes == ()


def test_grubenv_without_room_is_left() -> None:
    env = grubenv(kernelopts="root=/dev/sda2 " + "x" * 960)
    draft = run("bootloader", el9("$kernelopts", files={GRUBENV: env}))
    assert GRUBENV not in written(draft)
