"""Which packages to try first for a kernel that boots PV.

The table is no proof: whether an installed kernel does boot PV is read from its image. A line is
added where a distribution is learnt; nothing else has to change.
"""

from __future__ import annotations

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


def kernel_candidates(distro: Distro, userland: str) -> tuple[str, ...]:
    """Names of packages to try, best first; `name:arch` needs that architecture added to dpkg.

    userland: Debian's name of the architecture. Empty where pvprep knows none.
    """
    if distro.family != "debian":
        return ()
    return _KERNELS.get((distro.id, userland)) or _KERNELS.get(("", userland), ())


def foreign_architectures(userland: str) -> tuple[str, ...]:
    """Architectures that dpkg may have to be taught before a name of the table can be installed."""
    names = [name for (_, arch), all_ in _KERNELS.items() if arch == userland for name in all_]
    return tuple(sorted({name.split(":")[1] for name in names if ":" in name}))
