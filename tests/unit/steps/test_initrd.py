"""An initrd with the frontends, loaded first, proven by its content."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.unit.building import (
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

from pvprep.changes import BuildInitrd
from pvprep.draft import Draft
from pvprep.facts import Facts, InitrdProof
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
