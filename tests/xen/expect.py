"""What it takes for a guest to be up in earnest, and to have been booted as pvprep foretold."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Union

from tests.guests import profiles
from tests.xen.cases import Case
from tests.xen.convert import Promise
from tests.xen.lab import Result

from pvprep.pygrub import Refusal


def assert_up(result: Result, case: Case, guest_type: str = "PV") -> None:
    """Root and swap are the case's, the network is up, no unit failed, and a login waits where the
    operator looks for it."""
    said = result.facts
    assert result.up and result.login and said, f"{result.error}\n{result.console[-3000:]}"
    assert (said.hypervisor, said.guest_type) == ("xen", guest_type)
    assert (said.state, said.failed) == ("running", ()), said.log
    assert (said.root, said.swap) == (case.root, (case.swap,))
    (nic,) = said.nics
    driver = "e1000" if guest_type == "HVM" else "vif"
    assert (nic.name, nic.state, nic.mac, nic.driver) == ("ens3", "up", profiles.MAC, driver)
    assert nic.address.startswith("10.77.0.") and nic.address.endswith("/24")
    assert said.consoles[-1] == "hvc0"
    assert result.off


def assert_down(result: Result, error: str) -> None:
    """It did not come up, for this reason."""
    assert not result.up and not result.login and result.facts is None, result.console[-3000:]
    assert result.error.startswith(error), result.dom0[-3000:] + result.console[-3000:]


def assert_picked(result: Result, promise: Union[Promise, Refusal], files: Path) -> None:
    """pygrub took what pvprep said that it would, or nothing where it said so.

    files: a directory with what is on the file system that pygrub reads.
    """
    expected = {}
    if isinstance(promise, Promise):
        taken = {"kernel": promise.kernel, "ramdisk": promise.initrd}
        expected = {
            name: digest(files / path.lstrip("/")) for name, path in taken.items() if path
        }
    assert result.pygrub == expected


def assert_told(result: Result, promise: Union[Promise, Refusal]) -> None:
    """The kernel that runs is the one that was promised, with the arguments that were."""
    assert result.facts and isinstance(promise, Promise)
    assert result.facts.cmdline == promise.args
    assert Path(promise.kernel).name == f"vmlinuz-{result.facts.kernel}"


def digest(file: Path) -> str:
    """SHA-256, as Result.pygrub has them."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
