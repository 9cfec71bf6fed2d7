r"""Names of systemd units that stand for a path: /dev/sda2 is dev-sda2.swap.

Source: systemd.unit(5), "String escaping for inclusion in unit names".
"""

from __future__ import annotations

import re
from typing import Optional

from ..devicenames import as_path
from .edited import Translate

_PLAIN = re.compile(rb"[A-Za-z0-9:_.]")
_HEX = re.compile(rb"\\x([0-9a-fA-F]{2})")


def escape(path: str) -> str:
    """The name for a path, without a suffix, as `systemd-escape --path` gives it."""
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "-"
    raw = "/".join(parts).encode("utf-8", "surrogateescape")
    done = []
    for at, byte in enumerate(raw):
        char = bytes([byte])
        if char == b"/":
            done.append("-")
        elif _PLAIN.match(char) and not (at == 0 and char == b"."):
            done.append(char.decode())
        else:
            done.append(f"\\x{byte:02x}")
    return "".join(done)


def unescape(name: str) -> str:
    """The path that a name, without its suffix, stands for."""
    if name == "-":
        return "/"
    raw = name.replace("-", "/").encode("utf-8", "surrogateescape")
    return "/" + _HEX.sub(lambda m: bytes([int(m[1], 16)]), raw).decode("utf-8", "surrogateescape")


def rename(unit: str, translate: Translate) -> Optional[str]:
    """The new name of a unit that is named after a device (dev-sda2.swap); None where it stays."""
    stem, dot, suffix = unit.rpartition(".")
    if suffix not in ("swap", "device", "mount"):
        return None
    old = unescape(stem)
    new = as_path(translate(old) or old)
    return None if new == old else escape(new) + dot + suffix
