"""What this host allows: /etc/pvprep-dom0/policy.conf, an INI file; without it, the defaults here.

In patterns `*` and `?` stand for anything but a `/`, and {name} for the domain's name, where dom0
knows it (--hvm, --domain): what a config says itself is not trusted with this.
"""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass, fields
from typing import Any

from .errors import UsageError

PLACE = "/etc/pvprep-dom0/policy.conf"

# Debian's package grub-xen-host; in the guest they read the guest's own configuration.
PVGRUB = (
    "/usr/lib/grub-xen/grub-x86_64-xen.bin",
    "/usr/lib/grub-xen/grub-i386-xen.bin",
    "/usr/lib/grub-xen/grub-i386-xen_pvh.bin",
)


@dataclass(frozen=True)
class Policy:
    """One field for each option of the file; the option has the name of the field."""

    names: tuple[str, ...] = ("*",)
    types: tuple[str, ...] = ("pv", "pvh")
    memory: int = 4096  # MiB
    vcpus: int = 4
    bridges: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("raw",)
    bootloaders: tuple[str, ...] = ("pygrub",)
    kernels: tuple[str, ...] = PVGRUB
    actions: tuple[str, ...] = ("destroy", "restart", "preserve")
    keys: tuple[str, ...] = ()


# What the file, the manual and --help say of each option.
MEANINGS = {
    "names": "patterns for the names of domains",
    "types": "types of domains: pv, pvh",
    "memory": "most memory in MiB, where the domain has not had more already",
    "vcpus": "most virtual processors, where the domain has not had more already",
    "bridges": "patterns for bridges, beside those that the domain has had",
    "targets": "patterns for disks, beside those that the domain has had: /dev/vg0/{name}-*",
    "formats": "formats of disks that the domain has not had before",
    "bootloaders": "programs that may be its boot loader; dom0 runs them as root",
    "kernels": "patterns for files in dom0 that may be its kernel or initrd",
    "actions": "what may happen when it stops (on_poweroff, on_reboot, on_crash ...)",
    "keys": "further keys and sub-keys to let pass unseen, such as cpus, vif.ip or disk.script",
}


def load(place: str) -> Policy:
    """The policy in this file. UsageError where it cannot be understood: nothing is guessed."""
    reader = configparser.ConfigParser(interpolation=None, strict=True)
    try:
        with open(place, encoding="utf-8") as file:
            reader.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise UsageError(f"the policy {place} cannot be read: {error}") from None
    if reader.defaults() or reader.sections() not in ([], ["allow"]):
        raise UsageError(f"{place} has another section than [allow]", "see pvprep-dom0(8)")
    values: dict[str, Any] = {}
    for key, text in reader["allow"].items() if reader.has_section("allow") else ():
        if key not in MEANINGS:
            known = ", ".join(MEANINGS)
            raise UsageError(f"{place}: there is no option {key!a}", f"known: {known}")
        values[key] = tuple(text.split())
    for key in ("memory", "vcpus"):
        if key in values:
            if not re.fullmatch(r"[0-9]{1,9}", " ".join(values[key])):
                raise UsageError(f"{place}: {key} wants a number", MEANINGS[key])
            values[key] = int(values[key][0])
    return Policy(**values)


def load_default() -> Policy:
    """The host's own policy, where there is one."""
    return load(PLACE) if os.path.lexists(PLACE) else Policy()


def matches(text: str, patterns: tuple[str, ...], name: str = "") -> bool:
    """Whether it is one of these patterns."""
    return any(_pattern(pattern, name).fullmatch(text) for pattern in patterns)


def _pattern(pattern: str, name: str) -> re.Pattern[str]:
    parts = re.split(r"(\*|\?|\{name\})", pattern)
    special = {"*": "[^/]*", "?": "[^/]", "{name}": re.escape(name)}
    return re.compile("".join(special.get(part, re.escape(part)) for part in parts), re.DOTALL)


def example() -> str:
    """The file with all defaults, as a comment: what the package installs."""
    lines = [
        "# What pvprep-dom0 allows a config that came out of a guest: see pvprep-dom0(8).",
        "# A domain may keep what it had as HVM, where --hvm or --domain says what that was.",
        "[allow]",
    ]
    for field in fields(Policy):
        value = field.default
        text = " ".join(value) if isinstance(value, tuple) else str(value)
        lines += ["", f"# {MEANINGS[field.name]}", f"#{field.name} = {text}".rstrip()]
    return "\n".join(lines) + "\n"
