"""What a source of kernels holds: files, directories and links under names that are safe to take.

Sources are packages and trees that somebody else made. Of all they hold only the kernel's files in
boot/ and what is beneath lib/modules/VERSION is looked at, wherever the distribution puts the
latter (/usr/lib/modules).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import Exit, PvprepError

FILE, LINK, DIR = "file", "symlink", "directory"
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
BOOT = re.compile(r"boot/(?P<what>vmlinuz|config|System\.map)-(?P<version>[^/]+)")
# As packages have them: to where the kernel was built, or to a package of headers.
BUILD_LINKS = ("build", "source")


@dataclass(frozen=True)
class Member:
    """One of them. name: `boot/vmlinuz-V` or `lib/modules/V/...`. times: nanoseconds.

    content: gives a file's bytes in pieces; to be called before the next member is asked for.
    """

    name: str
    kind: str
    mode: int = 0o755
    mtime: int = 0
    size: int = 0
    target: str = ""
    content: Callable[[], Iterable[bytes]] = tuple


def wanted(name: str, source: str) -> str:
    """The name as above, "" for what no kernel needs. PvprepError where it could lead elsewhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise refused(source, f"it has a file named {name!r}")
    if parts[:3] == ["usr", "lib", "modules"]:
        del parts[0]
    clean = "/".join(parts)
    match = BOOT.fullmatch(clean)
    version = match["version"] if match else parts[2] if len(parts) > 2 else ""
    if not VERSION.fullmatch(version) or not (match or parts[:2] == ["lib", "modules"]):
        return ""
    if not clean.isprintable():
        raise refused(source, f"it has a file named {name!r}")
    return "" if len(parts) == 4 and parts[3] in BUILD_LINKS else clean


def stays_inside(name: str, target: str) -> bool:
    """Whether a link of the modules' directory leads to something in the same directory.

    `..` may stand at the front only: behind another link it would lead from wherever that one does.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    depth = name.count("/") - 3  # directories between lib/modules/VERSION and the link
    return not target.startswith("/") and ".." not in parts[ups:] and ups <= depth


def version_of(name: str) -> str:
    """Which kernel a member belongs to."""
    match = BOOT.fullmatch(name)
    return match["version"] if match else name.split("/")[2]


def refused(source: str, why: str) -> PvprepError:
    """A source that no kernel is taken from; nothing has been changed."""
    return PvprepError(
        f"{source} is not taken: {why}",
        "no kernel package has such a thing; get it anew from where it should come from",
        Exit.NOT_READY,
    )
