"""An appended initrd, unpacked by a real kernel: what is in it then, and what is tried first.

The machine is no Xen guest, so the drivers find no device. That they say so shows that modprobe
found them, with their index, in what the kernel made of both archives.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from tests.guests import profiles, roots
from tests.guests.qemu import Qemu
from tests.roots.runs import version

from pvprep import converge
from pvprep.guest import Guest
from pvprep.options import Options
from pvprep.report import Screen

# initramfs-tools(7): the init script says all that it does.
_ARGUMENTS = "console=ttyS0 debug=vc root=/dev/xvda1 ro panic=1"


@pytest.mark.guest
def test_the_kernel_unpacks_both_and_the_drivers_are_tried_first(
    space: Path, tmp_path: Path
) -> None:
    root = space / "root"
    roots.unpack(roots.build_profile(profiles.BOOKWORM), root)
    options = Options(initrd="append")
    assert converge.prepare(Guest(str(root)), options, Screen(io.StringIO())).ready
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(root / f"boot/{name}-{version(root)}", tmp_path / name)
    argv = ["-cpu", "max", "-smp", "2", "-m", "512", "-nic", "none"]
    argv += ["-kernel", str(tmp_path / "vmlinuz"), "-initrd", str(tmp_path / "initrd.img")]
    with Qemu([*argv, "-append", _ARGUMENTS], tmp_path) as machine:
        machine.wait_for(r"RESUME=/dev/xvda2", timeout=300)
        machine.wait_for(r"modprobe: ERROR: could not insert 'xen_netfront': No such device", 120)
        text = machine.text()
    assert "Initramfs unpacking failed" not in text
    assert "rootfs image is not initramfs" not in text
    tried = [text.index(f"could not insert '{name}'") for name in ("xen_blkfront", "xen_netfront")]
    assert tried == sorted(tried)
