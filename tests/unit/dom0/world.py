"""A dom0 as configs are judged by: its disks and domains, which no test machine has."""

from __future__ import annotations

from pvprep_dom0.domains import Domain
from pvprep_dom0.places import Place
from pvprep_dom0.policy import PVGRUB, Policy

DISK = "/dev/vg0/bifit-disk"
UUID = "dac2f702-0ded-4c78-beb8-ae4b78370bf5"

POLICY = Policy(
    bridges=("xenbr0", "xenbr4"),
    targets=("/dev/vg0/{name}-*", "/srv/images/{name}*"),
    kernels=(*PVGRUB, "/srv/kernels/{name}", "/srv/kernels/link"),
)
BIFIT = Domain(
    name="bifit",
    domid=7,
    uuid=UUID,
    type="hvm",
    memory=1024,
    vcpus=2,
    disks=(("/dev/vg0/bifit-root", "raw"), ("/srv/images/bifit.qcow2", "qcow2")),
    macs=("00:16:3e:01:12:c1",),
    bridges=("xenbr4",),
)
OTHER = Domain(
    name="other",
    domid=8,
    uuid="11111111-2222-4333-8444-555555555555",
    type="pv",
    disks=(("/dev/vg0/other-disk", "raw"),),
    macs=("00:16:3e:aa:aa:aa",),
    bridges=("xenbr0",),
)
DOM0 = Domain(name="Domain-0", domid=0, uuid="00000000-0000-0000-0000-000000000000", type="pv")
DOMAINS = (DOM0, OTHER)

_BLOCKS = (DISK, "/dev/vg0/bifit-root", "/dev/vg0/other-disk", "/dev/sda")
_FILES = (
    "/etc/shadow", "/srv/images/bifit.img", "/srv/images/bifit.qcow2", "/srv/kernels/bifit",
    "/srv/kernels/other", *PVGRUB,
)  # fmt: skip
_LINKS = {"/srv/images/bifit-link": "/etc/shadow", "/srv/kernels/link": "/etc/shadow"}


def pretend_look(path: str) -> Place:
    """Stands for places.look."""
    real = _LINKS.get(path, path)
    if real in _BLOCKS:
        return Place("block", real, (0, _BLOCKS.index(real) + 1))
    if real in _FILES:
        return Place("file", real, (1, _FILES.index(real) + 1))
    return Place("other" if real == "/dev/mem" else "missing", real, (0, 0))


def pretend_user(place: Place) -> str:
    """Stands for places.user."""
    return "dom0 has mounted it at /" if place.real == "/dev/sda" else ""
