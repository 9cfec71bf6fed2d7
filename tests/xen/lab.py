"""Boots a guest from its disk images and the config that pvprep made, under a real Xen.

QEMU, in software emulation, runs Xen; Xen runs dom0 (dom0.py, dom0-init); dom0 runs the guest. The
config is used as it is: what it names in dom0 (a disk, a kernel) is there in this dom0, too.
"""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

from tests.guests.qemu import Qemu, escape
from tests.xen import dom0, facts
from tests.xen.dom0 import Dom0
from tests.xen.facts import Facts

# Where pvprep's configs of the tests have the guest's first disk.
BACKEND = "/dev/drbd/bifit"
# What a guest that is up has on its console.
LOGIN = "login: "

_INIT = Path(__file__).with_name("dom0-init")
# What emulation gets wrong: SMAP, in the interrupt return of a PV dom0; XSAVE, by which programs in
# PV guests crash at random; RDTSCP, AVX and AES, in what the emulated SVM hands to Xen.
_CPU = "max,-smap,-rdtscp,-avx,-aes,-xsave"
# QEMU's SVM loses an interrupt now and then: if all are idle then, all stay so until the next one.
_STIR_SECONDS = 20
_DOM0_SECONDS = 300  # for Xen and dom0 to get to the guest; 15 to 40 on an idle machine
_DOM0_MIB = 640
_XEN_MIB = 448  # Xen itself, what QEMU's machine keeps, and an HVM guest's tables and video memory
_XEN_OPTIONS = (
    f"dom0_mem={_DOM0_MIB}M,max:{_DOM0_MIB}M com1=115200,8n1 console=com1 loglvl=warning "
    "spec-ctrl=no xpti=no"
)
_DOM0_OPTIONS = "ro console=hvc0 nomodeset mitigations=off quiet"
_DOMAIN = re.compile(r"(?m)^LAB domain (\d+)\r?\n")

# After these a guest does not come up any more.
_GUEST_STOPS = re.compile(
    r"(?m)^.*(?:ALERT! .*does not exist|Kernel panic|You are in emergency mode|"
    r"Cannot open access to console|Entering emergency mode|grub(?: rescue)?> ).*$"
)
# A domain that ends any other way than powered off (0), or dom0's script does.
_DOM0_STOPS = re.compile(r"(?m)^.*(?:shut down, reason code [1-9]|LAB end).*$")
# pygrub's own words, behind the menu that it drew, tell more than xl's, which come before them.
_PYGRUB_ERROR = re.compile(r"(?m)^LAB bootloader .*?((?:RuntimeError: |Error ).*)$")
_DOM0_ERROR = re.compile(r"(?m)^(?:LAB problem |)(.*error\b.*)$")


class LabError(Exception):
    """The lab did not do its part, whatever the guest is like: nothing is known of the guest."""


@dataclass(frozen=True)
class Domain:
    """A domain to run. config None: the one that the domain before told on its console (inside.py),
    or else had itself.

    until: the texts on its console by which it is up; then it is shut down. Without any it is to go
    off by itself. timeout: seconds. run: a shell script for dom0, instead of `xl create`.
    """

    config: Optional[str]
    until: tuple[str, ...] = (LOGIN, facts.END)
    timeout: float = 1500
    run: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a guest.

    up: it told its facts, where it was asked to, and has a login on its console. off: it went off
    when asked, or by itself where it was to. seconds: from the start of the lab, or the end of the
    domain before, to the guest being up (or off); created: to xl having built the domain. pygrub:
    SHA-256 of what pygrub copied out of the guest, `kernel` and `ramdisk`. error: the first line
    that tells why it is not up. console, dom0: all that was said on both. xen: its version.
    """

    up: bool
    off: bool
    seconds: float
    created: float
    login: bool
    facts: Optional[Facts]
    pygrub: Mapping[str, str]
    error: str
    console: str
    dom0: str
    xen: str


class Machine(Qemu):
    """The machine with Xen. job: the archive that dom0-init reads. memory: the guest's, in MiB."""

    def __init__(
        self,
        lab: Dom0,
        disks: Sequence[Path],
        job: Path,
        work: Path,
        *,
        memory: int,
        snapshot: bool,
    ) -> None:
        self.guest_console = work / "guest.log"
        self.guest_console.write_bytes(b"")
        modules = f"{escape(lab.kernel)} root=/dev/vda {_DOM0_OPTIONS},{escape(lab.initrd)}"
        # With one processor there is less that depends on what else this machine does.
        argv = ["-cpu", _CPU, "-smp", "1", "-m", str(_DOM0_MIB + _XEN_MIB + memory)]
        argv += ["-kernel", str(lab.xen), "-initrd", modules, "-append", _XEN_OPTIONS]
        argv += ["-serial", f"file:{self.guest_console}", "-nic", "none"]
        kept = [not snapshot] * len(disks)
        for file, keep in zip([lab.disk, job, *disks], [False, False, *kept]):
            drive = f"file={escape(file)},format=raw,if=virtio,cache=unsafe"
            argv += ["-drive", f"{drive},snapshot={'off' if keep else 'on'}"]
        super().__init__(argv, work)

    def guest_text(self) -> str:
        """The guests' consoles so far."""
        return self.guest_console.read_text("utf-8", "replace")


