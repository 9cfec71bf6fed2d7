"""A kernel from outside: before all others, said with its size, and never in place of another."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.unit import building
from tests.unit.building import GIB, MENU_LST, XENLINUX, guest, ids, kernel, kinds, run, said

from pvprep import plan as plans
from pvprep.changes import BuildInitrd, InstallPackages, PlaceKernel, WriteFile
from pvprep.facts import Facts, Kernel, Offer, Space
from pvprep.findings import Level
from pvprep.options import Options
from pvprep.plan import Plan
from pvprep.pygrub import Pick

V = "6.1.0-99-amd64"
MIB = 1024 * 1024
UNABLE = kernel("4.19.0-1-686", pv=False)


def offer(one: Kernel, **more: Any) -> Offer:
    """The kernel, new to the guest."""
    version = one.version
    return Offer(
        dataclasses.replace(one, initrd=""),
        **{
            "source": "/srv/k.deb",
            "modules": f"/usr/lib/modules/{version}",
            "boot": {f"/boot/{what}-{version}": "0" for what in ("config", "vmlinuz")},
            "modules_size": 300 * MIB,
            "boot_size": 9 * MIB,
            "files": 4000,
            **more,
        },
    )


OFFER = offer(kernel(V))


def facts(*offers: Offer, **more: Any) -> Facts:
    """A guest whose own kernel cannot boot PV."""
    return dataclasses.replace(guest(kernels=more.pop("kernels", [UNABLE]), **more), offers=offers)


def plan(found: Facts) -> Plan:
    return plans.make(found, Options(kernel_from="/srv/k.deb"))


def place(found: Plan) -> PlaceKernel:
    (change,) = [one for one in found.changes if isinstance(one, PlaceKernel)]
    return change


def test_it_is_placed_and_its_initrd_and_entry_are_made_in_the_same_plan() -> None:
    found = plan(facts(OFFER, files={building.GRUB_CFG: building.grub_cfg(
        building.entry("4.19.0-1-686"))}))  # fmt: skip
    kinds = [type(change) for change in found.changes]
    assert kinds.index(PlaceKernel) < kinds.index(BuildInitrd)
    assert kinds[-1] is WriteFile
    menu = found.changes[-1]
    assert isinstance(menu, WriteFile) and menu.path == building.GRUB_CFG
    assert InstallPackages not in kinds
    assert not found.errors
    assert isinstance(found.pick, Pick) and found.pick.index == 0
    assert found.pick.kernel == f"/boot/vmlinuz-{V}"
    assert found.pick.initrd == f"/boot/initrd.img-{V}"
    assert b"vmlinuz-4.19.0-1-686 root=/dev/sda1 ro quiet\n" in menu.content  # the way back


def test_the_plan_says_where_it_comes_from_and_its_size() -> None:
    change = place(plan(facts(OFFER)))
    assert change.why == (
        f"kernel {V} from /srv/k.deb",
        f"/boot/config-{V}, /boot/vmlinuz-{V} made (9 MiB)",
        f"/usr/lib/modules/{V} made (4000 files, 300 MiB)",
    )
    assert change.frontends == ("xen-blkfront", "xen-netfront")
    builtin = offer(kernel(V, builtin=frozenset({"xen_blkfront"})))
    assert place(plan(facts(builtin))).frontends == ("xen-netfront",)


def test_grub_legacy_gets_a_stanza_that_is_first_and_the_others_stay() -> None:
    old = building.stanza("4.19.0-1-686")
    found = plan(facts(OFFER, grub=False, files={MENU_LST: f"default 1\ntimeout 5\n\n{old}"}))
    (menu,) = [one for one in found.changes if isinstance(one, WriteFile) and one.path == MENU_LST]
    text = menu.content.decode()
    assert text.startswith("default 0\n")
    assert text.index(f"title Linux {V} (Xen PV)\n\troot (hd0,0)\n\tkernel /boot/vmlinuz-{V} ") \
        < text.index(old)  # fmt: skip
    assert f"\tinitrd /boot/initrd.img-{V}\n" in text
    assert isinstance(found.pick, Pick) and found.pick.kernel == f"/boot/vmlinuz-{V}"


def test_where_no_menu_is_there_is_one_then() -> None:
    found = plan(facts(OFFER, grub=False, kernels=[]))
    assert not found.errors
    assert isinstance(found.pick, Pick)
    assert (found.pick.config, found.pick.kernel) == (building.GRUB_CFG, f"/boot/vmlinuz-{V}")


def test_it_goes_before_a_kernel_that_could_boot_and_before_packages() -> None:
    found = facts(OFFER, kernels=[kernel()])
    assert place(plan(found)).version == V
    both = Options(kernel_from="/srv/k.deb", kernel_packages=("/srv/x.deb",))
    assert not [one for one in plans.make(found, both).changes if isinstance(one, InstallPackages)]


def test_where_it_is_there_already_nothing_is_placed() -> None:
    there = offer(kernel(V), modules="", boot={})
    found = plan(facts(there, kernels=[kernel(V), kernel("6.1.0-100-amd64")]))
    assert not [one for one in found.changes if isinstance(one, PlaceKernel)]
    assert found.context.target == kernel(V)


def test_of_several_the_newest_that_can_boot() -> None:
    offers = (offer(kernel("6.1.0-98")), OFFER, offer(kernel("6.12.0-1", pv=False)))
    assert place(plan(facts(*offers))).version == V


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "no notes": ({"pv": False}, "no PV entry point"),
    "no frontends": ({"modules": frozenset()}, "no xen_blkfront and no xen_netfront"),
    "unreadable": ({"pv": False, "proof": {"problem": "no zstd"}}, "no zstd"),
    "32 bits": ({"proof": {"bits": 32}}, "32-bit kernel"),
    "another": ({"proof": {"version": "6.1.0-98-amd64 (x) #1"}}, "says that it is 6.1.0-98-amd64"),
}


@pytest.mark.parametrize(("more", "says"), UNFIT.values(), ids=UNFIT)
def test_a_kernel_that_will_not_do_is_refused(more: dict[str, Any], says: str) -> None:
    found = facts(offer(kernel(V, **more)), kernels=[kernel()])
    draft = run("kernel", found)
    refusal = said(draft, "kernel.from-unfit")
    assert refusal.level is Level.ERROR and says in refusal.message
    assert "/srv/k.deb" in refusal.message
    assert draft.changes() == ()


def test_pvh_asks_for_another_entry() -> None:
    draft = run("kernel", facts(offer(kernel(V, proof={"pvh": False}))), type="pvh")
    assert "PHYS32_ENTRY" in said(draft, "kernel.from-unfit").message


@pytest.mark.parametrize("one", [kernel(V), XENLINUX], ids=["64 bits", "XenLinux"])
def test_a_32_bit_guest_takes_both(one: Kernel) -> None:
    draft = run("kernel", facts(offer(one), machine={"userland": "i386"}))
    (change,) = kinds(draft, PlaceKernel)
    assert change.version == one.version
    assert ("kernel.pv32" in ids(draft)) is (one is XENLINUX)
    assert change.frontends[0] == ("xenblk" if one is XENLINUX else "xen-blkfront")


def test_another_kernel_of_the_same_name_is_left_alone() -> None:
    clash = offer(kernel(V), modules="", clash=f"/usr/lib/modules/{V}/kernel/a.ko")
    draft = run("kernel", facts(clash))
    refusal = said(draft, "kernel.from-clash")
    assert refusal.level is Level.ERROR and "kernel/a.ko differs" in refusal.message
    assert kinds(draft, PlaceKernel) == []


@pytest.mark.parametrize(
    ("spaces", "id"),
    [
        ({"/usr": Space("/usr", 300 * MIB, 99999)}, "fs.full"),
        ({"/boot": Space("/boot", 16 * MIB, 99999)}, "boot.full"),
        ({"/usr": Space("/usr", 9 * GIB, 4000)}, "fs.no-inodes"),
        ({"/": Space("/", 300 * MIB, 4000)}, ""),
    ],
)
def test_it_has_to_find_room(spaces: dict[str, Space], id: str) -> None:
    rest = {path: Space(path, 9 * GIB, 99999) for path in ("/", "/boot", "/usr", "/var/lib")}
    found = dataclasses.replace(facts(OFFER), spaces={**rest, **spaces})
    assert ids(run("preflight", found)) == ([id] if id else [])


def test_modules_beside_a_lib_of_its_own_take_room_there() -> None:
    found = facts(offer(kernel(V), modules=f"/lib/modules/{V}"))
    found = dataclasses.replace(found, spaces={"/": Space("/", 300 * MIB, 99999)})
    assert ids(run("preflight", found)) == ["fs.full"]
