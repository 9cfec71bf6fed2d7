"""Judges a config that came out of a guest: hostile until proven otherwise, and only ever read.

An allow-list: a key passes if it is known to be harmless (keys.SHAPES) and its value is what this
host allows. Judged is what xl makes of the file (xlcfg, disks, vifs), not how it looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from . import devices, disks, places, xlcfg
from .devices import Judge
from .domains import Domain
from .findings import Finding, Level
from .keys import DANGERS, REFUSED, SHAPES
from .places import Place
from .policy import Policy
from .xlcfg import Setting, Value

MOST_BYTES = 65536
MOST_ITEMS = 64
MOST_TEXT = 2048

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# pygrub's own parser takes any unambiguous beginning of an option: --out for --output.
_PYGRUB_ARGUMENT = re.compile(r"--(?:kernel|ramdisk|args|entry)=.+|--offset=[0-9]{1,18}")
_SWITCHES = ("pvshim", "localtime", "bootloader_restrict")


@dataclass(frozen=True)
class Report:
    """findings: by line. safe: the settings, or parts of them, that nothing speaks against."""

    findings: tuple[Finding, ...]
    safe: dict[str, Value]

    @property
    def disks(self) -> list[tuple[str, str]]:
        """The safe disks that can be written to: (target, format)."""
        found = [disks.parse(str(spec)) for spec in self.safe.get("disk", ())]
        return [(disk.target, disk.format) for disk in found if disk.target and disk.writable]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What makes the config unsafe."""
        return tuple(one for one in self.findings if one.level is Level.ERROR)


def check(
    data: bytes,
    policy: Policy,
    own: Optional[Domain] = None,
    domains: Optional[Sequence[Domain]] = (),
    look: Callable[[str], Place] = places.look,
    user: Callable[[Place], str] = places.user,
) -> Report:
    """Judge it. own: what the domain has been. domains: all that run; None: that is not known."""
    others = tuple(one for one in domains or () if not _is_own(one, own))
    still = next((one for one in domains or () if _is_own(one, own)), None)
    checker = _Checker(Judge(policy, own, others, look, user))
    if domains is None:
        what, remedy = "`xl list -l` did not tell which domains run", "run this in dom0, as root"
        why = "names, UUIDs, MACs and disks may clash"
        checker.add(Finding("host.unknown", what, why, remedy, level=Level.WARNING))
    if still:
        what, remedy = f"{still.name} runs (domid {still.domid})", f"xl shutdown -w {still.name}"
        why = "two that write to one disk destroy it"
        checker.add(Finding("name.running", what, why, remedy, level=Level.WARNING))
    checker.file(data)
    return Report(tuple(sorted(checker.found, key=lambda one: one.line)), checker.safe)


def _is_own(one: Domain, own: Optional[Domain]) -> bool:
    if own is None:
        return False
    return one.name == own.name if own.domid is None else one.domid == own.domid


