"""What it takes for a guest to be up in earnest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.guests import profiles
from tests.xen.convert import Promise
from tests.xen.lab import Result


def assert_up(result: Result, guest_type: str) -> None:
    """The network is up too, no unit failed, and a login waits where the operator looks for it."""
    said = result.facts
    assert result.up and result.login and said, f"{result.error}\n{result.console[-3000:]}"
    assert (said.hypervisor, said.guest_type) == ("xen", guest_type)
    assert (said.state, said.failed) == ("running", ()), said.log
    (nic,) = said.nics
    assert (nic.name, nic.state, nic.mac, nic.driver) == ("ens3", "up", profiles.MAC, "vif")
    assert nic.address.startswith("10.77.0.") and nic.address.endswith("/24")
    assert said.consoles[-1] == "hvc0"
    assert result.off


def assert_picked(result: Result, root: Path, promise: Promise) -> None:
    """pygrub took what pvprep said that it would. root: with /boot, even if that lies elsewhere."""
    assert promise.initrd
    assert result.pygrub == {
        "kernel": digest(root / promise.kernel.lstrip("/")),
        "ramdisk": digest(root / promise.initrd.lstrip("/")),
    }


def assert_told(result: Result, promise: Promise) -> None:
    """The kernel that runs is the one that was promised, with the arguments that were."""
    assert result.facts
    assert result.facts.cmdline == promise.args
    assert Path(promise.kernel).name == f"vmlinuz-{result.facts.kernel}"


def digest(file: Path) -> str:
    """SHA-256, as Result.pygrub has them."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
