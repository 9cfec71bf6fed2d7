"""What dpkg's own files say, read without starting dpkg or importing apt; nothing is changed.

Sources: dpkg(1), deb-control(5), the comments in dpkg's lib/dpkg/dbmodify.c on the journal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Optional

from ..errors import PvprepError
from ..findings import Finding, Level
from ..guest import Guest
from .locks import Holder, record_lock

STATUS = "/var/lib/dpkg/status"
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
ARCHITECTURES = "/var/lib/dpkg/arch"
_UPDATES = "/var/lib/dpkg/updates"
_STATUS_LIMIT = 64 * 1024 * 1024  # a desktop with everything has about 8 MiB
_ABSENT = (b"config-files", b"not-installed")

# Packages which pvprep may have to change: a hold on one of them matters here.
_MATTERS = re.compile(r"(linux-(image|base|modules)|initramfs-tools|dracut|grub|libc6-xen)")


@dataclass(frozen=True)
class Entry:
    """One package in the status file; want, flag and state as `Status:` has them."""

    name: str
    architecture: str
    version: str
    want: str
    flag: str
    state: str

    @property
    def full(self) -> str:
        """`name:arch`."""
        return f"{self.name}:{self.architecture}"


def installed(guest: Guest) -> dict[str, str]:
    """Every package that has files in place, half installed ones too: `name:arch` -> version."""
    return {entry.full: entry.version for entry in _entries(guest)}


def broken(guest: Guest) -> list[Entry]:
    """Packages that dpkg left between two states."""
    return [e for e in _entries(guest, odd=True) if e.state != "installed" or e.flag != "ok"]


def protected(guest: Guest, names: Iterable[str]) -> bool:
    """Whether dpkg would refuse to remove one of these (`name:arch`) without being told twice."""
    marked = set()
    for stanza in (guest.read(STATUS, _STATUS_LIMIT) or b"").split(b"\n\n"):
        if b"\nProtected: yes\n" in stanza:
            words = (_field(stanza, b"Package"), _field(stanza, b"Architecture"))
            marked.add(b":".join(words).decode("utf-8", "replace"))
    return not marked.isdisjoint(names)


def architectures(guest: Guest) -> list[str]:
    """dpkg's architectures, the native one first; empty where dpkg itself is not installed."""
    own = [entry.architecture for entry in _entries(guest) if entry.name == "dpkg"]
    listed = guest.text(ARCHITECTURES).split()
    return list(dict.fromkeys([*own, *listed]))


def with_architecture(listed: str, native: str, architecture: str) -> str:
    """The text of /var/lib/dpkg/arch (listed: as it is) once dpkg knows this architecture too.

    It is all that `dpkg --add-architecture` changes, so that file is the change and its undo.
    """
    names = dict.fromkeys([*(listed.split() or [native]), architecture])
    return "".join(f"{name}\n" for name in names)


def check(guest: Guest) -> list[Finding]:
    """What hinders dpkg and apt, found before anything changes."""
    return [*_check_lock(guest), *_check_state(guest), *_check_sources(guest)]


def lock_holder(guest: Guest) -> Optional[Holder]:
    """Who holds dpkg's locks, None where nobody does; not to be called while we have them."""
    return record_lock(guest, LOCKS)


def _entries(guest: Guest, odd: bool = False) -> Iterator[Entry]:
    """Packages with files in place; odd: only what is not plainly `install ok installed`."""
    content = guest.read(STATUS, _STATUS_LIMIT)
    if content is None:
        raise PvprepError(f"{STATUS} is missing", "is this the root of a Debian or Ubuntu system?")
    for stanza in content.split(b"\n\n"):
        # Most packages are well: told apart by one search, for speed.
        if odd and b"\nStatus: install ok installed\n" in stanza:
            continue
        words = _field(stanza, b"Status").split()
        if len(words) != 3 or words[2] in _ABSENT:
            continue
        texts = [
            _field(stanza, name).decode("utf-8", "replace")
            for name in (b"Package", b"Architecture", b"Version")
        ]
        status = [word.decode("ascii", "replace") for word in words]
        yield Entry(texts[0], texts[1], texts[2], *status)


def _field(stanza: bytes, name: bytes) -> bytes:
    """The first line of a field, b"" where there is none; continuation lines begin with a space."""
    if stanza.lstrip(b"\n").startswith(name + b":"):
        begin = stanza.index(b":") + 1
    else:
        at = stanza.find(b"\n" + name + b":")
        if at < 0:
            return b""
        begin = at + len(name) + 2
    end = stanza.find(b"\n", begin)
    return stanza[begin : end if end >= 0 else len(stanza)].strip()


def _check_lock(guest: Guest) -> Iterator[Finding]:
    holder = lock_holder(guest)
    if holder:
        yield Finding(
            "dpkg.locked",
            Level.WARN,
            f"dpkg is in use by {holder}",
            evidence=f"lock on {holder.path}",
            where=holder.path,
            remedy="wait until it has ended; pvprep waits some time by itself",
        )


def _check_state(guest: Guest) -> Iterator[Finding]:
    entries = list(_entries(guest, odd=True))
    unwell = [e for e in entries if e.state != "installed" or e.flag != "ok"]
    pending = [name for name in guest.names(_UPDATES) if name.isdigit()]
    if unwell or pending:
        names = ", ".join(entry.full for entry in unwell)
        yield Finding(
            "dpkg.broken",
            Level.ERROR,
            f"dpkg was interrupted or failed: {names or 'its journal is not empty'}",
            evidence="; ".join(
                [
                    *(f"{e.full}: {e.want} {e.flag} {e.state}" for e in unwell),
                    *(f"{_UPDATES}/{name}" for name in pending),
                ]
            ),
            where=STATUS,
            remedy="run `dpkg --configure -a`, then `apt-get -f install`",
        )
    held = [e.full for e in entries if e.want == "hold" and _MATTERS.match(e.name)]
    if held:
        yield Finding(
            "dpkg.held",
            Level.WARN,
            f"on hold, and left alone: {', '.join(held)}",
            evidence="; ".join(f"{name}: hold" for name in held),
            where=STATUS,
            remedy=f"`apt-mark unhold {' '.join(held)}`, if pvprep shall be able to change them",
        )


def _check_sources(guest: Guest) -> Iterator[Finding]:
    lists = ["/etc/apt/sources.list", *guest.glob("/etc/apt/sources.list.d/*.list")]
    if any(re.search(r"(?m)^[ \t]*deb[ \t](?!cdrom:)", guest.text(path)) for path in lists):
        return
    for path in guest.glob("/etc/apt/sources.list.d/*.sources"):
        for stanza in re.split(r"\n[ \t]*\n", guest.text(path)):
            off = re.search(r"(?mi)^Enabled:[ \t]*(no|false|without|off|disable|0)\b", stanza)
            if re.search(r"(?mi)^Types:.*\bdeb(?!-)\b", stanza) and not off:
                return
    yield Finding(
        "apt.sources",
        Level.WARN,
        "apt has no source to install packages from",
        evidence="no `deb` line but for a CD-ROM",
        where="/etc/apt/sources.list",
        remedy="add a mirror, or give the kernel package with --kernel-package FILE",
    )
