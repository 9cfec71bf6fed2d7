"""The main job, on a guest that really runs: fully virtualised, IDE disk, e1000, a real BIOS GRUB.

pvprep is installed from its package and run inside; then the guest boots as HVM again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.guests import debs, images, job, profiles, roots

_PREPARE = """
dpkg -i /job/pvprep.deb >/job/dpkg.log 2>&1 || exit 90
systemctl is-enabled pvprep-boot.service >/job/unit
pvprep check >/job/check.out 2>/job/check.err; echo $? >/job/check.status
pvprep --dry-run --emit-config >/job/dry.cfg 2>/job/dry.err; echo $? >/job/dry.status
pvprep --emit-config --disk-backend /dev/drbd/bifit --bridge xenbr4 >/job/bifit.cfg
"""

_AGAIN = """
echo root=$(findmnt -no SOURCE /)
echo swap=$(swapon --noheadings --show=NAME)
echo alias=$(readlink /dev/xvda1)
echo nic=$(ls /sys/class/net | grep -v lo)
echo address=$(ip -4 -o address show dev ens3 | wc -l)
echo failed=$(systemctl --failed --no-legend | wc -l)
echo cmdline=$(cat /proc/cmdline)
echo e1000=$(grep -c ^e1000 /proc/modules)
update-grub 2>/job/update-grub.err
pvprep check 2>/job/check.err; echo check=$?
pvprep 2>/job/again.err; echo again=$?
pvprep status >/job/status.txt; echo status=$?
pvprep rollback --verify 2>/job/rollback.err; echo rollback=$?
cat /etc/fstab >/job/fstab
"""


@pytest.mark.guest
@pytest.mark.long
def test_running_guest_is_prepared_boots_as_hvm_again_and_is_rolled_back(
    space: Path, tmp_path: Path
) -> None:
    root, disk = space / "root", space / "disk.img"
    roots.unpack(roots.build_profile(profiles.BOOKWORM_WITH_PYTHON), root)
    fstab = (root / "etc/fstab").read_text()
    job.install(root)
    images.mbr(root, disk)
    share = tmp_path / "share"
    share.mkdir()
    shutil.copy(debs.build(), share / "pvprep.deb")

    first = job.run(disk, tmp_path, _PREPARE, timeout=600)
    assert first.status == 0, (share / "dpkg.log").read_text() + first.stderr
    assert (share / "unit").read_text() == "enabled\n"
    assert (share / "check.status").read_text() == "1\n"
    assert (share / "check.out").read_text() == ""
    assert "Nothing was changed." in (share / "dry.err").read_text()
    assert (share / "dry.status").read_text() == "0\n"
    config = (share / "bifit.cfg").read_text()
    for line in (
        'name = "bifit"',
        "memory = 768",
        "vcpus = 2",
        f'    "mac={profiles.MAC},bridge=xenbr4",',
        '    "format=raw, vdev=xvda, access=rw, target=/dev/drbd/bifit",',
        'bootloader = "pygrub"',
    ):
        assert line in config.splitlines()
    assert "verified bootloader pygrub will take entry 0" in first.stderr
    assert "root=/dev/xvda1 ro resume=/dev/xvda2" in first.stderr

    second = job.run(disk, tmp_path, _AGAIN, timeout=600)
    said = dict(line.split("=", 1) for line in second.stdout.splitlines())
    assert second.state == "running"
    assert said["root"] in ("/dev/sda1", "/dev/xvda1")
    assert said["alias"] == "sda1"
    assert said["swap"] == "/dev/sda2"
    assert (said["nic"], said["address"], said["failed"], said["e1000"]) == ("ens3", "1", "0", "1")
    assert "root=/dev/xvda1" in said["cmdline"] and "console=hvc0" in said["cmdline"]
    # What update-grub writes as HVM is as good, and there is nothing left to do.
    assert said["check"] == "0", (share / "check.err").read_text()
    assert said["again"] == "0", (share / "again.err").read_text()
    assert said["status"] == "0"
    # update-grub has edited what pvprep left: that is said, and nothing is touched.
    assert said["rollback"] == "1"
    assert "/boot/grub/grub.cfg" in (share / "rollback.err").read_text()
    assert (share / "fstab").read_text() == fstab.replace("/dev/sda", "/dev/xvda").replace(
        "was on /dev/xvda", "was on /dev/sda"
    )
    print(json.dumps({"prepare": first.seconds, "again": second.seconds}))
