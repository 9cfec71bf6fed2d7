"""pvprep-dom0 in a real dom0: a guest is tried as PV, and comes up or goes back to HVM."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.guests import chroot, debs, images, roots
from tests.xen import convert, facts, lab, proof
from tests.xen.cases import MBR
from tests.xen.test_whole_way import IN_DOM0

_TRIALS = r"""
type_of_domain() {
    xl list -l bifit | sed -n 's/.*"type": "\(pv\|hvm\)".*/\1/p' | head -n 1
}
trial() {
    python3 -m pvprep_dom0 trial --hvm /etc/xen/hvm.cfg --timeout "$2" "$1"
    echo "LAB trial $? $(type_of_domain)"
}
wait_for_login() {
    until grep -q 'login: ' /var/log/xen/console/guest-bifit.log; do sleep 2; done
    echo "LAB hvm up"
}
# The guest is off: one may begin so as well, and an HVM boot takes a quarter of an hour.
trial /etc/xen/broken.cfg 240
: >/var/log/xen/console/guest-bifit.log
wait_for_login
trial /etc/xen/bifit.cfg 900
xl shutdown -w bifit
echo "LAB shut down, reason code 0"
"""


def _prepared(space: Path) -> Path:
    """The tree of a guest with the package, prepared; its config is bifit.cfg."""
    root = space / "root"
    roots.unpack(roots.build_profile(replace(MBR.profile, python=True)), root)
    facts.install(root)
    shutil.copy(debs.build(), root / "root/pvprep.deb")
    chroot.run(root, ["dpkg", "-i", "/root/pvprep.deb"])
    convert.emit(root, space / "bifit.cfg", "--bridge", "xenbr0")
    return root


@pytest.mark.xen_all
def test_trial_keeps_what_comes_up_and_goes_back_from_what_does_not(
    space: Path, tmp_path: Path
) -> None:
    root, disk = _prepared(space), space / "disk.img"
    images.mbr(root, disk)
    good = space / "bifit.cfg"
    broken = space / "broken.cfg"
    args = 'bootloader_args = [ "--args=root=/dev/nowhere console=hvc0" ]'
    broken.write_text(f"{good.read_text()}{args}\n")
    files = {**IN_DOM0, "/etc/xen/bifit.cfg": good, "/etc/xen/broken.cfg": broken}
    domain = lab.Domain(good.read_text(), until=(), timeout=4000, run=_TRIALS)
    (result,) = lab.run({lab.BACKEND: disk}, [domain], tmp_path, snapshot=False, files=files)
    ends = re.findall(r"LAB trial (\d) (\w+)", result.dom0)
    assert ends == [("3", "hvm"), ("0", "pv")], result.dom0[-4000:]
    assert result.dom0.count("LAB hvm up") == 1
    assert "shutting bifit down" in result.dom0
    assert "goes back to HVM: it did not say that it is up within" in result.dom0
    proof.leave(7, MBR.name, "pvprep-dom0 trial: back to HVM, then kept as PV", result)