class _Checker:
    """Goes through the settings; each key's own judgement is the method of its name."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.found: list[Finding] = []
        self.safe: dict[str, Value] = {}

    def add(self, finding: Finding) -> None:
        self.found.append(finding)

    def file(self, data: bytes) -> None:
        if len(data) > MOST_BYTES:
            what = f"{len(data)} bytes, at most {MOST_BYTES} are read"
            self.add(Finding("config.size", what, "it exhausts whoever reads it"))
            return
        try:
            settings = xlcfg.parse(data.decode("utf-8", "surrogateescape"))
            effective = xlcfg.effective(settings)
        except xlcfg.ConfigError as error:
            id = "config.placeholder" if "REPLACE" in error.message else "config.syntax"
            remedy = "put the value in" if "REPLACE" in error.message else "have it made again"
            self.add(Finding(id, error.message, "xl does not take it", remedy, error.line))
            return
        last = {setting.key: setting for setting in settings}
        for setting in settings:
            if setting.append:
                self._say("config.append", setting, f"{setting.key} +=", "write it in one piece")
            elif setting is not last[setting.key] and not last[setting.key].append:
                what = f"{setting.key} again in line {last[setting.key].line}"
                self._say("config.twice", setting, what, "leave one of them")
        for setting in effective.values():
            self._setting(setting)
        self._whole()

    def _say(self, id: str, setting: Setting, what: str, remedy: str, why: str = "") -> None:
        self.add(Finding(id, what, why, remedy, setting.line, setting.key))

    def _setting(self, setting: Setting) -> None:
        key, value = setting.key, setting.value
        if not self._sane(setting, value):
            return
        if key not in SHAPES:
            if self.judge.lets_pass(key):
                self.safe[key] = value
                return
            id = REFUSED.get(key, "key.unknown")
            remedy = f"leave it out; a host that wants it has `keys = {key}` in its policy"
            self._say(id, setting, key, remedy, DANGERS[id])
            return
        if isinstance(value, str) != (SHAPES[key] != "list"):
            what = f"{key} is {'text' if isinstance(value, str) else 'a list'}"
            self._say("value.type", setting, what, "write it as xl.cfg(5) has it", "xl ignores it")
        elif isinstance(value, tuple):
            self._list(setting, value)
        elif SHAPES[key] == "number":
            self._number(setting, value)
        elif self._text(setting, value):
            self.safe[key] = value

    def _sane(self, setting: Setting, value: Value) -> bool:
        """Whether all its texts can be read, are not too long, and are filled in."""
        if isinstance(value, tuple):
            if len(value) > MOST_ITEMS:
                self._say("config.size", setting, f"{len(value)} items in {setting.key}", "")
                return False
            return all(self._sane(setting, one) for one in value)
        if len(value) > MOST_TEXT:
            self._say("config.size", setting, f"{len(value)} characters in {setting.key}", "")
        elif not value.isprintable():
            what = f"{setting.key} is {value[:60]!a}"
            self._say("config.control", setting, what, "", "it is not what it looks like")
        elif "REPLACE" in value:
            what, remedy = f"{setting.key} is {value[:80]!a}", "put in what only dom0 knows"
            self._say("config.placeholder", setting, what, remedy)
        else:
            return True
        return False

    def _number(self, setting: Setting, text: str) -> None:
        key, value = setting.key, xlcfg.number(text)
        if not re.fullmatch(r"0|[1-9][0-9]{0,9}", text):
            means = "nothing" if value is None else str(value)
            what = f"{key} = {text[:40]!a}"
            self._say("value.number", setting, what, "write it in decimal", f"xl reads {means}")
        if value is None or setting.append:
            return  # xl reads nothing
        judge, own = self.judge, self.judge.own
        most, id = 1, "value.text"
        if key in ("memory", "maxmem"):
            most, id = max(judge.policy.memory, own.memory if own else 0), "memory.limit"
        elif key in ("vcpus", "maxvcpus"):
            most, id = max(judge.policy.vcpus, own.vcpus if own else 0), "vcpus.limit"
        least = 0 if key in ("pvshim", "localtime") else 1
        if not least <= value <= most:
            why = "dom0 and other guests would lack it" if id != "value.text" else "it is a switch"
            what, remedy = f"{key} = {value}", f"from {least} to {most}"
            self._say(id, setting, what, remedy, why)
            value = min(max(value, least), most)
        self.safe[key] = str(value)

    def _text(self, setting: Setting, value: str) -> bool:
        key = setting.key
        if key.startswith("on_"):
            return self._action(setting, value)
        if key in ("kernel", "ramdisk"):
            return self._kernel(setting, value)
        judgement: Optional[Callable[[Setting, str], bool]] = getattr(self, f"_key_{key}", None)
        return judgement(setting, value) if judgement else True

    def _key_name(self, setting: Setting, name: str) -> bool:
        own, before = self.judge.own, len(self.found)
        if not _NAME.fullmatch(name) or name.isdigit() or ".." in name:
            why = "xl takes digits for a domid" if name.isdigit() else "it becomes part of paths"
            self._say("name.form", setting, f"the name {name!a}", "letters, digits and ._+-", why)
        elif own and name != own.name:
            what = f"the name {name!a}, but the domain is {own.name}"
            self._say("name.not-its-own", setting, what, f"name = {own.name!a}")
        elif any(one.name == name for one in self.judge.others):
            what = f"a domain {name} runs"
            self._say("name.clash", setting, what, "if it is this one, say --domain or --hvm")
        elif not self.judge.allows(name, self.judge.policy.names):
            wanted = " ".join(self.judge.policy.names)
            self._say("name.policy", setting, f"the name {name!a}", f"the policy wants {wanted}")
        return len(self.found) == before

    def _key_uuid(self, setting: Setting, uuid: str) -> bool:
        own, before = self.judge.own, len(self.found)
        if not _UUID.fullmatch(uuid.lower()):
            self._say("uuid.form", setting, f"the UUID {uuid!a}", "as uuidgen(1) writes it")
        elif own and own.uuid and uuid.lower() != own.uuid:
            what, remedy = f"the UUID {uuid}", f"the domain's is {own.uuid}"
            self._say("uuid.not-its-own", setting, what, remedy)
        elif other := next((one for one in self.judge.others if one.uuid == uuid.lower()), None):
            what = f"the UUID {uuid} is that of {other.name}"
            self._say("uuid.clash", setting, what, "give it its own, or none")
        return len(self.found) == before

    def _key_type(self, setting: Setting, value: str) -> bool:
        allowed = self.judge.policy.types
        if value in allowed and value in ("pv", "pvh"):
            return True
        remedy = f"{' or '.join(allowed)}"
        why = "xl takes any beginning of a type for it, and nothing at all for hvm"
        self._say("type.policy", setting, f"the type {value!a}", remedy, why)
        return False

    def _key_bootloader(self, setting: Setting, value: str) -> bool:
        if value in self.judge.policy.bootloaders:
            return True
        remedy = 'bootloader = "pygrub"'
        self._say("bootloader.policy", setting, f"{value!a}", remedy, "dom0 runs it as root")
        return False

    def _kernel(self, setting: Setting, path: str) -> bool:
        allowed = self.judge.policy.kernels
        real = self.judge.look(path).real
        plain = not places.roundabout(path)
        if plain and self.judge.allows(path, allowed) and self.judge.allows(real, allowed):
            return True
        remedy = f"`kernels` of the policy has {' '.join(allowed) or 'nothing'}"
        self._say("kernel.policy", setting, f"{setting.key} = {path!a}", remedy, "dom0 reads it")
        return False

    def _action(self, setting: Setting, value: str) -> bool:
        allowed = self.judge.policy.actions
        if value in allowed or (setting.key, value) == ("on_soft_reset", "soft-reset"):
            return True
        what, remedy = f"{setting.key} = {value!a}", " or ".join(allowed)
        self._say("action.policy", setting, what, remedy, "it can fill dom0's disk or memory")
        return False

    def _list(self, setting: Setting, values: tuple[Value, ...]) -> None:
        """Item by item: one that is wrong does not take the others with it."""
        good: list[Value] = []
        taken: set[str] = set()
        for value, line in zip(values, setting.items):
            if not isinstance(value, str):
                what, why = f"a list inside {setting.key}", "xl ignores it and all behind it"
                found, written = [Finding("value.type", what, why, "", line, setting.key)], ""
            else:
                found, written = self._item(setting.key, value, line, taken)
            self.found += found
            if written and (setting.key in ("vif", "vfb") or not found):
                good.append(written)
        if good or not values:
            self.safe[setting.key] = tuple(good)

    def _item(
        self, key: str, text: str, line: int, taken: set[str]
    ) -> tuple[list[Finding], str]:
        if key == "disk":
            return devices.judge_disk(self.judge, text, line, taken)
        if key == "vif":
            return devices.judge_vif(self.judge, text, line, taken)
        if key == "vfb":
            return devices.judge_vfb(self.judge, text, line)
        if _PYGRUB_ARGUMENT.fullmatch(text):
            return [], text
        remedy = "--kernel=, --ramdisk=, --args=, --offset= or --entry=, written out"
        why = "others write files in dom0"
        return [Finding("bootloader.arguments", f"{text!a}", why, remedy, line, key)], ""

    def _whole(self) -> None:
        """What the config lacks; told only where nothing was found against it already."""
        told = {one.key.partition(":")[0] for one in self.found}
        if "name" not in self.safe and "name" not in told:
            self.add(Finding("name.missing", "it has no name", remedy='name = "..."', key="name"))
        if not {"kernel", "bootloader"} & (self.safe.keys() | told):
            why, remedy = "there is nothing to start", 'bootloader = "pygrub"'
            self.add(Finding("boot.missing", "no kernel, no bootloader", why, remedy))
        if "bootloader" in self.safe and not {"disk"} & (self.safe.keys() | told):
            why, remedy = "a boot loader in dom0 reads the first disk", "name the domain's disk"
            self.add(Finding("boot.missing", "a bootloader, and no disk", why, remedy))
        if "memory" not in self.safe and "memory" not in told:
            why, remedy = "xl gives it 32 MiB", "memory = MIB"
            what = "it does not say how much memory"
            self.add(Finding("memory.missing", what, why, remedy, level=Level.WARNING))