def boot(
    image: Path,
    config: Path,
    work: Path,
    *,
    snapshot: bool = True,
    tells_facts: bool = True,
    files: Optional[Mapping[str, Path]] = None,
    timeout: float = 1500,
) -> Result:
    """Boot the image, as the guest's only disk, by this config; shut it down when it is up.

    The disk is the image wherever the config has it in dom0. tells_facts: the guest has the unit of
    facts.py. The rest is as run() has it.
    """
    text = config.read_text("utf-8", "surrogateescape")
    until = (LOGIN, facts.END) if tells_facts else (LOGIN,)
    targets = _targets(text)
    if len(targets) != 1:
        raise LabError(f"the config has {len(targets)} disks with target=, and the lab one image")
    (result,) = run(
        {targets[0]: image}, [Domain(text, until, timeout)], work, snapshot=snapshot, files=files
    )
    return result


def run(
    disks: Mapping[str, Path],
    domains: Sequence[Domain],
    work: Path,
    *,
    snapshot: bool = True,
    files: Optional[Mapping[str, Path]] = None,
) -> list[Result]:
    """Run the domains one after the other until one does not do what it should.

    disks: by their paths in dom0, as configs have them, raw images. files: what else configs name
    in dom0. Both are put there, and that is printed; the configs are used as they are. work: a
    directory, which gets console.log (Xen's and dom0's) and guest.log. snapshot: the images are not
    written to. Gives a result for each domain that was begun. Raises LabError where dom0 does not
    get to start the first.
    """
    lab = dom0.build()
    memory = max(_memory(domain.config) for domain in domains if domain.config)
    job = _job(disks, domains, work, files or {})
    watch = _Watch(Machine(lab, [*disks.values()], job, work, memory=memory, snapshot=snapshot))
    with watch.machine:
        while watch.going(domains):
            pass
    if not watch.domains:
        raise LabError(str(watch.machine.failure("dom0 did not get to start the guest")))
    return list(watch.results())


@dataclass
class _Watch:
    """Looks at both consoles until the last domain has ended, or one goes nowhere."""

    machine: Machine
    began: float = field(default_factory=time.monotonic)
    seen: dict[tuple[int, str], float] = field(default_factory=dict)
    stirred: float = 0.0

    def going(self, domains: Sequence[Domain]) -> bool:
        """Look once; False when there is nothing more to see."""
        # Asked before reading: what it says last is not missed.
        ended = self.machine.ended(0.2)
        now = time.monotonic() - self.began
        if now > self.stirred + _STIR_SECONDS:
            self.stirred = now
            self.machine.press_key()
        said = _split(self.machine.text())
        for number, text in said.items():
            for event in ("domain", "created", "up", "off"):
                if re.search(rf"(?m)^LAB {event}\b", text):
                    self.seen.setdefault((number, event), now)
        if not said:
            return not ended and now < _DOM0_SECONDS and "LAB end" not in self.machine.text()
        last = max(said)
        # A script may have a guest that does not come up, and go on.
        stopped = _DOM0_STOPS.search(said[last]) or (
            not domains[last - 1].run
            and _GUEST_STOPS.search(_split(self.machine.guest_text()).get(last, ""))
        )
        late = now - self.seen[last, "domain"] > domains[last - 1].timeout
        return not (ended or stopped or late)

    @property
    def domains(self) -> list[int]:
        """The numbers of those begun."""
        return sorted(number for number, event in self.seen if event == "domain")

    def results(self) -> Iterator[Result]:
        """What is known now."""
        said, guest = _split(self.machine.text()), _split(self.machine.guest_text())
        xen = "".join(re.findall(r"\(XEN\) Xen version (\S+)", self.machine.text())[:1])
        before = 0.0
        for number in self.domains:
            end = self.seen.get((number, "off"), time.monotonic() - self.began)
            up = self.seen.get((number, "up"))
            created = self.seen.get((number, "created"), before)
            seconds = (end if up is None else up) - before
            domain = _result(said[number], guest.get(number, ""), up is not None, seconds)
            yield replace(domain, created=created - before, xen=xen)
            before = end


