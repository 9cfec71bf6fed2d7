"""Which kernel will boot, and why the others will not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.building import XENLINUX, guest, ids, kernel, kinds, run, said, written

from pvprep.changes import InstallPackages
from pvprep.facts import Distro
from pvprep.findings import Level


def test_a_capable_kernel_is_told_with_its_proof() -> None:
    draft = run("kernel", guest())
    assert ids(draft) == ["kernel.capable"]
    found = said(draft, "kernel.capable")
    assert found.level is Level.OK
    assert "PV and PVH" in found.message
    assert "xz payload: any Xen since 4.1" in found.message
    assert found.where == "/boot/vmlinuz-6.1.0-28-amd64"
    assert draft.changes() == ()


@pytest.mark.parametrize(
    ("compression", "since"),
    [("gzip", "4.0"), ("bzip2", "4.0"), ("lzma", "4.0"), ("xz", "4.1"), ("lzo", "4.1"),
     ("lz4", "4.4"), ("zstd", "4.15"), ("none", "4.0"), ("new", "?")],
)  # fmt: skip
def test_the_payload_says_which_xen(compression: str, since: str) -> None:
    facts = guest(kernels=[kernel(proof={"compression": compression, "pvh": False})])
    message = said(run("kernel", facts), "kernel.capable").message
    assert f"{compression} payload: any Xen since {since})" in message
    assert "boots PV (" in message


def test_the_configuration_is_the_second_witness() -> None:
    facts = guest(kernels=[kernel(config={"XEN_PV": "n"})])
    found = said(run("kernel", facts), "kernel.witnesses-disagree")
    assert found.level is Level.WARN
    assert found.where == "/boot/config-6.1.0-28-amd64"


def test_a_32_bit_kernel_needs_the_shim() -> None:
    draft = run("kernel", guest(kernels=[XENLINUX], machine={"userland": "i386"}))
    assert ids(draft) == ["kernel.capable", "kernel.pv32"]
    assert "pvshim=1" in said(draft, "kernel.pv32").remedy


@pytest.mark.parametrize(
    ("more", "type", "id"),
    [
        ({"pv": False, "config": {}}, "pv", "kernel.no-pv"),
        ({"pv": False}, "pv", "kernel.pvhvm-only"),
        ({"proof": {"pvh": False}}, "pvh", "kernel.no-pvh"),
        ({"modules": frozenset({"xen_blkfront"})}, "pv", "kernel.no-frontend"),
        ({"modules": frozenset()}, "pvh", "kernel.no-frontend"),
        ({"pv": False, "proof": {"problem": "no zstd"}}, "pv", "kernel.unproven"),
    ],
)
def test_why_a_kernel_will_not_do(more: dict[str, Any], type: str, id: str) -> None:
    draft = run("kernel", guest(kernels=[kernel(**more)]), type=type)
    assert ids(draft) == [id]
    assert said(draft, id).level is Level.INFO
    (change,) = kinds(draft, InstallPackages)
    assert change.one_of == ("linux-image-amd64", "linux-image-cloud-amd64")
    assert "/boot/grub/grub.cfg" in change.touches


def test_the_evidence_is_the_configuration() -> None:
    draft = run("kernel", guest(kernels=[kernel(pv=False)]))
    found = said(draft, "kernel.pvhvm-only")
    for line in ("CONFIG_XEN=y", "# CONFIG_XEN_PV is not set", "CONFIG_XEN_PVHVM=y"):
        assert line in found.evidence.split("; ")


def test_missing_frontends_are_named() -> None:
    draft = run("kernel", guest(kernels=[kernel(modules=frozenset())]))
    assert "has no xen_blkfront and no xen_netfront" in said(draft, "kernel.no-frontend").message


PVHVM = kernel(
    "5.14.0-503.el9.x86_64", pv=False, config_lines={"XEN": 410, "XEN_PV": 411, "XEN_PVHVM": 412}
)
UEK = "[ol9_UEKR7]\nname=x\nbaseurl=https://a.example/\nenabled={}\n"
ELREPO = "[elrepo-kernel]\nname=x\nmirrorlist=http://a.example/\nenabled=1\n"
REPO = "/etc/yum.repos.d/a.repo"


@pytest.mark.parametrize("version", ["8.10", "9.4", "10.0"])
def test_rhel_has_no_kernel_for_pv_and_here_is_the_proof(version: str) -> None:
    facts = guest(kernels=[PVHVM], distro=Distro("almalinux", version, like=("rhel", "fedora")))
    draft = run("kernel", facts)
    assert ids(draft) == ["kernel.pvhvm-only", "kernel.none"]
    found = said(draft, "kernel.none")
    assert found.level is Level.ERROR
    assert found.evidence == "# CONFIG_XEN_PV is not set"
    assert found.where == "/boot/config-5.14.0-503.el9.x86_64:411"
    for way in ("kernel-uek", "elrepo-kernel", "--kernel-package", "PVHVM"):
        assert way in found.remedy
    assert draft.changes() == ()


@pytest.mark.parametrize(
    ("distro", "repo", "names"),
    [
        (Distro("ol", "9.4", like=("fedora",)), UEK.format(1), ("kernel-uek",)),
        (Distro("rocky", "9.4", like=("rhel",)), ELREPO, ("kernel-ml", "kernel-lt")),
        (Distro("rhel", "7.9"), "", ("kernel",)),
        (Distro("rhel", "5.11"), "", ("kernel-xen",)),
        (Distro("centos", "6.10"), "", ("kernel",)),
        (Distro("fedora", "41"), "", ("kernel",)),
        (Distro("sles", "12.1"), "", ("kernel-xen",)),
        (Distro("sles", "12.5"), "", ("kernel-default",)),
        (Distro("suse", "11"), "", ("kernel-xen",)),
        (Distro("suse", "10.2"), "", ("kernel-xenpae", "kernel-xen")),
        (Distro("rhel", "4"), "", ("kernel-xenU",)),
        (Distro("opensuse-leap", "15.6", like=("suse",)), "", ("kernel-default",)),
        (Distro("opensuse-leap", "42.1", like=("suse",)), "", ("kernel-xen",)),
        (Distro("opensuse-tumbleweed", "20260101"), "", ("kernel-default",)),
    ],
)
def test_the_package_is_the_familys(distro: Distro, repo: str, names: tuple[str, ...]) -> None:
    facts = guest({REPO: repo}, kernels=[kernel(pv=False)], distro=distro)
    (change,) = kinds(run("kernel", facts), InstallPackages)
    assert change.one_of == names


@pytest.mark.parametrize(
    ("distro", "userland", "names"),
    [
        (Distro("debian", "4.0"), "i386", ("linux-image-2.6-xen-686",)),
        (Distro("debian", "5.0.10"), "amd64", ("linux-image-2.6-xen-amd64",)),
        (Distro("debian", "6.0.10"), "amd64", ("linux-image-2.6-amd64",)),
        (Distro("debian", "8.11"), "i386", ("linux-image-amd64", "linux-image-686-pae")),
        (Distro("debian", "10"), "i386", ("linux-image-amd64", "linux-image-amd64:amd64")),
        (Distro("debian", ""), "amd64", ("linux-image-amd64", "linux-image-cloud-amd64")),
        (Distro("ubuntu", "8.04"), "i386", ("linux-image-xen",)),
        (Distro("ubuntu", "12.04"), "i386",
         ("linux-image-virtual", "linux-image-generic-pae", "linux-image-server")),
        (Distro("ubuntu", "14.04"), "amd64", ("linux-image-virtual", "linux-image-generic")),
        (Distro("linuxmint", "9", like=("debian",)), "amd64",
         ("linux-image-amd64", "linux-image-generic")),
    ],
)  # fmt: skip
def test_the_package_of_debians_and_ubuntus_release(
    distro: Distro, userland: str, names: tuple[str, ...]
) -> None:
    facts = guest(
        kernels=[kernel(pv=False)], distro=distro, machine={"userland": userland}
    )
    draft = run("kernel", facts)
    (change,) = kinds(draft, InstallPackages)
    assert change.one_of == names
    learns = "/var/lib/dpkg/arch" in written(draft)
    assert learns == any(":" in name for name in names), "dpkg before 1.16 has no such file"


def test_a_32_bit_kernel_without_pae_will_not_do() -> None:
    facts = guest(kernels=[kernel(proof={"bits": 32, "no_pae": True})])
    assert ids(run("kernel", facts))[0] == "kernel.no-pae"


@pytest.mark.parametrize("repo", [UEK.format(0), "", "[ol9_UEKR7]\nname=x\n"])
def test_a_repository_counts_where_it_is_enabled(repo: str) -> None:
    facts = guest({REPO: repo}, kernels=[PVHVM], distro=Distro("ol", "9.4"))
    assert ids(run("kernel", facts)) == ["kernel.pvhvm-only", "kernel.none"]


def test_the_undo_knows_every_entry_that_is_there() -> None:
    entry = "/boot/loader/entries/0123-5.14.0.conf"
    facts = guest({entry: "title x\n"}, kernels=[PVHVM], distro=Distro("fedora", "41"))
    (change,) = kinds(run("kernel", facts), InstallPackages)
    assert {entry, "/boot/grub2/grubenv", "/etc/sysconfig/kernel"} <= set(change.touches)
    assert not [path for path in change.touches if "*" in path or "apt" in path]


def test_dpkg_learns_no_architecture_where_there_is_none() -> None:
    facts = guest(
        kernels=[kernel(pv=False)], distro=Distro("rhel", "6.10"), machine={"userland": "i386"}
    )
    (change,) = run("kernel", facts).changes()
    assert isinstance(change, InstallPackages)


def test_no_kernel_and_no_package_that_is_known() -> None:
    draft = run("kernel", guest(kernels=[], distro=Distro("void")))
    assert ids(draft) == ["kernel.none"]
    assert said(draft, "kernel.none").level is Level.ERROR
    assert draft.changes() == ()


def test_a_package_file_of_the_operator_goes_first() -> None:
    draft = run("kernel", guest(), kernel_packages=("/tmp/a.deb", "/tmp/b.deb"))
    (change,) = kinds(draft, InstallPackages)
    assert change.files == ("/tmp/a.deb", "/tmp/b.deb")
    assert change.one_of == ()
    assert change.why == ("install /tmp/a.deb", "install /tmp/b.deb")


def test_nothing_is_installed_where_something_stands_in_the_way() -> None:
    from tests.unit.building import context

    from pvprep.draft import Draft
    from pvprep.steps import kernel as step

    facts = guest(kernels=[])
    draft = Draft(facts)
    draft.say("boot.full", Level.ERROR, "full")
    step.plan(context(facts), draft)
    assert draft.changes() == ()


@pytest.mark.parametrize(
    ("compression", "xen", "fine"),
    [
        ("zstd", (4, 15), True), ("zstd", (4, 14), False), ("lz4", (4, 4), True),
        ("lz4", (4, 3), False), ("xz", (4, 1), True), ("gzip", (3, 2), False),
        ("unheard-of", (3, 2), True),
    ],
)  # fmt: skip
def test_a_kernel_that_dom0_cannot_unpack(
    compression: str, xen: tuple[int, int], fine: bool
) -> None:
    one = kernel(proof={"compression": compression})
    facts = guest(kernels=[one], machine={"hypervisor": "Xen {}.{}.3".format(*xen)})
    levels = {
        name: [finding.level for finding in draft.findings if finding.id == "kernel.dom0-too-old"]
        for name, draft in {
            "named": run("kernel", guest(kernels=[one]), xen=xen),
            "running": run("kernel", facts),
            "grub unpacks": run("kernel", facts, bootloader="pvgrub"),
            "the way back": run("kernel", facts, type="hvm", xen=xen),
            "another dom0": run("kernel", facts, xen=(9, 9)),
        }.items()
    }
    assert {name: found for name, found in levels.items() if found} == (
        {} if fine else {"named": [Level.ERROR], "running": [Level.WARN]}
    )


WITH_PV = ("xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64")
WITHOUT = WITH_PV[1:]


@pytest.mark.parametrize(
    ("capabilities", "options", "told"),
    [
        (WITHOUT, {}, True),
        (WITHOUT, {"bootloader": "pvgrub"}, True),
        (WITHOUT, {"xen": (4, 17)}, True),  # the one that it runs on
        (WITHOUT, {"xen": (4, 18)}, False),  # another host
        (WITHOUT, {"type": "pvh"}, False),
        (WITHOUT, {"type": "pvshim"}, False),
        (WITHOUT, {"type": "hvm"}, False),
        (("xen-3.0-x86_32p", *WITHOUT), {}, True),  # for 32-bit kernels only
        (WITH_PV, {}, False),
        ((), {}, False),  # it does not say
    ],
)
def test_a_host_without_pv(
    capabilities: tuple[str, ...], options: dict[str, Any], told: bool
) -> None:
    facts = guest(kernels=[kernel()], machine={"capabilities": capabilities})
    draft = run("kernel", facts, **options)
    assert ("kernel.host-without-pv" in ids(draft)) is told
    assert not draft.errors


def test_what_to_do_on_a_host_without_pv() -> None:
    facts = guest(kernels=[kernel(proof={"pvh": True})], machine={"capabilities": WITHOUT})
    found = said(run("kernel", facts), "kernel.host-without-pv")
    assert found.level is Level.WARN
    assert found.message.startswith("the host's Xen 4.17 runs no PV guests")
    assert found.evidence.endswith("capabilities: hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64")
    assert found.remedy == "--type pvh, or --type pvshim, which runs PV inside PVH"
    for kernels in ([kernel(proof={"pvh": False})], []):  # one that is yet to be installed, too
        facts = guest(kernels=kernels, machine={"capabilities": WITHOUT})
        found = said(run("kernel", facts), "kernel.host-without-pv")
        assert found.remedy == "--type pvshim, which runs PV inside PVH"


def test_a_32_bit_kernel_is_in_the_shim_on_a_host_without_pv() -> None:
    facts = guest(kernels=[kernel(proof={"bits": 32})], machine={"capabilities": WITHOUT})
    found = ids(run("kernel", facts))
    assert "kernel.pv32" in found
    assert "kernel.host-without-pv" not in found


def test_xenlinux_kernels_were_always_loaded() -> None:
    draft = run("kernel", guest(kernels=[XENLINUX]), xen=(3, 2))
    assert "kernel.dom0-too-old" not in ids(draft)
