"""The snippet for cloud-init, run by the real cloud-init in a guest that boots (NoCloud seed)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.guests import chroot, debs, hostapt, images, profiles, roots
from tests.guests.qemu import Machine

SNIPPET = Path(__file__).resolve().parents[2] / "packaging/common/cloud-init/pvprep.cfg"
SLOW = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_reap.service")


def _seed(root: Path) -> None:
    """What cloud-init's NoCloud source looks for; in the image, for a CD is seen too late there.

    The guest's initrd has no driver for it, and cloud-init decides before udev has loaded one.
    """
    files = root / "var/lib/cloud/seed/nocloud"
    files.mkdir(parents=True)
    shutil.copy(SNIPPET, files / "user-data")
    (files / "meta-data").write_text("instance-id: bifit-1\nlocal-hostname: bifit\n")


def _cat(disk: Path, path: str) -> str:
    """A file of the root file system in an image, without mounting it."""
    place = f"{disk}?offset={images.MIB}"
    done = subprocess.run(["debugfs", "-R", f"cat {path}", place], capture_output=True, text=True)
    return done.stdout


@pytest.mark.guest
@pytest.mark.long
def test_cloud_init_prepares_the_guest_leaves_the_config_and_powers_off(
    space: Path, tmp_path: Path
) -> None:
    root, disk = space / "root", space / "disk.img"
    roots.unpack(roots.build_profile(profiles.BOOKWORM_WITH_PYTHON), root)
    with hostapt.online(root):
        chroot.run(root, ["apt-get", "update"])
        chroot.run(root, ["apt-get", "install", "-qq", "--no-install-recommends", "cloud-init"])
    # The guest has no way out, and needs none: what the package depends on is there.
    (root / "etc/apt/sources.list").write_text("")
    shutil.copy(debs.build(), root / "var/tmp")
    for unit in SLOW:
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    _seed(root)
    images.mbr(root, disk)

    with Machine(disk, tmp_path) as machine:
        machine.wait_off(900)

    log = _cat(disk, "/var/log/cloud-init-output.log")
    config = _cat(disk, "/var/lib/pvprep/domu.cfg")
    assert 'name = "bifit"' in config.splitlines(), log
    assert f'    "mac={profiles.MAC}",' in config.splitlines()
    assert config in log.replace("\r", "") or "Ready for PV." in log
    assert "/dev/xvda1" in _cat(disk, "/etc/fstab")
    assert "root=/dev/xvda1" in _cat(disk, "/boot/grub/grub.cfg")
    # What cloud-init owns it still owns.
    assert "pvprep" not in _cat(disk, "/etc/network/interfaces.d/50-cloud-init")
