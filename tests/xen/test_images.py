"""A guest that is off, on its disk: converted from outside without running any of its code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.xen import cases, convert, lab, proof
from tests.xen.cases import GPT, LVM, MBR, XFS, Case
from tests.xen.expect import assert_told, assert_up

CASES = (MBR, GPT, XFS, LVM)


@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=pytest.mark.xen_all, id=repr(one)) for one in CASES]
)
def test_image_is_converted_and_boots_as_pv(case: Case, space: Path, tmp_path: Path) -> None:
    disk = cases.build(case, space, prepared=False).disk
    config = tmp_path / "bifit.cfg"
    promise = convert.emit_image(disk, config, "--attach", "loop")
    result = lab.boot(disk, config, tmp_path)
    assert_up(result, "PV")
    assert_told(result, promise)
    assert result.facts and (result.facts.root, result.facts.swap) == (case.root, (case.swap,))
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
    assert result.up and result.facts and result.facts.guest_type == "PV"
    assert result.facts.root == MBR.root
    proof.leave(65, MBR.name, "qcow2, converted while it was off in an overlay; PV", result)


def _qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)
