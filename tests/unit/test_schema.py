"""The JSON document."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.building import GRUB_CFG, VERSION, guest, kernel, plan

from pvprep.errors import Exit, PvprepError
from pvprep.schema import document, dumps, failure


def read(facts: Any, ready: bool = False, config: str = "", **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document(plan(facts, **options), ready, config))
    return found


def test_the_keys_are_those_that_are_documented() -> None:
    found = read(guest())
    assert list(found) == ["version", "ready", "system", "findings", "changes", "pygrub", "config"]
    assert found["version"] == 1
    assert found["ready"] is False
    assert found["config"] is None
    assert found["system"] == {
        "name": "Debian GNU/Linux 12 (bookworm)", "userland": "amd64", "runs_as": "xen-hvm",
        "hypervisor": "Xen 4.17", "root": "/dev/sda1",
    }  # fmt: skip
    for finding in found["findings"]:
        assert list(finding) == ["id", "level", "message", "evidence", "where", "remedy"]
        assert finding["level"] in ("ok", "info", "warn", "error")
    for change in found["changes"]:
        assert list(change) == ["step", "kind", "what", "why"]
    assert {"WriteFile", "BuildInitrd"} == {change["kind"] for change in found["changes"]}
    assert found["pygrub"] == {
        "volume": "/dev/sda1", "config": GRUB_CFG, "entry": 0,
        "title": f"Debian GNU/Linux, with Linux {VERSION}",
        "kernel": f"/boot/vmlinuz-{VERSION}", "initrd": f"/boot/initrd.img-{VERSION}",
        "args": "root=/dev/xvda1 ro quiet console=tty0 console=hvc0",
    }  # fmt: skip


def test_a_refusal_and_a_config() -> None:
    found = read(guest(grub=False, mounts=[]), ready=True, config="name = 'x'\n")
    assert found["ready"] is True
    assert found["config"] == "name = 'x'\n"
    assert list(found["pygrub"]) == ["problem", "message", "where"]
    assert found["system"]["root"] is None


def test_a_package_to_be_installed() -> None:
    found = read(guest(kernels=[kernel(pv=False)]))
    (install,) = [one for one in found["changes"] if one["kind"] == "InstallPackages"]
    assert install["what"] == "install linux-image-amd64 or linux-image-cloud-amd64"


def test_any_byte_of_a_guest_can_be_told() -> None:
    found = read(guest({"/etc/fstab": b"/dev/sdz\xff1 / ext4\n/dev/sdz1 /\xfe ext4\n"}))
    assert any(one["id"] == "devices.unknown" for one in found["findings"])
    assert dumps("\udcff").isascii()


@pytest.mark.parametrize("status", list(Exit))
def test_a_failure_is_a_document_too(status: Exit) -> None:
    found = json.loads(failure(PvprepError("bad", "mend it", status)))
    assert found == {
        "version": 1, "ready": False,
        "error": {"message": "bad", "hint": "mend it", "status": status.value},
    }  # fmt: skip
