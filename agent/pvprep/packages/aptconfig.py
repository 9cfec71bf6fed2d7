"""Sets libapt up for one guest. Its configuration is one per process, and so is the guest.

Source: apt.conf(5); apt-pkg/init.cc and aptconfiguration.cc of apt on what is read when.
"""

from __future__ import annotations

from ..errors import PvprepError
from ..guest import Guest
from . import dpkg
from .kernels import foreign_architectures

_configured: list[str] = []


def configure(guest: Guest) -> None:
    """Let apt work on this guest; to be called before `import apt`, which reads the configuration.

    The tree's own apt.conf counts, not the host's. A 32-bit guest's apt also looks at the 64-bit
    packages that pvprep may want, whether or not dpkg has been told of them yet.
    """
    if _configured:
        if _configured != [guest.root]:
            raise PvprepError(f"apt is set up for {_configured[0]} in this process already")
        return
    try:
        import apt_pkg
    except ImportError as error:
        raise PvprepError(
            f"python-apt does not load: {error}", "install python3-apt, run with /usr/bin/python3"
        ) from None
    native, *foreign = dpkg.architectures(guest) or [apt_pkg.config.find("APT::Architecture")]
    config = apt_pkg.config
    if not guest.running:
        config.set("Dir", guest.root)
        config.set("Dir::State::status", guest.root + dpkg.STATUS)
        config.set("DPkg::Chroot-Directory", guest.root)
    config.set("APT::Architecture", native)
    apt_pkg.init_config()
    config.clear("APT::Architectures")
    for name in dict.fromkeys([native, *foreign, *foreign_architectures(native)]):
        config.set("APT::Architectures::", name)
    # What a kernel recommends (firmware, apparmor) the guest did without; for another architecture
    # it would even bring a second C library.
    config.set("APT::Install-Recommends", "0")
    # A terminal of its own would let maintainer scripts wait for an answer.
    config.set("Dpkg::Use-Pty", "0")
    config.set("DPkg::Options::", "--force-confold")
    _configured.append(guest.root)
