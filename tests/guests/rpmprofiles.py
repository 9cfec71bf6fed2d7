"""The stand-ins for guests that rpm manages: their kernels, repositories and menus.

Real: rpm, dnf with its API and plugins, dracut, kernel-install, GRUB; the files and packages are
laid out as Enterprise Linux does it. Not real: the programs are Debian's, in packages made of its
own, and so is each kernel; the plugins of kernel-install are small ones of the tests (the directory
rpm), as is GRUB's command blscfg. There is no NetworkManager, no grubby and no SELinux.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Kernel:
    """A kernel in packages as Enterprise Linux has them: NAME, NAME-core, NAME-modules ...

    All are Debian's cloud kernel; `uname -r` says what `release` says. pv: with CONFIG_XEN_PV and
    CONFIG_PVH; without, its configuration says that they are not set, and its image has no entry
    for Xen, as on EL 8 to 10 (that image is for opening alone: it does not boot). frontends: with
    xen-blkfront and xen-netfront. fails: the scriptlet of NAME-core that ends with status 1, "pre"
    or "posttrans"; "" for none.
    """

    release: str
    name: str = "kernel"
    pv: bool = True
    frontends: bool = True
    fails: str = ""

    @property
    def evr(self) -> tuple[str, str]:
        """Version and release of the packages: what `uname -r` says without the architecture."""
        version, _, release = self.release.rpartition(".")[0].partition("-")
        return version, release

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the packages; the first needs the others."""
        parts = ("", "-core", "-modules-core", "-modules")
        return tuple(f"{self.name}{part}" for part in parts)


# The names are as long as Debian's (6.1.0-50-cloud-amd64), which they replace in the image.
STOCK = Kernel("6.1.0-550.el9.x86_64", pv=False)
STOCK_UPDATE = Kernel("6.1.0-551.el9.x86_64", pv=False)
PV = Kernel("6.1.0-560.el9.x86_64")
PV_UPDATE = Kernel("6.1.0-561.el9.x86_64")
UEK = Kernel("6.1-56.el9uek.x86_64", name="kernel-uek")
WITHOUT_FRONTENDS = Kernel("6.1.0-570.el9.x86_64", frontends=False)
BROKEN_PRE = Kernel("6.1.0-580.el9.x86_64", fails="pre")
BROKEN_POSTTRANS = Kernel("6.1.0-581.el9.x86_64", fails="posttrans")

KERNELS = (
    STOCK,
    STOCK_UPDATE,
    PV,
    PV_UPDATE,
    UEK,
    WITHOUT_FRONTENDS,
    BROKEN_PRE,
    BROKEN_POSTTRANS,
)


@dataclass(frozen=True)
class Repo:
    """A repository in the guest's own tree, /srv/repos/ID, listed in /etc/yum.repos.d.

    signature: "good", by the key that the repository's file names; "other", by a key that nobody
    knows; "none". gpgcheck is on in any case.
    """

    id: str
    kernels: tuple[Kernel, ...]
    enabled: bool = True
    signature: str = "good"


@dataclass(frozen=True)
class RpmProfile:
    """One guest.

    installed: its kernels, in the order of their installation. repos: what dnf can install from.
    boot: "bls" (EL 9: options in each entry and /etc/kernel/cmdline), "kernelopts" (EL 8: entries
    take them from grubenv), "menu" (GRUB_ENABLE_BLSCFG=false, menu entries in grub.cfg).
    network: the file for the card, "keyfile" (EL 9) or "ifcfg" (EL 8).
    """

    installed: tuple[Kernel, ...]
    repos: tuple[Repo, ...]
    boot: str = "bls"
    network: str = "keyfile"


_BASEOS = Repo("baseos", (STOCK, STOCK_UPDATE))

# As Enterprise Linux 9 is: no kernel for PV, installed or to be had.
EL9 = RpmProfile((STOCK,), (_BASEOS,))
# The repository that has one is there: as on Oracle Linux; and one that has to be enabled first.
EL9_UEK = replace(EL9, repos=(_BASEOS, Repo("uek", (UEK,))))
EL9_UEK_DISABLED = replace(EL9, repos=(_BASEOS, Repo("uek", (UEK,), enabled=False)))
# Its own kernel is the one: as Fedora, or EL 7.
EL9_PV = RpmProfile((PV,), (Repo("baseos", (PV, PV_UPDATE)),))
EL9_PV_MENU = replace(EL9_PV, boot="menu")
EL8_PV = replace(EL9_PV, boot="kernelopts", network="ifcfg")
# The one that boots PV is an installation away; the one that does not stays.
EL9_PV_TO_BE_HAD = RpmProfile((STOCK,), (Repo("baseos", (PV, PV_UPDATE)),))
EL9_WITHOUT_KERNEL = replace(EL9_PV, installed=())
# What can go wrong.
EL9_WITHOUT_FRONTENDS = replace(EL9, repos=(Repo("baseos", (WITHOUT_FRONTENDS,)),))
EL9_BROKEN_PRE = replace(EL9, repos=(Repo("baseos", (BROKEN_PRE,)),))
EL9_BROKEN_POSTTRANS = replace(EL9, repos=(Repo("baseos", (BROKEN_POSTTRANS,)),))
EL9_UNSIGNED = replace(EL9, repos=(Repo("baseos", (PV,), signature="none"),))
EL9_OTHER_KEY = replace(EL9, repos=(Repo("baseos", (PV,), signature="other"),))
