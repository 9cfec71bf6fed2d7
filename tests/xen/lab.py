"""Boots a guest from its disk image and the config that pvprep made, under a real Xen.

QEMU, in software emulation, runs Xen; Xen runs dom0 (dom0.py, dom0-init); dom0 runs the guest.
"""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tests.guests.qemu import Qemu, escape
from tests.xen import dom0, facts
from tests.xen.dom0 import Dom0
from tests.xen.facts import Facts

_INIT = Path(__file__).with_name("dom0-init")
# What emulation gets wrong: SMAP, in the interrupt return of a PV dom0; XSAVE, by which programs in
# PV guests crash at random; RDTSCP, AVX and AES, in what the emulated SVM hands to Xen.
_CPU = "max,-smap,-rdtscp,-avx,-aes,-xsave"
_DOM0_SECONDS = 180  # for Xen and dom0 to get to the guest; 15 to 40 on an idle machine
_DOM0_MIB = 640
_XEN_MIB = 384  # Xen itself, and what QEMU's machine keeps
_XEN_OPTIONS = (
    f"dom0_mem={_DOM0_MIB}M,max:{_DOM0_MIB}M com1=115200,8n1 console=com1 loglvl=warning "
    "spec-ctrl=no xpti=no"
)
_DOM0_OPTIONS = "ro console=hvc0 nomodeset mitigations=off quiet"

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
class Result:
    """What became of a guest.

    up: it told its facts, where it was asked to, and has a login on its console. off: it went off
    when asked. seconds: from the start of QEMU to the guest being up; created: to xl having built
    the domain. pygrub: SHA-256 of what pygrub copied out of the guest, `kernel` and `ramdisk`.
    error: the first line that tells why it is not up. console, dom0: all that was said on both.
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


class Machine(Qemu):
    """The machine with Xen. job: the archive that dom0-init reads. memory: the guest's, in MiB."""

    def __init__(
        self, lab: Dom0, disk: Path, job: Path, work: Path, *, memory: int, snapshot: bool
    ) -> None:
        self.guest_console = work / "guest.log"
        self.guest_console.write_bytes(b"")
        modules = f"{escape(lab.kernel)} root=/dev/vda {_DOM0_OPTIONS},{escape(lab.initrd)}"
        # With one processor there is less that depends on what else this machine does.
        argv = ["-cpu", _CPU, "-smp", "1", "-m", str(_DOM0_MIB + _XEN_MIB + memory)]
        argv += ["-kernel", str(lab.xen), "-initrd", modules, "-append", _XEN_OPTIONS]
        argv += ["-serial", f"file:{self.guest_console}", "-nic", "none"]
        for file, kept in ((lab.disk, False), (disk, not snapshot), (job, False)):
            drive = f"file={escape(file)},format=raw,if=virtio,cache=unsafe"
            argv += ["-drive", f"{drive},snapshot={'off' if kept else 'on'}"]
        super().__init__(argv, work)

    def guest_text(self) -> str:
        """The guest's console so far."""
        return self.guest_console.read_text("utf-8", "replace")


def boot(
    image: Path,
    config: Path,
    work: Path,
    *,
    snapshot: bool = True,
    tells_facts: bool = True,
    files: Optional[Mapping[str, Path]] = None,
    timeout: float = 600,
) -> Result:
    """Boot the image, as the guest's only disk, by this config; shut it down when it is up.

    Of the config the disk's path in dom0 alone becomes another, and the paths that files names:
    they become those files' (for a kernel that dom0 is to have). What becomes what is printed.
    work: a directory, which gets console.log (Xen's and dom0's), guest.log and the config used.
    snapshot: the image is not written to. tells_facts: the guest has the unit of facts.py.
    timeout: seconds for it all. Raises LabError where dom0 does not get to start the guest.
    """
    lab = dom0.build()
    text = _mapped(config.read_text("utf-8", "surrogateescape"), files or {})
    job = _job(text, work, files or {}, tells_facts)
    machine = Machine(lab, image, job, work, memory=_memory(text), snapshot=snapshot)
    began = time.monotonic()
    seen: dict[str, float] = {}
    with machine:
        while True:
            # Asked before reading: what it says last is not missed.
            ended = machine.ended(0.2)
            now = time.monotonic()
            said = machine.text()
            for event in ("created", "up"):
                if event not in seen and f"LAB {event}" in said:
                    seen[event] = now - began
            stopped = _GUEST_STOPS.search(machine.guest_text()) or _DOM0_STOPS.search(said)
            late = now - began > (timeout if "LAB create" in said else min(timeout, _DOM0_SECONDS))
            if ended or stopped or late:
                break
        if "LAB create" not in said:
            raise LabError(str(machine.failure("dom0 did not get to start the guest")))
        if "up" in seen:
            machine.ended(30)  # dom0 powers off; nothing is lost if it does not
    return _result(seen, time.monotonic() - began, machine)


def _result(seen: Mapping[str, float], seconds: float, machine: Machine) -> Result:
    said, guest = machine.text(), machine.guest_text()
    up = "up" in seen
    return Result(
        up=up,
        off="reason code 0" in said,
        seconds=seen.get("up", seconds),
        created=seen.get("created", 0.0),
        login="login: " in guest,
        facts=facts.read(guest),
        pygrub=dict(re.findall(r"LAB pygrub (\w+) ([0-9a-f]{64})", said)),
        error="" if up else _first_error(said, guest, seconds),
        console=guest,
        dom0=said,
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


def _mapped(config: str, files: Mapping[str, Path]) -> str:
    """The config with paths of this lab; says so."""
    found = re.findall(r'target=([^"\n]+)"', config)
    if len(found) != 1:
        raise LabError(f"the config has {len(found)} disks with target=; the lab has one")
    paths = {f'target={found[0]}"': 'target=/dev/vdb"'}
    paths |= {f'"{path}"': f'"/run/lab/{_file_name(path)}"' for path in files}
    for old, new in paths.items():
        if old not in config:
            raise LabError(f"the config does not have {old}")
        config = config.replace(old, new)
        print(f"lab: {old} -> {new}", flush=True)
    return config


def _file_name(path: str) -> str:
    return "file-" + path.strip("/").replace("/", "-")


def _memory(config: str) -> int:
    found = re.search(r"(?m)^memory = ([0-9]+)$", config)
    if not found:
        raise LabError("the config has no memory = N")
    return int(found[1])


def _job(config: str, work: Path, files: Mapping[str, Path], tells_facts: bool) -> Path:
    """The archive for dom0-init. The bridge is made under the name that the config has for it."""
    bridge = re.search(r"[\",]bridge=([^,\"]+)", config)
    until = ["login: ", *([facts.END] if tells_facts else [])]
    (work / "used.cfg").write_text(config, "utf-8", "surrogateescape")
    job = work / "job.tar"
    with tarfile.open(job, "w") as archive:
        _add(archive, "guest.cfg", (work / "used.cfg").read_bytes())
        _add(archive, "bridge", f"{bridge[1] if bridge else 'xenbr0'}\n".encode())
        _add(archive, "until", "".join(f"{text}\n" for text in until).encode())
        archive.add(_INIT, "init")
        for path, file in files.items():
            archive.add(file, _file_name(path))
    return job


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
