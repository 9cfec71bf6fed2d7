"""A guest that is off, on its disk: converted from outside without running any of its code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.xen import cases, convert, lab, proof
from tests.xen.cases import GPT, LVM, MBR, XFS, Case
from tests.xen.expect import assert_picked, assert_told, assert_up

from pvprep.images import Request, attached

CASES = (MBR, GPT, XFS, LVM)


@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=pytest.mark.xen_all, id=repr(one)) for one in CASES]
)
def test_image_is_converted_and_boots_as_pv(case: Case, space: Path, tmp_path: Path) -> None:
    disk = cases.build(case, space, prepared=False).disk
    config = tmp_path / "bifit.cfg"
    promise = convert.emit_image(disk, config, "--attach", "loop")
    result = lab.boot(disk, config, tmp_path)
    _assert_booted(result, case, disk, promise)
    proof.leave(60 + CASES.index(case), case.name, "converted while it was off; PV", result)


@pytest.mark.xen_all
def test_qcow2_overlay_boots_as_pv_and_the_original_is_as_before(
    space: Path, tmp_path: Path
) -> None:
    raw = cases.build(MBR, space, prepared=False).disk
    original, config = space / "disk.qcow2", tmp_path / "bifit.cfg"
    _qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(original))
    before = original.read_bytes()
    convert.pvprep("--image", original, f"--emit-config={config}", "--memory", "384")
    assert original.read_bytes() == before
    (target,) = (word for word in config.read_text().split('"') if "target=" in word)
    overlay = Path(target.partition("target=")[2])
    assert "format=qcow2" in target and overlay != original
    # The lab's disks are raw.
    _qemu_img("convert", "-f", "qcow2", "-O", "raw", str(overlay), str(raw))
    edited = config.read_text().replace(str(overlay), lab.BACKEND).replace("=qcow2", "=raw")
    config.write_text(edited)
    result = lab.boot(raw, config, tmp_path)
    _assert_booted(result, MBR, raw, convert.promised_image(overlay))
    proof.leave(65, MBR.name, "qcow2, converted while it was off in an overlay; PV", result)


def _assert_booted(result: lab.Result, case: Case, disk: Path, promise: convert.Promise) -> None:
    assert_up(result, case)
    assert_told(result, promise)
    with attached(Request((str(disk),), "loop", True), print) as guest:
        assert_picked(result, promise, Path(guest.within("/boot" if case.names else "/")))


def _qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)
