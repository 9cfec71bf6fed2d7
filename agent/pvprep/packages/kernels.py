"""Which packages to try first for a kernel that boots PV.

The tables are no proof: whether an installed kernel does boot PV is read from its image. A line is
added where a distribution is learnt; nothing else has to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..facts import Distro

# (os-release ID, user space) -> names in order; "" stands for any derivative of Debian.
# The plain kernel goes first: the others lack drivers of emulated hardware, and the guest shall
# still boot as HVM. Ubuntu's -kvm kernel has no XEN_PV; Debian's i386 kernels lost it in 5.10.
_KERNELS: dict[tuple[str, str], tuple[str, ...]] = {
    ("debian", "amd64"): ("linux-image-amd64", "linux-image-cloud-amd64"),
    ("debian", "i386"): ("linux-image-amd64", "linux-image-amd64:amd64"),
    ("ubuntu", "amd64"): ("linux-image-virtual", "linux-image-generic"),
    ("", "amd64"): ("linux-image-amd64", "linux-image-generic"),
    ("", "i386"): ("linux-image-amd64", "linux-image-amd64:amd64"),
}

# os-release ID, or the family for all others -> names by the first version that has them, newest
# first. None: the distribution's own repositories have no kernel with XEN_PV since then.
_BY_VERSION: dict[str, tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]] = {
    "fedora": (((9,), ("kernel",)), ((6,), ("kernel-xen",))),
    "redhat": (((8,), ()), ((6,), ("kernel",)), ((5,), ("kernel-xen",)), ((4,), ("kernel-xenU",))),
    "amzn": (),
    "suse": (((12, 2), ("kernel-default",)), ((10,), ("kernel-xen",))),
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
    if distro.family == "debian":
        return _KERNELS.get((distro.id, userland)) or _KERNELS.get(("", userland), ())
    ids = list(repositories)
    names = [
        name
        for pattern, packages in _BY_REPOSITORY
        if distro.family == "redhat" and any(pattern.search(id) for id in ids)
        for name in packages
    ]
    rows = _BY_VERSION.get(distro.id) or _BY_VERSION.get(distro.family, ())
    version = tuple(int(number) for number in re.findall(r"\d+", distro.version))
    return (*names, *next((found for since, found in rows if version >= since), ()))


def enabled_repositories(text: str) -> list[str]:
    """The ids of the enabled repositories in a .repo file (dnf.conf(5)); enabled is the default."""
    found = []
    for section in re.split(r"(?m)^[ \t]*\[", text)[1:]:
        id, _, body = section.partition("]")
        off = re.search(r"(?mi)^enabled[ \t]*=[ \t]*(0|no|false|off)\b", body)
        if re.search(r"(?m)^(baseurl|mirrorlist|metalink)[ \t]*=", body) and not off:
            found.append(id)
    return found


def foreign_architectures(userland: str) -> tuple[str, ...]:
    """Architectures that dpkg may have to be taught before a name of the table can be installed."""
    names = [name for (_, arch), all_ in _KERNELS.items() if arch == userland for name in all_]
    return tuple(sorted({name.split(":")[1] for name in names if ":" in name}))
