"""Which kernel is the target, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.building import UUID, XENLINUX, context, guest, kernel

from pvprep.context import can_boot, choose_kernel, missing_frontends
from pvprep.facts import Kernel
from pvprep.options import Options

OLD, NEW = kernel("6.1.0"), kernel("6.12.0")
BOTH = frozenset({"xen_blkfront", "xen_netfront"})


@pytest.mark.parametrize(
    ("kernels", "picked", "chosen"),
    [
        ([OLD, NEW], "", NEW),
        ([OLD, NEW], OLD.image, OLD),
        ([OLD, NEW], "/boot/gone", NEW),
        ([OLD, kernel("6.12.0", pv=False)], "/boot/vmlinuz-6.12.0", OLD),
        ([kernel(pv=False)], "", None),
        ([], "", None),
    ],
)
def test_the_kernel_booted_by_default_or_the_newest(
    kernels: list[Kernel], picked: str, chosen: Kernel | None
) -> None:
    assert choose_kernel(guest(kernels=kernels), Options(), picked) == chosen


@pytest.mark.parametrize(
    ("more", "pv", "pvh"),
    [
        ({}, True, True),
        ({"proof": {"pvh": False}}, True, False),
        ({"proof": {"pv": False}}, False, True),
        ({"modules": frozenset({"xen_blkfront"})}, False, False),
        ({"modules": frozenset(), "builtin": BOTH}, True, True),
        ({"modules": frozenset({"xen_netfront"}), "builtin": frozenset({"xen_blkfront"})}, True,
         True),
        ({"modules": frozenset({"xenblk", "xennet"})}, False, False),
    ],
)  # fmt: skip
def test_it_takes_the_entry_point_and_both_frontends(
    more: dict[str, Any], pv: bool, pvh: bool
) -> None:
    assert can_boot(kernel(**more), "pv") == pv
    assert can_boot(kernel(**more), "pvh") == pvh


def test_xenlinux_has_other_frontends() -> None:
    assert can_boot(XENLINUX, "pv")
    bare = kernel(config={"X86_64_XEN": "y"}, modules=frozenset())
    assert list(missing_frontends(bare)) == ["xenblk", "xennet"]
    assert can_boot(kernel(config={"X86_64_XEN": "y"}), "pv"), "or those of today, if it has them"
    assert kernel(config={}, modules=frozenset({"xenblk"})).xenlinux, "without a configuration"
    assert not kernel(config={}).xenlinux
    assert list(missing_frontends(kernel(modules=frozenset()))) == ["xen_blkfront", "xen_netfront"]


def test_what_follows_from_the_line_of_kernel() -> None:
    new, old, none = (context(guest(kernels=k)) for k in ([kernel()], [XENLINUX], []))
    assert (new.console, new.frontends) == ("hvc0", ("xen-blkfront", "xen-netfront"))
    assert (old.console, old.frontends) == ("xvc0", ("xenblk", "xennet"))
    assert (none.console, none.frontends) == (new.console, new.frontends)
    assert new.translate("/dev/sda1") == "/dev/xvda1"
    assert old.translate("/dev/sda1") == "/dev/hda1"


@pytest.mark.parametrize(
    ("names", "new"),
    [("auto", "/dev/xvda1"), ("xvd", "/dev/xvda1"), ("hd", "/dev/hda1"), ("uuid", f"UUID={UUID}")],
)
def test_names_that_are_asked_for(names: str, new: str) -> None:
    assert context(guest(), device_names=names).translate("/dev/sda1") == new


@pytest.mark.parametrize(("userland", "bits"), [("amd64", 64), ("i386", 32), ("arm64", 0), ("", 0)])
def test_bits_of_the_user_space(userland: str, bits: int) -> None:
    assert context(guest(machine={"userland": userland})).userland_bits == bits