def _split(said: str) -> dict[int, str]:
    """What was said during each domain, by its number."""
    parts = _DOMAIN.split(said)
    # The line that begins a part belongs to it: it is an event.
    said = zip(parts[1::2], parts[2::2])
    return {int(number): f"LAB domain {number}\n{text}" for number, text in said}


def _result(said: str, guest: str, up: bool, seconds: float) -> Result:
    off = "reason code 0" in said
    console = guest.partition("\n")[2]
    return Result(
        up=up,
        off=off,
        seconds=seconds,
        created=0.0,
        login=LOGIN in console,
        facts=facts.read(console),
        pygrub=dict(re.findall(r"LAB pygrub (\w+) ([0-9a-f]{64})", said)),
        error="" if up or off else _first_error(said, console, seconds),
        console=console,
        dom0=said,
        xen="",
    )


def _first_error(said: str, guest: str, seconds: float) -> str:
    found = _GUEST_STOPS.search(guest)
    if found:
        return found[0].strip()
    found = _PYGRUB_ERROR.search(said) or _DOM0_ERROR.search(said)
    if found:
        return found[1].strip()
    found = _DOM0_STOPS.search(said)
    return found[0].strip() if found else f"not up after {seconds:.0f} s"


def _targets(config: str) -> list[str]:
    return re.findall(r'target=([^"\n]+)"', config)


def _memory(config: str) -> int:
    found = re.search(r"(?m)^memory = ([0-9]+)$", config)
    if not found:
        raise LabError("the config has no memory = N")
    return int(found[1])


def _job(
    disks: Mapping[str, Path], domains: Sequence[Domain], work: Path, files: Mapping[str, Path]
) -> Path:
    """The archive for dom0-init. The bridge is made under the name that a config has for it."""
    configs = [domain.config for domain in domains if domain.config]
    bridges = [found for text in configs for found in re.findall(r'[",]bridge=([^,"]+)', text)]
    # QEMU's first two disks are dom0's own and this archive.
    places = {path: f"/dev/vd{chr(ord('c') + count)}" for count, path in enumerate(disks)}
    links = {path: place for path, place in places.items() if path != place}
    for path, place in links.items():
        print(f"lab: {path} in dom0 -> {place}, which is {disks[path].name}", flush=True)
    for path, file in files.items():
        print(f"lab: {path} in dom0 is {file.name}", flush=True)
    job = work / "job.tar"
    with tarfile.open(job, "w") as archive:
        _add(archive, "bridge", f"{bridges[0] if bridges else 'xenbr0'}\n")
        _add(archive, "links", "".join(f"{path} {place}\n" for path, place in links.items()))
        _add(archive, "root/.keep", "")
        archive.add(_INIT, "init")
        for path, file in files.items():
            archive.add(file, f"root{path}")
        for number, domain in enumerate(domains, 1):
            _add(archive, f"{number}/until", "".join(f"{text}\n" for text in domain.until))
            if domain.run:
                _add(archive, f"{number}/run", domain.run)
            if domain.config is not None:
                _add(archive, f"{number}/guest.cfg", domain.config)
    return job


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
