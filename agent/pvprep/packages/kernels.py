"""Which packages to try first for a kernel that boots PV.

The tables are no proof: whether an installed kernel does boot PV is read from its image. A line is
added where a distribution is learnt; nothing else has to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..facts import Distro

# (os-release ID, user space) -> names by the first version that has them, newest first; "" stands
# for any derivative of Debian. What has no version is newer than all of them.
# The plain kernel goes first: the others lack drivers of emulated hardware, and the guest shall
# still boot as HVM. Ubuntu's -kvm kernel has no XEN_PV; Debian's i386 kernels lost it in 5.10.
_Rows = tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]
_DEBIAN: dict[tuple[str, str], _Rows] = {
    ("debian", "amd64"): (
        ((7,), ("linux-image-amd64", "linux-image-cloud-amd64")),
        ((6,), ("linux-image-2.6-amd64",)),
        ((4,), ("linux-image-2.6-xen-amd64",)),
    ),
    # Up to 8 the 64-bit kernel was packaged as i386, too.
    ("debian", "i386"): (
        ((9,), ("linux-image-amd64", "linux-image-amd64:amd64")),
        ((7,), ("linux-image-amd64", "linux-image-686-pae")),
        ((6,), ("linux-image-2.6-amd64", "linux-image-2.6-686-bigmem")),
        ((4,), ("linux-image-2.6-xen-686",)),
    ),
    ("ubuntu", "amd64"): (
        ((8, 10), ("linux-image-virtual", "linux-image-generic")),
        ((7,), ("linux-image-xen",)),
    ),
    # -generic was not PAE before 12.10.
    ("ubuntu", "i386"): (
        ((12, 10), ("linux-image-virtual", "linux-image-generic")),
        ((8, 10), ("linux-image-virtual", "linux-image-generic-pae", "linux-image-server")),
        ((7,), ("linux-image-xen",)),
    ),
    ("", "amd64"): (((0,), ("linux-image-amd64", "linux-image-generic")),),
    ("", "i386"): (((0,), ("linux-image-amd64", "linux-image-amd64:amd64")),),
}

# os-release ID, or the family for all others -> names by the first version that has them, newest
# first. None: the distribution's own repositories have no kernel with XEN_PV since then.
_BY_VERSION: dict[str, _Rows] = {
    "fedora": (((9,), ("kernel",)), ((6,), ("kernel-xen",))),
    "redhat": (((8,), ()), ((6,), ("kernel",)), ((5,), ("kernel-xen",)), ((4,), ("kernel-xenU",))),
    "amzn": (),
    # SLES 10's 32-bit kernel-xen is not PAE, which Xen since 4.0 does not run.
    "suse": (((12, 2), ("kernel-default",)), ((11,), ("kernel-xen",)),
             ((10,), ("kernel-xenpae", "kernel-xen"))),
    "opensuse": (((15,), ("kernel-default",)), ((10,), ("kernel-xen",))),
    "opensuse-leap": (((42, 2), ("kernel-default",)), ((42,), ("kernel-xen",)),
                      ((15,), ("kernel-default",))),
    "opensuse-tumbleweed": (((0,), ("kernel-default",)),),
}  # fmt: skip
# Where a repository of these is enabled, its kernel comes first: Oracle's UEK, ELRepo's mainline.
_BY_REPOSITORY = (
    (re.compile(r"(?i)uek"), ("kernel-uek",)),
    (re.compile(r"(?i)^elrepo-kernel$"), ("kernel-ml", "kernel-lt")),
)


def kernel_candidates(
    distro: Distro, userland: str, repositories: Iterable[str] = ()
) -> tuple[str, ...]:
    """Names of packages to try, best first; `name:arch` needs that architecture added to dpkg.

    userland: Debian's name of the architecture. repositories: ids of the enabled ones, where a
    kernel depends on them. Empty where pvprep knows none.
    """
    version = tuple(int(number) for number in re.findall(r"\d+", distro.version))
    if distro.family == "debian":
        rows = _DEBIAN.get((distro.id, userland)) or _DEBIAN.get(("", userland), ())
        return _since(rows, version or (999,))
    ids = list(repositories)
    names = [
        name
        for pattern, packages in _BY_REPOSITORY
        if distro.family == "redhat" and any(pattern.search(id) for id in ids)
        for name in packages
    ]
    rows = _BY_VERSION.get(distro.id) or _BY_VERSION.get(distro.family, ())
    return (*names, *_since(rows, version))


def _since(rows: _Rows, version: tuple[int, ...]) -> tuple[str, ...]:
    return next((found for since, found in rows if version >= since), ())


def enabled_repositories(text: str) -> list[str]:
    """The ids of the enabled repositories in a .repo file (dnf.conf(5)); enabled is the default."""
    found = []
    for section in re.split(r"(?m)^[ \t]*\[", text)[1:]:
        id, _, body = section.partition("]")
        off = re.search(r"(?mi)^enabled[ \t]*=[ \t]*(0|no|false|off)\b", body)
        if re.search(r"(?m)^(baseurl|mirrorlist|metalink)[ \t]*=", body) and not off:
            found.append(id)
    return found


def foreign_architectures(userland: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """Architectures that dpkg has to be taught before one of the names can be installed.

    Without names: before any of the table's can.
    """
    of_table = (
        name
        for (_, arch), rows in _DEBIAN.items() if arch == userland
        for _, all_ in rows
        for name in all_
    )  # fmt: skip
    return tuple(sorted({name.split(":")[1] for name in names or of_table if ":" in name}))
