"""An initrd with the frontends, loaded first, proven by its content."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.unit.building import (
    DEBIAN,
    DRACUT_OPTIONS,
    REDHAT,
    SUSE,
    VERSION,
    XENLINUX,
    context,
    disk,
    guest,
    ids,
    kernel,
    kinds,
    plan,
    run,
    said,
    settle,
    written,
)

from pvprep.changes import BuildInitrd, InstallPackages, WriteFile
from pvprep.draft import Draft
from pvprep.facts import Distro, Facts, InitrdProof, Kernel
from pvprep.findings import Level
from pvprep.steps import initrd

IMAGE = f"/boot/initrd.img-{VERSION}"
MODULES = "/etc/initramfs-tools/modules"
DRACUT = "/etc/dracut.conf.d/90-pvprep.conf"
GOOD = InitrdProof(
    kind="initramfs-tools",
    modules=frozenset({"xen_blkfront", "xen_netfront", "ext4"}),
    versions=(VERSION,),
    preload=("xen_blkfront", "xen_netfront"),
)
XVDA = disk("xvda", "ext4", "swap")
LISTED = "xen-blkfront\nxen-netfront\n"


def with_proof(proof: InitrdProof = GOOD, files: Any = None, **more: Any) -> Facts:
    """A guest that says xvda, so that the initrd is all that may lack."""
    files = {MODULES: LISTED, **(files or {})}
    return guest(files, disks=[XVDA], initrds={IMAGE: proof}, **more)


def lacks(proof: InitrdProof, **more: Any) -> list[str]:
    facts = with_proof(proof, **more)
    return list(initrd.problems(context(facts), Draft(facts), proof))


def test_a_proven_initrd_is_left() -> None:
    draft = run("initrd", with_proof())
    assert draft.changes() == ()
    assert said(draft, "initrd.proven").where == IMAGE


def test_the_builders_list_is_set_and_the_image_built() -> None:
    draft = run("initrd", guest())
    assert written(draft)[MODULES] == "# none\nxen-blkfront\nxen-netfront\n"
    (build,) = kinds(draft, BuildInitrd)
    assert (build.version, build.path, build.tool) == (VERSION, IMAGE, "initramfs-tools")
    assert "lacks xen_blkfront" in build.why[0]
    assert "initrd.proven" not in ids(draft)


def test_a_list_that_is_missing_is_made() -> None:
    facts = guest()
    files = {path: entry for path, entry in facts.files.items() if path != MODULES}
    draft = run("initrd", dataclasses.replace(facts, files=files))
    assert written(draft)[MODULES] == LISTED


def test_dracut_has_a_file_of_its_own() -> None:
    facts = guest(initrd_tool="dracut")
    texts = written(run("initrd", facts))
    assert 'force_drivers+=" xen-blkfront xen-netfront "\n' in texts[DRACUT]
    assert MODULES not in texts
    assert plan(settle(facts)[0]).changes == ()


def test_xenlinux_has_other_frontends() -> None:
    assert written(run("initrd", guest(kernels=[XENLINUX])))[MODULES].endswith("xenblk\nxennet\n")


def test_without_a_builder_nothing_can_be_done() -> None:
    draft = run("initrd", guest(initrd_tool=""))
    assert ids(draft) == ["initrd.no-builder"]
    assert said(draft, "initrd.no-builder").level is Level.ERROR
    assert draft.changes() == ()


def test_before_a_kernel_is_installed_the_list_is_set_and_nothing_built() -> None:
    planned = plan(guest(kernels=[kernel(pv=False)]))
    assert MODULES in written(planned)
    assert kinds(planned, BuildInitrd) == []


def test_a_package_of_the_operator_builds_its_own() -> None:
    assert kinds(plan(guest(), kernel_packages=("/k.deb",)), BuildInitrd) == []


def test_a_kernel_without_initrd_gets_one() -> None:
    (build,) = kinds(run("initrd", guest(kernels=[kernel(initrd="")])), BuildInitrd)
    assert build.path == IMAGE
    assert build.why == (f"{VERSION} has no initrd",)


@pytest.mark.parametrize(
    ("proof", "words"),
    [
        ({"problem": "cut short"}, ["could not be read: cut short"]),
        ({"modules": frozenset({"xen_netfront"})}, ["lacks xen_blkfront"]),
        ({"preload": ()}, ["loads nothing first, not xen_blkfront and xen_netfront"]),
        ({"preload": ("e1000", "xen_blkfront", "xen_netfront")},
         ["loads e1000, xen_blkfront, xen_netfront first, not xen_blkfront and xen_netfront"]),
        ({"preload": ("xen_netfront", "xen_blkfront", "e1000")}, []),
        ({"versions": ("5.10",)}, ["has modules for 5.10 only"]),
        ({"versions": ("5.10", VERSION)}, []),
        ({"versions": ()}, []),
        ({"resume": "/dev/xvda2"}, []),
        ({"resume": "UUID=12"}, []),
    ],
)  # fmt: skip
def test_what_an_initrd_may_lack(proof: dict[str, Any], words: list[str]) -> None:
    assert lacks(dataclasses.replace(GOOD, **proof)) == words


def test_a_resume_device_of_the_hvm_guest() -> None:
    facts = guest()
    proof = dataclasses.replace(GOOD, resume="/dev/sda2")
    found = list(initrd.problems(context(facts), Draft(facts), proof))
    assert found == ["resumes from /dev/sda2, which a PV guest does not have"]


@pytest.mark.parametrize("preload", [("xen_netfront",), ("xen_blkfront", "xen_netfront")])
def test_what_is_built_in_need_not_be_inside(preload: tuple[str, ...]) -> None:
    """And where it is listed all the same, that does no harm."""
    one = kernel(builtin=frozenset({"xen_blkfront"}), modules=frozenset({"xen_netfront"}))
    proof = dataclasses.replace(GOOD, modules=frozenset({"xen_netfront"}), preload=preload)
    assert lacks(proof, kernels=[one]) == []


def test_both_built_in_need_nothing() -> None:
    one = kernel(builtin=frozenset({"xen_blkfront", "xen_netfront"}), modules=frozenset())
    assert lacks(InitrdProof(versions=("none",)), kernels=[one]) == []


@pytest.mark.parametrize("listed", ["xen-netfront\nxen-blkfront\n", "xen_blkfront\nxen_netfront\n"])
def test_a_list_in_any_order_settles(listed: str) -> None:
    facts, first = settle(guest({MODULES: listed}))
    assert MODULES not in written(first)
    assert plan(facts).changes == ()


def test_a_change_of_what_is_copied_asks_for_a_new_image() -> None:
    """The .link file of the network step is one such file."""
    facts = with_proof()
    (build,) = kinds(plan(facts), BuildInitrd)
    assert build.why == (
        f"{IMAGE} is older than what it is built from: "
        "/etc/systemd/network/10-pvprep-00163e123456.link",
    )


def test_the_rule_for_names_has_to_be_inside_as_it_is_now() -> None:
    path = "/etc/udev/rules.d/59-pvprep-names.rules"
    old = dataclasses.replace(GOOD, files={path[1:]: b"old"})
    assert lacks(old, files={path: "new"}) == [f"lacks {path} as it is now"]
    assert lacks(old, files={path: "old"}) == []
    assert lacks(GOOD, files={path: "new"}) == [f"lacks {path} as it is now"]
    assert lacks(old) == []


# The RPM family

SUSE_CONF = "/etc/sysconfig/kernel"
EL5_XEN = dataclasses.replace(XENLINUX, version="2.6.18-398.el5xen", initrd="")


def test_debians_dracut_is_told_no_more_than_it_was() -> None:
    text = written(run("initrd", guest(initrd_tool="dracut")))[DRACUT]
    assert "hostonly" not in text


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (frozenset(), ['add_drivers+=" xen-blkfront xen-netfront "']),  # 004, EL 6
        ({"hostonly_cmdline", "install_items"},  # 033, EL 7
         ['add_drivers+=" xen-blkfront xen-netfront "', 'hostonly_cmdline="no"']),
        (DRACUT_OPTIONS,
         ['force_drivers+=" xen-blkfront xen-netfront "', 'hostonly_mode="sloppy"',
          'hostonly_cmdline="no"']),
    ],
)  # fmt: skip
def test_dracut_is_told_what_it_knows(options: frozenset[str], settings: list[str]) -> None:
    facts = guest(distro=REDHAT, initrd_tool="dracut", initrd_options=frozenset(options))
    text = written(run("initrd", facts))[DRACUT]
    assert [line for line in text.split("\n") if line and line[0] != "#"] == settings


def test_an_old_dracut_leaves_the_loading_to_udev() -> None:
    inside = dataclasses.replace(GOOD, kind="dracut", preload=())
    assert lacks(inside, initrd_tool="dracut", initrd_options=frozenset()) == []
    assert lacks(inside, initrd_tool="dracut") == [
        "loads nothing first, not xen_blkfront and xen_netfront"
    ]
    assert "lacks xen_blkfront" in lacks(
        InitrdProof(kind="dracut"), initrd_tool="dracut", initrd_options=frozenset()
    )


def test_an_old_dracut_settles() -> None:
    facts = guest(distro=REDHAT, initrd_tool="dracut", initrd_options=frozenset())
    proof = InitrdProof(kind="dracut", modules=GOOD.modules, versions=(VERSION,))
    built = dataclasses.replace(settle(facts)[0], initrds={IMAGE: proof})
    assert plan(built).changes == ()
    assert said(plan(built), "initrd.proven").message.endswith("inside and loaded")


@pytest.mark.parametrize(
    ("distro", "tool", "path"),
    [
        (REDHAT, "dracut", "/boot/initramfs-{}.img"),
        (REDHAT, "mkinitrd", "/boot/initrd-{}.img"),
        (SUSE, "mkinitrd-suse", "/boot/initrd-{}"),
        (SUSE, "dracut", "/boot/initrd-{}"),
    ],
)
def test_an_initrds_name_is_the_distributions(distro: Distro, tool: str, path: str) -> None:
    facts = guest(distro=distro, initrd_tool=tool, kernels=[kernel(initrd="")])
    (build,) = kinds(run("initrd", facts), BuildInitrd)
    assert build.path == path.format(VERSION)


def test_an_initrd_that_is_there_keeps_its_name() -> None:
    one = kernel(initrd="/boot/initrd-2.6.18-8.el5xenU.img")
    facts = guest(distro=REDHAT, initrd_tool="mkinitrd", kernels=[one])
    (build,) = kinds(run("initrd", facts), BuildInitrd)
    assert build.path == one.initrd


def test_red_hats_mkinitrd_is_told_on_its_command_line() -> None:
    facts = guest(distro=REDHAT, initrd_tool="mkinitrd", kernels=[EL5_XEN])
    draft = run("initrd", facts)
    assert written(draft) == {}
    (build,) = kinds(draft, BuildInitrd)
    assert (build.tool, build.path) == ("mkinitrd", "/boot/initrd-2.6.18-398.el5xen.img")


def test_mkinitrds_initrds_load_what_they_list() -> None:
    among = dataclasses.replace(
        GOOD, kind="mkinitrd", versions=(), preload=("ehci_hcd", "xen_netfront", "xen_blkfront")
    )
    assert lacks(among, initrd_tool="mkinitrd", distro=REDHAT) == []
    bare = dataclasses.replace(among, preload=("ehci_hcd", "xen_blkfront"))
    assert lacks(bare, initrd_tool="mkinitrd", distro=REDHAT) == ["does not load xen_netfront"]


def test_nash_goes_by_fstab() -> None:
    """The root and the swap that its initrd names come from there."""
    proof = dataclasses.replace(GOOD, kind="mkinitrd")
    facts = guest(
        {"/etc/fstab": "/dev/sda1 / ext3 defaults 1 1\n"}, distro=REDHAT, initrd_tool="mkinitrd",
        initrds={IMAGE: proof}, nics=(),
    )  # fmt: skip
    (build,) = kinds(plan(facts), BuildInitrd)
    assert "/etc/fstab" in build.why[0]
    other = dataclasses.replace(facts, initrd_tool="initramfs-tools", distro=DEBIAN)
    (build,) = kinds(plan(other), BuildInitrd)
    assert "/etc/fstab" not in build.why[0]


@pytest.mark.parametrize(
    ("target", "before", "after"),
    [
        (EL5_XEN, 'INITRD_MODULES="piix  ext3"\n',
         'INITRD_MODULES="piix  ext3"\nDOMU_INITRD_MODULES="xenblk xennet"\n'),
        (EL5_XEN, 'DOMU_INITRD_MODULES="xennet xenblk"\n', ""),
        (kernel(), 'INITRD_MODULES="piix  ext3"\n',
         'INITRD_MODULES="piix  ext3 xen-blkfront xen-netfront"\n'),
        (kernel(), 'INITRD_MODULES=""\n', 'INITRD_MODULES="xen-blkfront xen-netfront"\n'),
    ],
)  # fmt: skip
def test_suses_mkinitrd_has_its_lists(target: Kernel, before: str, after: str) -> None:
    facts = guest(
        {SUSE_CONF: before}, distro=SUSE, initrd_tool="mkinitrd-suse", kernels=[target]
    )
    assert written(run("initrd", facts)).get(SUSE_CONF, "") == after


def test_without_a_builder_the_remedy_is_the_distributions() -> None:
    for distro, words in ((REDHAT, "dnf install dracut"), (SUSE, "zypper install dracut")):
        draft = run("initrd", guest(distro=distro, initrd_tool=""))
        assert said(draft, "initrd.no-builder").remedy == words


def test_dracut_is_configured_before_a_kernels_package_brings_it() -> None:
    facts = guest(distro=REDHAT, initrd_tool="", kernels=[kernel(pv=False)])
    draft = Draft(facts)
    draft.install(InstallPackages("kernel", names=("kernel",)))
    initrd.plan(context(facts), draft)
    assert [type(change) for change in draft.changes()] == [WriteFile, InstallPackages]
    assert DRACUT in written(draft)
