"""The whole way: a guest that runs fully virtualised prepares itself and boots as PV; and back.

Once as an HVM domU of the same Xen, and once, because that is slow, in a fully virtualised machine
of QEMU's in its place. Nothing is done to the disk from outside in between.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.guests import chroot, debs, images, job, profiles, roots
from tests.roots import snapshot
from tests.xen import convert, facts, inside, lab, proof
from tests.xen.cases import MBR
from tests.xen.expect import assert_picked, assert_told, assert_up

HVM_CONFIG = Path(__file__).with_name("bifit-hvm.cfg")
# What dom0 has: pvprep-dom0, and the config that the guest was started by until now.
IN_DOM0 = {
    "/usr/lib/python3/dist-packages/pvprep_dom0": convert.TOP / "agent/pvprep_dom0",
    "/etc/xen/hvm.cfg": HVM_CONFIG,
}

_PREPARE = f"""
pvprep --emit-config --disk-backend {lab.BACKEND} --bridge xenbr0 --memory 384 >/job/bifit.cfg
"""
# In dom0, while the HVM domain prepares itself: what it leaves in xenstore is fetched and judged.
_FETCH = """
xl create -F /etc/xen/hvm.cfg &
until xenstore-exists /local/domain/1/data/pvprep/config/ready; do sleep 2; done
python3 -m pvprep_dom0 fetch bifit --output /run/fetched.cfg --check
echo "LAB fetched $? $(sha256sum </run/fetched.cfg)"
wait
"""

_BACK = """
cat /proc/cmdline >/job/cmdline
findmnt -no SOURCE / >/job/root
systemctl --failed --no-legend --plain >/job/failed
pvprep rollback --verify 2>/job/rollback
"""

_AGAIN = """
findmnt -no SOURCE /
swapon --noheadings --show=NAME
ls /sys/class/net | grep -v lo
ip -4 -o address show dev ens3 | wc -l
systemctl --failed --no-legend | wc -l
pvprep check >/dev/null 2>&1; echo $?
"""


def _installed(space: Path) -> Path:
    """The tree of a guest with the package pvprep."""
    root = space / "root"
    roots.unpack(roots.build_profile(replace(MBR.profile, python=True)), root)
    facts.install(root)
    shutil.copy(debs.build(), root / "root/pvprep.deb")
    chroot.run(root, ["dpkg", "-i", "/root/pvprep.deb"])
    return root


@pytest.mark.xen
def test_guest_prepares_itself_boots_as_pv_and_after_rollback_as_hvm_again(
    space: Path, tmp_path: Path
) -> None:
    root, disk, share = _installed(space), space / "disk.img", tmp_path / "share"
    job.install(root, log=False)  # there is no serial port under Xen
    images.mbr(root, disk)
    with images.mounted(disk, space / "mounted") as tree:
        before = _files(tree)

    prepared = job.run(disk, tmp_path, _PREPARE, timeout=900)
    assert prepared.status == 0, prepared.stderr

    result = lab.boot(disk, share / "bifit.cfg", tmp_path)
    assert_up(result, MBR)
    assert result.facts and result.facts.status and result.facts.status["boots"][-1]["up"]
    foretold = re.search(r"pygrub will take entry 0 of .*: (\S+), (\S+), (.*)", prepared.stderr)
    assert foretold
    promise = convert.Promise(foretold[1], foretold[2], foretold[3])
    assert_told(result, promise)
    with images.mounted(disk, space / "mounted") as tree:
        assert_picked(result, promise, tree)
    proof.leave(1, MBR.name, "prepared while fully virtualised by QEMU; then PV", result)

    back = job.run(disk, tmp_path, _BACK, timeout=600)
    assert back.status == 0, (share / "rollback").read_text()
    assert "root=/dev/xvda1" in (share / "cmdline").read_text()
    assert (share / "root").read_text().strip() in ("/dev/sda1", "/dev/xvda1")
    assert (share / "failed").read_text() == ""

    with images.mounted(disk, space / "mounted") as tree:
        after = _files(tree)
    undone = re.findall(r"(?m)^  as it was (/\S*)", (share / "rollback").read_text())
    assert {"/etc/fstab", "/boot/grub/grub.cfg", "/etc/default/grub"} < set(undone)
    assert [path for path in undone if before.get(path) != after.get(path)] == []
    # And nothing else of the configuration is other than before.
    differences = snapshot.differences(before, after, but=_NOT_CONFIGURATION)
    assert differences == []

    again = job.run(disk, tmp_path, _AGAIN)
    assert again.stdout.splitlines() == ["/dev/sda1", "/dev/sda2", "ens3", "1", "0", "1"]


# What a system that runs writes; resolv.conf is the DHCP client's.
_NOT_CONFIGURATION = (
    *("/dev", "/proc", "/run", "/sys", "/tmp", "/var", "/usr", "/root", "/job"),
    "/etc/resolv.conf",
)


def _files(tree: Path) -> snapshot.Snapshot:
    """All but directories, whose times change with anything in them."""
    taken = snapshot.take(tree)
    return {path: entry for path, entry in taken.items() if not entry.is_directory}


@pytest.mark.xen_all
def test_guest_prepares_itself_as_hvm_domu_and_boots_as_pv(space: Path, tmp_path: Path) -> None:
    """That such a guest starts as HVM domU again is seen in test_trial.py: each such start takes a
    quarter of an hour."""
    root, disk = _installed(space), space / "disk.img"
    inside.install(root, inside.PREPARE)
    images.mbr(root, disk)
    hvm = HVM_CONFIG.read_text()
    domains = [
        lab.Domain(hvm, until=(), timeout=5400, run=_FETCH),
        lab.Domain(None),
        lab.Domain(None),
    ]
    results = lab.run({lab.BACKEND: disk}, domains, tmp_path, snapshot=False, files=IN_DOM0)
    assert len(results) == 3, results[-1].error
    preparing, first, second = results
    assert preparing.off and "pvprep-tests inside: status 0" in preparing.console
    # No option told it anything: what the config has of dom0 is from xenstore.
    config = inside.told(preparing.console)
    assert "REPLACE" not in config
    digest = hashlib.sha256(config.encode()).hexdigest()
    assert f"LAB fetched 0 {digest}" in preparing.dom0
    proof.leave(2, MBR.name, "HVM domU prepares itself (until it is off)", preparing)
    with images.mounted(disk, space / "mounted") as tree:
        promise = convert.promised(tree)
        for result in (first, second):
            assert_up(result, MBR)
            assert_picked(result, promise, tree)
            assert_told(result, promise)
    proof.leave(3, MBR.name, "the same, by the config that came out, unedited: PV", first)
    assert second.facts and second.facts.status
    assert [boot["up"] for boot in second.facts.status["boots"]] == [True, True]
    proof.leave(4, MBR.name, "the same, once more, recorded by the guest", second)
    assert profiles.MAC in second.console
