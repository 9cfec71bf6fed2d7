"""Whole guests: one file of any content in a tree that is surveyed, planned and told about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from tests.fuzz.target import CORPUS, Target, refusing
from tests.unit import trees
from tests.unit.building import GRUB_CFG, MENU_LST, VERSION, ids, kinds, settle
from tests.unit.building import guest as guest_of
from tests.unit.building import plan as plan_of
from tests.unit.pygrub_cases.compare import CASES

from pvprep import explain, plan, redact, survey
from pvprep.changes import WriteFile
from pvprep.errors import PvprepError
from pvprep.facts import InitrdProof, KernelProof
from pvprep.guest import Guest
from pvprep.options import Options
from pvprep.report import Screen

# The file that an input is, by its first byte, and its seeds. Appended to only: the inputs that are
# kept go by the number.
FILES: tuple[tuple[str, str], ...] = (
    ("/etc/fstab", "fstab"),
    ("/etc/crypttab", "crypttab"),
    (GRUB_CFG, "*.grub.cfg"),
    (MENU_LST, "*.menu.lst"),
    ("/etc/default/grub", "shell"),
    ("/etc/udev/rules.d/70-persistent-net.rules", "udev"),
    ("/etc/netplan/01.yaml", "netplan"),
    ("/etc/systemd/network/20.network", "networkd"),
    ("/etc/NetworkManager/system-connections/a", "keyfile"),
    ("/etc/sysconfig/network-scripts/ifcfg-eth0", "ifcfg"),
    ("/etc/inittab", "inittab"),
    ("/etc/modules", "modules"),
    ("/etc/initramfs-tools/modules", "modules"),
    ("/etc/initramfs-tools/conf.d/resume", "shell"),
    ("/etc/modprobe.d/aliases.conf", "modprobe"),
    ("/etc/lvm/lvm.conf", "tokens"),
    ("/etc/mdadm/mdadm.conf", "tokens"),
    ("/etc/os-release", "os-release"),
    ("/var/lib/dpkg/status", "dpkg"),
    ("/etc/apt/sources.list", "dpkg"),
    (f"/lib/modules/{VERSION}/modules.dep", "modules.dep"),
    (f"/boot/config-{VERSION}", "kernel-config"),
    ("/etc/hostname", "os-release"),
    ("/etc/securetty", "securetty"),
    ("/boot/grub/device.map", "tokens"),
    ("/etc/kernel/cmdline", "arguments"),
    ("/boot/grub/grubenv", "grubenv"),
    ("/etc/lilo.conf", "tokens"),
    ("/etc/network/interfaces", "networkd"),
    ("/var/cache/debconf/config.dat", "dpkg"),
)


def _pick(data: bytes) -> tuple[str, bytes]:
    number = data[0] if data else 0
    return FILES[number % len(FILES)][0], data[1:]


def _seeds() -> Iterator[bytes]:
    for number, (_, kind) in enumerate(FILES):
        found = CASES.glob(kind) if "*" in kind else (CORPUS / kind).iterdir()
        for path in sorted(found):
            yield bytes([number]) + path.read_bytes()


@lru_cache
def _known() -> frozenset[str]:
    return frozenset(explain.topics())


def _plan(data: bytes) -> None:
    """A plan settles at once, and each finding has an id that pvprep explains."""
    path, content = _pick(data)
    for options in ({}, {"device_names": "uuid", "bootloader": "direct"}):
        with refusing(PvprepError):
            after, first = settle(guest_of({path: content}), **options)
            again = plan_of(after, **options)
            assert kinds(again, WriteFile) == []
            assert set(ids(first)) | set(ids(again)) <= _known()
            assert first.changes or first.errors or again.ready


class _Trees:
    """One tree for all inputs: only the file that an input is changes, and changes back."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.root = Path(self.stack.enter_context(TemporaryDirectory(dir="/dev/shm")))
        trees.make(self.root)

    def survey(self, path: str, content: bytes) -> None:
        """Survey, plan and report, with one file's content replaced."""
        place = self.root / path.lstrip("/")
        before = place.read_bytes() if place.exists() else None
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        try:
            with refusing(PvprepError):
                facts = survey.take(Guest(str(self.root)), plan.reads())
                found = plan.make(facts, Options())
                assert set(ids(found)) <= _known()
                with open("/dev/null", "w") as nowhere:
                    screen = Screen(nowhere)
                    screen.head(facts)
                    screen.plan(found)
                    screen.ending(found, "prepare", True)
        finally:
            if before is None:
                place.unlink()
            else:
                place.write_bytes(before)


@lru_cache
def _trees() -> _Trees:
    return _Trees()


def _proofs(jobs: list[tuple[object, str]]) -> dict[tuple[object, str], object]:
    """As for an image and an initrd that are good; opening them has targets of its own."""
    return {
        job: InitrdProof(kind="initramfs-tools")
        if "initrd" in job[1]
        else KernelProof(pv=True, pvh=True, bits=64, compression="xz")
        for job in jobs
    }


def _survey(data: bytes) -> None:
    with mock.patch("pvprep.survey.kernels.run", _proofs):
        _trees().survey(*_pick(data))


def _redact(data: bytes) -> None:
    """The same, as `pvprep report` takes it: redacted, and twice is once."""
    path, content = _pick(data)
    once = redact.file(path, content)
    if once is not None:
        assert redact.file(path, once) == once
        assert once.count(b"\n") == content.count(b"\n")


TARGETS = (
    Target("guests/plan", _plan, _seeds),
    Target("guests/survey", _survey, _seeds),
    Target("guests/redact", _redact, _seeds),
)
