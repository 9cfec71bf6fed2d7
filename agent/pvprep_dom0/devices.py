"""Judges the devices of a config: disks, interfaces, screens, each by what xl makes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from . import disks, places, policy, vifs
from .domains import Domain
from .findings import Finding
from .places import Place
from .policy import Policy

_VDEV = re.compile(r"(?:xvd([a-z]{1,2})|hd([a-d])|sd([a-p]))([1-9][0-9]?)?")
_LOCAL = ("127.0.0.1", "::1", "localhost")
# What each word of a screen may be.
_SCREEN = {
    "vnc": "[01]",
    "vncunused": "[01]",
    "vncdisplay": "[0-9]{1,2}",
    "keymap": "[a-z]{2}(-[a-z]{2})?",
    "sdl": "0",
    "opengl": "0",
}


@dataclass(frozen=True)
class Judge:
    """What a config is judged by. own: what the domain was; others: the other domains that run."""

    policy: Policy
    own: Optional[Domain] = None
    others: Sequence[Domain] = ()
    look: Callable[[str], Place] = places.look
    user: Callable[[Place], str] = places.user

    @property
    def name(self) -> str:
        """What {name} stands for: never what the config itself says."""
        return self.own.name if self.own else ""

    def allows(self, text: str, patterns: tuple[str, ...]) -> bool:
        """Whether a pattern of the policy fits; {name} fits nothing where the domain is unknown."""
        if not self.own:
            patterns = tuple(pattern for pattern in patterns if "{name}" not in pattern)
        return policy.matches(text, patterns, self.name)

    def lets_pass(self, key: str) -> bool:
        """Whether the policy lets a further key or sub-key pass unseen."""
        return key in self.policy.keys


def judge_disk(judge: Judge, spec: str, line: int, taken: set[str]) -> tuple[list[Finding], str]:
    """The findings, and the disk as it should be written. taken: the vdevs so far, added to."""
    try:
        disk = disks.parse(spec)
    except disks.DiskError as error:
        what = f"{spec!a}: {error}"
        remedy = "write format=, vdev=, access= and, last, target="
        return [Finding("disk.syntax", what, "xl stops, or guesses", remedy, line, "disk")], ""
    found = [*_disk_options(judge, disk, line), *_vdev(disk, line, taken)]
    if disk.target or not disk.cdrom:
        found += _target(judge, disk, line)
    plain = disk.script == disk.backend == "" and not disk.options
    return found, _written(disk) if plain else spec


def _written(disk: disks.Disk) -> str:
    kind = ", devtype=cdrom" if disk.cdrom else ""
    kind += f", backendtype={disk.backendtype}" if disk.backendtype else ""
    access = "rw" if disk.writable else "r"
    target = f", target={disk.target}" if disk.target else ""
    target += "," if target.endswith(",") else ""  # xl strips one
    form = "" if disk.format == "empty" else f"format={disk.format}, "
    return f"{form}vdev={disk.vdev}, access={access}{kind}{target}"


def _disk_options(judge: Judge, disk: disks.Disk, line: int) -> Iterator[Finding]:
    if disk.script and not judge.lets_pass("disk.script"):
        yield Finding(
            "disk.script", f"{disk.vdev}: dom0 would run the script {disk.script!a}",
            "it runs as root", "name a plain block device or file", line, "disk: script",
        )  # fmt: skip
    options = list(disk.options)
    if disk.backend:
        options.append("backend")
    if disk.backendtype not in ("", "phy", "qdisk"):
        options.append("backendtype")
    for option in options:
        if not judge.lets_pass(f"disk.{option}"):
            why, remedy = "nobody needs it, or another domain would serve the disk", "leave it out"
            what = f"{disk.vdev}: {option}"
            yield Finding("disk.option", what, why, remedy, line, f"disk: {option}")


def _vdev(disk: disks.Disk, line: int, taken: set[str]) -> Iterator[Finding]:
    found = _VDEV.fullmatch(disk.vdev or "")
    if not found:
        what, remedy = f"the vdev {disk.vdev!a}", "use xvda, xvdb ..."
        yield Finding("disk.vdev", what, "no PV guest can have it", remedy, line, "disk: vdev")
        return
    same = "".join(part or "" for part in found.groups())
    if same in taken:
        what = f"a second disk at {disk.vdev}"
        yield Finding("disk.vdev", what, "both have one name", "rename it", line, "disk: vdev")
    taken.add(same)


def _target(judge: Judge, disk: disks.Disk, line: int) -> Iterator[Finding]:
    target, key = disk.target or "", "disk: target"
    roundabout = places.roundabout(target)
    if roundabout:
        why = "a pattern or an eye can be deceived by it"
        remedy = "give the plain absolute path"
        yield Finding("disk.target", f"{target!a}: {roundabout}", why, remedy, line, key)
        return
    place = judge.look(target)
    had = _had(judge, place)
    if had is None:
        patterns = judge.policy.targets
        inside = judge.allows(target, patterns)
        if inside and place.kind == "file":
            inside = judge.allows(place.real, patterns)
        if not inside:
            leads = f" (it leads to {place.real!a})" if place.real != target else ""
            yield Finding(
                "disk.target", f"{target!a}{leads} is no disk that this domain may have",
                "the guest could read and write what is not its own",
                "say what it had with --hvm or --domain, or add it to `targets` in the policy",
                line, key,
            )  # fmt: skip
    yield from _format(judge, disk, had, line)
    if place.kind == "missing":
        what = f"{target!a} does not exist"
        yield Finding("disk.missing", what, "xl would stop", "make it, then check again", line, key)
    elif place.kind == "other":
        what = f"{target!a} is no disk"
        why = "it may be a device of dom0, such as its memory"
        yield Finding("disk.device", what, why, "name a block device or a file", line, key)
    yield from _in_use(judge, target, place, line)


def _had(judge: Judge, place: Place) -> Optional[str]:
    """The format that this disk of the domain has had; None where it has not had it."""
    if not judge.own:
        return None
    had = [*judge.own.disks, *((target, "raw") for target in judge.own.cdroms)]
    return next((form for target, form in had if places.same(judge.look(target), place)), None)


def _format(judge: Judge, disk: disks.Disk, had: Optional[str], line: int) -> Iterator[Finding]:
    allowed = judge.policy.formats if had is None else (had,)
    if disk.format not in allowed:
        yield Finding(
            "disk.format", f"{disk.vdev}: format={disk.format}",
            "a guest that writes an image's head decides which files dom0 opens"
            if had is None
            else f"until now it was {had}",
            f"use {' or '.join(allowed)}", line, "disk: format",
        )  # fmt: skip


def _in_use(judge: Judge, target: str, place: Place, line: int) -> Iterator[Finding]:
    users = [
        f"the domain {other.name} has it"
        for other in judge.others
        if any(places.same(judge.look(theirs), place) for theirs, _ in other.disks)
    ]
    users += filter(None, [judge.user(place)])
    for user in users:
        why = "two that write to one disk destroy it; one that reads it sees everything"
        remedy = "name the domain's own disk"
        yield Finding("disk.in-use", f"{target!a}: {user}", why, remedy, line, "disk: target")


def judge_vif(judge: Judge, spec: str, line: int, taken: set[str]) -> tuple[list[Finding], str]:
    """The findings, and the interface without what is wrong. taken: the MACs so far, added to."""
    found: list[Finding] = []
    good: dict[str, str] = {}
    for key, value in vifs.words(spec):
        finding = _vif_word(judge, key, value, line, taken)
        if key in good:
            what = f"{key} is there twice in {spec!a}"
            found.append(
                Finding("config.twice", what, "xl takes the last", "leave one", line, f"vif: {key}")
            )
        good.pop(key, None)
        if finding:
            found.append(finding)
        else:
            good[key] = value
    return found, ",".join(f"{key}={value}" if key else value for key, value in good.items())


_VIF_OPTIONS = (
    "backend", "devid", "gatewaydev", "ip", "model", "mtu", "netdev", "type", "vifname", "vlan",
    "trusted", "untrusted", "accel",
)  # fmt: skip


def _vif_word(
    judge: Judge, key: str, value: str, line: int, taken: set[str]
) -> Optional[Finding]:
    where = f"vif: {key or value}"
    if judge.lets_pass(f"vif.{key or value}") or (key, value) == ("type", "vif"):
        return None
    if key == "mac":
        return _mac(judge, value, line, taken)
    if key == "bridge":
        own = judge.own.bridges if judge.own else ()
        if value in own or judge.allows(value, judge.policy.bridges):
            return None
        return Finding(
            "vif.bridge", f"the bridge {value!a}", "the guest would be in another network",
            "say what it had with --hvm or --domain, or add it to `bridges` in the policy",
            line, where,
        )  # fmt: skip
    if key == "rate":
        if vifs.RATE.fullmatch(value):
            return None
        why, remedy = "xl would stop", "write it like 10Mb/s"
        return Finding("vif.rate", f"the rate {value!a}", why, remedy, line, where)
    if key == "script":
        why, remedy = "dom0 runs it as root", "leave it out"
        return Finding("vif.script", f"the script {value!a}", why, remedy, line, where)
    if (key or value) in _VIF_OPTIONS or key.startswith("colo_"):
        why = "it reaches dom0's scripts, or nobody needs it"
        return Finding("vif.option", f"{key}={value}"[:80], why, "leave it out", line, where)
    what = f"{f'{key}={value}' if key else value!a}"[:80]
    return Finding("vif.syntax", f"the word {what!a}", "xl does not know it", "", line, where)


def _mac(judge: Judge, mac: str, line: int, taken: set[str]) -> Optional[Finding]:
    if not vifs.is_unicast(mac):
        remedy = "six pairs of hex digits, the first an even number"
        why = "xl reads something else, or nothing"
        return Finding("vif.mac", f"the MAC {mac!a}", why, remedy, line, "vif: mac")
    mac = mac.lower()
    user = next((f"the domain {one.name} has it" for one in judge.others if mac in one.macs), "")
    if mac in taken:
        user = "an interface before has it"
    taken.add(mac)
    if user:
        why, remedy = "it would take another's packets", "give it an address of its own"
        return Finding("vif.mac-clash", f"{mac}: {user}", why, remedy, line, "vif: mac")
    return None


def judge_vfb(judge: Judge, spec: str, line: int) -> tuple[list[Finding], str]:
    """The findings, and the screen without what is wrong."""
    found, good = [], []
    for key, value in vifs.words(spec):
        where = f"vfb: {key}"
        if key == "vnclisten" and value in _LOCAL:
            good.append(f"{key}={value}")
        elif key == "vnclisten":
            why, remedy = "others could watch and type", "vnclisten=127.0.0.1, and a tunnel"
            found.append(Finding("vfb.listen", f"listens at {value!a}", why, remedy, line, where))
        elif judge.lets_pass(where.replace(": ", ".")) or (
            key in _SCREEN and re.fullmatch(_SCREEN[key], value)
        ):
            good.append(f"{key}={value}")
        else:
            what = f"{key}={value}" if key else value
            why = "xl ignores it and all behind it" if not key else "nobody needs it"
            found.append(Finding("vfb.option", what[:80], why, "leave it out", line, where))
    return found, ",".join(good)
