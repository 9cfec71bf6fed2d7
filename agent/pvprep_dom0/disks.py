"""A disk as xl-disk-configuration(5) has it: libxlu_disk_l.l and libxlu_disk.c, rule by rule.

flex takes the rule that matches most, the first of equals; its trailing context counts. That is why
`phy:` is a prefix wherever a parameter can begin, and why target= swallows all the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

FORMATS = ("raw", "qcow", "qcow2", "vhd", "empty", "qed")
BACKENDS = ("phy", "tap", "qdisk", "standalone")


class DiskError(Exception):
    """xl refuses the disk, or may read it otherwise in another release; the words say why."""


@dataclass
class Disk:
    """What xl makes of it. target None: none given. options: sub-keys beyond the usual ones."""

    target: Optional[str] = None
    vdev: Optional[str] = None
    format: str = ""
    writable: bool = True
    cdrom: bool = False
    script: str = ""
    backend: str = ""
    backendtype: str = ""
    options: tuple[str, ...] = ()


# (name, what is consumed, the trailing context), in the order of libxlu_disk_l.l.
_RULES = tuple(
    (name, re.compile(taken), re.compile(context))
    for name, taken, context in (
        ("space", r"[ \t\n]+", r"(?:[^ \t\n].*)?"),
        ("format", r"format=[^,]*,?", ""),
        ("cdrom", r"(?:devtype=)?cdrom,?", ""),
        ("disk", r"devtype=disk,?", ""),
        ("devtype", r"devtype=[^,]*,?", ""),
        ("access", r"access=[^,]*,?", ""),
        ("backend", r"backend=[^,]*,?", ""),
        ("backendtype", r"backendtype=[^,]*,?", ""),
        ("vdev", r"vdev=[^,]*,?", ""),
        ("script", r"script=[^,]*,?", ""),
        # In some releases of Xen and not in others, which take these words for positional ones.
        (
            "option",
            r"(?:(?:specification|colo-host|colo-port|colo-export|active-disk|hidden-disk)=[^,]*"
            r"|direct-io-safe|(?:no-)?discard|(?:no-)?colo|(?:un)?trusted|grant_usage=[01]),?",
            "",
        ),
        ("target", r"target=.*", ""),
        ("prefix", r"(?:raw|qcow2?|vhd):", r".*"),
        ("hotplug", r"(?:iscsi|e?nbd|drbd):", r".*"),
        ("ignored", r"(?:tapdisk|tap2?|aio|ioemu|file|phy):", r".*"),
        ("unknown", r"[a-z][a-z0-9]*:", r"(?:[^a-z0-9].*)?"),
        ("positional", r"[^=,]*,", ""),
        ("positional", r"[^=,]+,?", ""),
    )
)


def parse(spec: str) -> Disk:
    """Raises DiskError where xl would stop."""
    return _Reader(spec).disk


class _Reader:
    def __init__(self, spec: str) -> None:
        self.disk = Disk()
        self._prefixed = False
        self._access_set = False
        place = 0
        while place < len(spec):
            rule, end = _longest(spec, place)
            word, place = spec[place:end], end
            getattr(self, f"_{rule}")(word)
        self._finish()

    def _finish(self) -> None:
        disk = self.disk
        disk.format = disk.format or "raw"
        if disk.cdrom:
            disk.writable = False
            if not disk.target:
                disk.format = "empty"
        if disk.vdev is None:
            raise DiskError("it has no vdev")
        if disk.target is None and not disk.cdrom:
            raise DiskError("it has no target")

    def _space(self, word: str) -> None:
        pass

    def _cdrom(self, word: str) -> None:
        self.disk.cdrom = True

    def _disk(self, word: str) -> None:
        self.disk.cdrom = False

    def _devtype(self, word: str) -> None:
        raise DiskError(f"{word!a} is no type")

    def _format(self, word: str) -> None:
        self._set_format(_value(word))

    def _set_format(self, value: str) -> None:
        value = value or "raw"
        if value not in FORMATS:
            raise DiskError(f"{value!a} is no format")
        if self.disk.format not in ("", value):
            raise DiskError("it has two formats")
        self.disk.format = value

    def _access(self, word: str) -> None:
        self._set_access(_value(word))

    def _set_access(self, value: str) -> None:
        if value not in ("r", "ro", "rw", "w", ""):
            raise DiskError(f"{value!a} is no access")
        self.disk.writable = value not in ("r", "ro")

    def _backend(self, word: str) -> None:
        self.disk.backend = self._once("backend", self.disk.backend, _value(word))

    def _backendtype(self, word: str) -> None:
        value = _value(word)
        if value not in BACKENDS:
            raise DiskError(f"{value!a} is no backendtype")
        self.disk.backendtype = self._once("backendtype", self.disk.backendtype, value, same=True)

    def _vdev(self, word: str) -> None:
        self.disk.vdev = self._once("vdev", self.disk.vdev, _value(word))

    def _script(self, word: str) -> None:
        self.disk.script = self._once("script", self.disk.script, _value(word))

    def _option(self, word: str) -> None:
        self.disk.options = (*self.disk.options, re.split("[=,]", word)[0])

    def _target(self, word: str) -> None:
        self.disk.target = self._once("target", self.disk.target, _value(word))

    def _prefix(self, word: str) -> None:
        self._prefixed = True
        self._set_format(word[:-1])

    def _hotplug(self, word: str) -> None:
        self._prefixed = True
        self.disk.script = self._once("script", self.disk.script, f"block-{word[:-1]}")

    def _ignored(self, word: str) -> None:
        self._prefixed = True

    def _unknown(self, word: str) -> None:
        raise DiskError(f"{word!a} is no prefix that xl knows")

    def _positional(self, word: str) -> None:
        word = _stripped(word)
        disk = self.disk
        if disk.target is None:
            disk.target = word
        elif not self._prefixed and not disk.format:
            if not disk.target and self._vdev_and_type(word):
                disk.format = "empty"
            else:
                self._set_format(word)
        elif disk.vdev is None:
            if not self._vdev_and_type(word):
                disk.vdev = word
        elif not self._access_set:
            self._access_set = True
            self._set_access(word)
        else:
            raise DiskError("it has too many positional parameters")

    def _vdev_and_type(self, word: str) -> bool:
        """`hdc:cdrom`"""
        vdev, colon, kind = word.rpartition(":")
        if not colon:
            return False
        self.disk.vdev = self._once("vdev", self.disk.vdev, vdev)
        if kind not in ("cdrom", "disk"):
            raise DiskError(f"{kind!a} is no type")
        self.disk.cdrom = kind == "cdrom"
        return True

    def _once(self, what: str, old: Optional[str], new: str, same: bool = False) -> str:
        """Setting a thing twice is an error in xl, unless it was empty."""
        if old and not (same and old == new):
            raise DiskError(f"it has two {what}s")
        return new


def _longest(spec: str, place: int) -> tuple[str, int]:
    """The rule that flex takes here, and where what it consumes ends."""
    best, rule, end = place, "", place
    for name, taken, context in _RULES:
        found = taken.match(spec, place)
        rest = context.match(spec, found.end()) if found else None
        if found and rest and rest.end() > best:
            best, rule, end = rest.end(), name, found.end()
    if not rule:
        raise DiskError(f"{spec[place : place + 40]!a} is nothing that xl can read")
    return rule, end


def _value(word: str) -> str:
    return _stripped(word).partition("=")[2]


def _stripped(word: str) -> str:
    """Without the comma at the end, one only."""
    return word[:-1] if word.endswith(",") else word
