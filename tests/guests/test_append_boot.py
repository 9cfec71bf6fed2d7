"""An appended initrd, unpacked by a real kernel: what is there then.

The machine is no Xen guest, so the drivers find no device. That they say so shows that modprobe
found them, with their index, in what the kernel made of both archives.
"""

from __future__ import annotations

import io
import re
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

# A shell of the initrd in place of its init script: what follows `--` is for it.
_SCRIPT = (
    "cat /conf/modules /conf/conf.d/resume /pvprep-appended; readlink /lib; "
    "for one in xen-blkfront xen-netfront; do /sbin/modprobe -v $one 2>&1; done; "
    "echo all said; sleep 600"
)
_ARGUMENTS = f'console=ttyS0 panic=1 rdinit=/bin/sh -- -c "{_SCRIPT}"'


@pytest.mark.guest
@pytest.mark.long
def test_the_kernel_unpacks_both_and_modprobe_finds_the_drivers(
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
        machine.wait_for(r"(?m)^all said", timeout=300)
        text = machine.text()
    assert "Initramfs unpacking failed" not in text
    assert "\nxen-blkfront\nxen-netfront\nRESUME=/dev/xvda2\n" in text
    assert "appended by pvprep" in text and "\nusr/lib\n" in text
    for name in ("xen-blkfront", "xen-netfront"):
        assert re.search(rf"insmod /lib/modules/\S+/{name}\.ko", text)
        assert f"could not insert '{name.replace('-', '_')}': No such device" in text
