"""Guests with other disks, boot loaders and user spaces, prepared or not, under a real Xen."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest
from tests.guests import images
from tests.xen import cases, lab, proof
from tests.xen.cases import GPT, I386, Case
from tests.xen.expect import assert_down, assert_picked, assert_told, assert_up

from pvprep.pygrub import Refusal, Volume, choose

OTHERS = tuple(case for case in cases.ALL if case is not cases.MBR)
# No kernel of this one can boot PV: it is xl that stops.
WITH_A_KERNEL = tuple(case for case in OTHERS if case is not I386)


@pytest.mark.xen_all
@pytest.mark.parametrize("case", OTHERS, ids=repr)
def test_prepared_guest_boots_as_pv(case: Case, space: Path, tmp_path: Path) -> None:
    built = cases.build(case, space)
    result = lab.boot(built.disk, built.config, tmp_path)
    assert_up(result, case)
    assert_picked(result, built.promise, built.boot)
    assert_told(result, built.promise)
    assert result.facts and result.facts.arch == "x86_64"
    proof.leave(20 + OTHERS.index(case), case.name, "PV, pygrub", result)


@pytest.mark.xen_all
@pytest.mark.parametrize("case", WITH_A_KERNEL, ids=repr)
def test_unprepared_guest_does_not_boot_as_pv(case: Case, space: Path, tmp_path: Path) -> None:
    built = cases.build(case, space, prepared=False)
    result = lab.boot(built.disk, built.config, tmp_path)
    assert_down(result, case.lost)
    assert_picked(result, built.promise, built.boot)
    proof.leave(82 + OTHERS.index(case), case.name, "PV, not prepared", result)


@pytest.mark.xen_all
def test_unprepared_32_bit_kernel_is_refused_by_xl(space: Path, tmp_path: Path) -> None:
    built = cases.build(I386, space, prepared=False)
    result = lab.boot(built.disk, built.config, tmp_path)
    assert not result.up and result.console == ""
    assert I386.lost in result.error
    assert_picked(result, built.promise, built.boot)
    proof.leave(82 + OTHERS.index(I386), I386.name, "PV, not prepared", result)


@pytest.mark.xen_all
def test_stale_menu_on_the_first_partition_is_what_pygrub_takes(
    space: Path, tmp_path: Path
) -> None:
    built = cases.build(GPT, space)
    # Left from before /boot became a partition of its own; hidden under it ever since.
    (built.root / "boot/grub").mkdir()
    menu = (built.boot / "grub/grub.cfg").read_text().replace("/vmlinuz-", "/boot/vmlinuz-0")
    (built.root / "boot/grub/grub.cfg").write_text(menu)
    foretold = choose([_volume(built.root), _volume(built.boot)])
    assert isinstance(foretold, Refusal)
    images.boot_apart(built.root, built.boot, built.disk, root_first=True)
    result = lab.boot(built.disk, built.config, tmp_path)
    assert not result.up and result.console == ""
    assert result.error.startswith("Error opening /boot/vmlinuz-0")
    assert_picked(result, foretold, built.boot)
    proof.leave(90, GPT.name, "PV, prepared, but an older menu on the partition before", result)


def _volume(directory: Path) -> Volume:
    """A file system with what is in the directory."""

    def read(path: str) -> Optional[bytes]:
        file = directory / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def size(path: str) -> Optional[int]:
        content = read(path)
        return None if content is None else len(content)

    return Volume(directory.name, "ext4", read, size)
