"""What hinders rpm and the managers on top of it, read from files; nothing is started or changed.

Sources: rpm's lib/rpmlock.c, dnf's lock.py, libdnf5's Locker, libzypp's zypp.pid; dnf.conf(5),
dnf-versionlock(8), the comments in /etc/zypp/zypp.conf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Optional

from ..findings import Finding, Level
from ..guest import Guest
from .kernels import enabled_repositories
from .locks import Holder, pid_file, record_lock

_HOMES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
_DATABASES = ("rpmdb.sqlite", "Packages.db", "Packages")
_RECORD_LOCKS = (*(f"{home}/.rpm.lock" for home in _HOMES), "/run/dnf/rpmtransaction.lock")
_PID_FILES = (
    "/var/lib/dnf/rpmdb_lock.pid",
    "/var/cache/dnf/metadata_lock.pid",
    "/var/cache/dnf/download_lock.pid",
    "/var/run/yum.pid",
    "/run/zypp.pid",
    "/var/run/zypp.pid",
)
_REPOSITORIES = ("/etc/yum.repos.d/*.repo", "/etc/zypp/repos.d/*.repo", "/etc/yum.conf")
# Where people keep packages back, and how such a line begins.
_EXCLUDES = (
    ("/etc/dnf/dnf.conf", r"exclude(?:pkgs)?[ \t]*="),
    ("/etc/yum.conf", r"exclude[ \t]*="),
    ("/etc/yum.repos.d/*.repo", r"exclude(?:pkgs)?[ \t]*="),
    ("/etc/zypp/repos.d/*.repo", r"exclude(?:pkgs)?[ \t]*="),
    ("/etc/dnf/plugins/versionlock.list", r"!?"),
    ("/etc/yum/pluginconf.d/versionlock.list", r"!?"),
    ("/etc/dnf/versionlock.toml", r"name[ \t]*=[ \t]*\""),
    ("/etc/zypp/locks", r"solvable_name:[ \t]*"),
)


def check(guest: Guest) -> list[Finding]:
    """Locks, a missing or torn database, no repository, kernels that are kept back."""
    findings = (_locks(guest), _database(guest), _sources(guest), _excludes(guest))
    return [finding for some in findings for finding in some]


def lock_holder(guest: Guest) -> Optional[Holder]:
    """Who is about to change packages, None where nobody is; not to be called while we are."""
    return record_lock(guest, _RECORD_LOCKS) or pid_file(guest, _PID_FILES)


def _locks(guest: Guest) -> Iterator[Finding]:
    holder = lock_holder(guest)
    if holder:
        yield Finding(
            "rpm.locked",
            Level.WARN,
            f"the package manager is in use by {holder}",
            evidence=f"lock on {holder.path}",
            where=holder.path,
            remedy="wait until it has ended; pvprep waits some time by itself",
        )


def _database(guest: Guest) -> Iterator[Finding]:
    if not any(guest.is_file(f"{home}/{name}") for home in _HOMES for name in _DATABASES):
        yield Finding(
            "rpm.broken",
            Level.ERROR,
            "rpm has no database here",
            evidence=f"none of {', '.join(_DATABASES)}",
            where=_HOMES[0],
            remedy="bring it back from a backup; is this the root of the system?",
        )
    # yum removes these when a transaction has ended (EL 4 to 7).
    for path in guest.glob("/var/lib/yum/transaction-all.*"):
        yield Finding(
            "rpm.unfinished",
            Level.WARN,
            "a transaction of yum did not come to its end",
            evidence=path,
            where=path,
            remedy="run `yum-complete-transaction`",
        )


def _sources(guest: Guest) -> Iterator[Finding]:
    for pattern in _REPOSITORIES:
        for path in guest.glob(pattern):
            if enabled_repositories(guest.text(path)):
                return
    yield Finding(
        "rpm.sources",
        Level.WARN,
        "no repository is enabled to install packages from",
        evidence="no section with baseurl=, mirrorlist= or metalink= and without enabled=0",
        where="/etc/yum.repos.d",
        remedy="enable one, or give the kernel package with --kernel-package FILE",
    )


def _excludes(guest: Guest) -> Iterator[Finding]:
    for pattern, begin in _EXCLUDES:
        for path in guest.glob(pattern):
            for number, line in enumerate(guest.text(path).split("\n"), 1):
                if re.match(rf"{begin}(?:.*[\s,\"])?(?:\d+:)?kernel", line):
                    yield Finding(
                        "rpm.excluded",
                        Level.WARN,
                        "kernel packages are kept back, and left alone",
                        evidence=line.strip(),
                        where=f"{path}:{number}",
                        remedy="remove that, if pvprep shall be able to install a kernel",
                    )
