"""Installed kernels with what their images, configurations, modules and initrds say."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Optional
from weakref import WeakKeyDictionary

from .. import __version__
from ..facts import InitrdProof, Kernel, KernelProof
from ..findings import Finding, Level
from ..guest import Guest
from ..synced import private
from .initrd_image import prove_initrd
from .isolate import Prover, run
from .kernel_image import prove_kernel

MIB = 1024 * 1024
IMAGES = re.compile(r"(?:vmlinuz|vmlinux|kernel)-(?P<version>.+)")
# Images that are not for booting the guest: crash dumps, rescue, backups, SUSE's vmlinux-V.gz, and
# SUSE's links without a version (vmlinuz-xen).
NOT_GUESTS = re.compile(r"kdump|rescue|\.(old|bak|dpkg-\w+|orig|gz|xz)$|^\.|^[^\d]+$")
INITRDS = tuple(
    f"/boot/{name}" for name in ("initrd.img-{}", "initramfs-{}.img", "initrd-{}.img", "initrd-{}")
)
CONFIG = re.compile(
    r"^(?:CONFIG_(?P<set>XEN\w*|HVC_XEN|X86_XEN|X86_64_XEN|RD_\w+)=(?P<value>[ymn])"
    r"|# CONFIG_(?P<unset>XEN\w*|HVC_XEN|RD_\w+) is not set)$",
    re.M,
)
# What builds the frontends, in either line of kernels.
FRONTEND_OPTIONS = {
    "XEN_BLKDEV_FRONTEND": ("xen_blkfront", "xenblk"),
    "XEN_NETDEV_FRONTEND": ("xen_netfront", "xennet"),
}
# Opening images costs most of a check. What was proven is remembered until the next boot, in
# memory, for exactly this inode with these times: nothing on the guest's disk is written.
# Another version of pvprep may write other proofs, and what they hold has a number as well. Of a
# tree it is remembered as long as this process works on it.
MEMORY = f"/run/pvprep/proofs-{__version__}-2.json"
_OF_TREES: WeakKeyDictionary[Guest, dict[str, Any]] = WeakKeyDictionary()


def kernels(
    guest: Guest, every_initrd: bool = False
) -> tuple[tuple[Kernel, ...], dict[str, InitrdProof]]:
    """All kernels in /boot, newest last as the names sort; and the initrds of PV-capable ones.

    What cannot be PV-capable by its configuration has its initrd left unopened: it costs time.
    every_initrd: it is opened all the same, as another kernel's may have to be made from it.
    """
    found = [kernel for kernel in (_kernel(guest, name) for name in _images(guest)) if kernel]
    able = [one for one in found if every_initrd or one.config.get("XEN_PV") != "n"]
    images, initrds = _Proofs(guest).take(
        [kernel.image for kernel in found], [kernel.initrd for kernel in able if kernel.initrd]
    )
    return tuple(replace(kernel, proof=images[kernel.image]) for kernel in found), initrds


def elsewhere(guest: Guest) -> list[Finding]:
    """Kernels that lie with their modules alone: kernel-install copies them to /boot, or did not.

    Source: kernel-install(8). Neither pygrub nor pvgrub looks there.
    """
    return [
        Finding(
            "kernel.not-in-boot",
            Level.WARN,
            f"kernel {version} lies in /lib/modules only, where no PV boot loader looks",
            where=f"/lib/modules/{version}/vmlinuz",
            remedy=f"kernel-install add {version} /lib/modules/{version}/vmlinuz",
        )
        for version in guest.names("/lib/modules")
        if guest.is_file(f"/lib/modules/{version}/vmlinuz")
        and not guest.is_file(f"/boot/vmlinuz-{version}")
    ]


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for kernel versions: numbers as numbers (6.1.9 before 6.1.10)."""
    return tuple(
        (1, int(part), "") if part.isdigit() else (0, 0, part)
        for part in re.findall(r"\d+|[^\d.\-_+~]+", version)
    )


def _images(guest: Guest) -> list[str]:
    names = [name for name in guest.names("/boot") if IMAGES.fullmatch(name)]
    return sorted(
        (name for name in names if not NOT_GUESTS.search(name)),
        key=lambda name: version_key(name.split("-", 1)[1]),
    )


def _kernel(guest: Guest, name: str) -> Optional[Kernel]:
    match = IMAGES.fullmatch(name)
    image = f"/boot/{name}"
    if match is None or not guest.is_file(image):
        return None
    version = match["version"]
    initrd = next((path for form in INITRDS if guest.is_file(path := form.format(version))), "")
    config_path, config, lines = _config(guest, version)
    modules = f"/lib/modules/{version}"
    there = guest.is_file(f"{modules}/modules.builtin")
    listed = guest.text(f"{modules}/modules.builtin") if there else None
    return Kernel(
        version=version,
        image=image,
        proof=KernelProof(),
        initrd=initrd,
        config=config,
        config_path=config_path,
        config_lines=lines,
        builtin=builtin_modules(listed, config),
        modules=frozenset(listed_modules(guest.text(f"{modules}/modules.dep"))),
    )


def _config(guest: Guest, version: str) -> tuple[str, dict[str, str], dict[str, int]]:
    """Its path, what it says of the options that matter here, and in which lines."""
    for path in (f"/boot/config-{version}", f"/lib/modules/{version}/config"):
        if guest.is_file(path):
            return (path, *config_values(guest.text(path)))
    return "", {}, {}


def builtin_modules(listed: Optional[str], config: Mapping[str, str]) -> frozenset[str]:
    """What is built into a kernel. listed: its modules.builtin, None before there was one (2.6.33):
    then of the frontends what its configuration says.
    """
    if listed is not None:
        return frozenset(module_names(listed))
    options = (option for option in FRONTEND_OPTIONS if config.get(option) == "y")
    return frozenset(name for option in options for name in FRONTEND_OPTIONS[option])


def config_values(text: str) -> tuple[dict[str, str], dict[str, int]]:
    """What a kernel's configuration says of the options that matter here, and in which lines."""
    values, lines = {}, {}
    line, at = 1, 0
    for found in CONFIG.finditer(text):
        line, at = line + text.count("\n", at, found.start()), found.start()
        key = found["set"] or found["unset"]
        values[key] = found["value"] or "n"
        lines[key] = line
    return values, lines


def listed_modules(text: str) -> set[str]:
    """The modules that modules.dep lists: in each line, the part before the colon."""
    return module_names("\n".join(line.split(":")[0] for line in text.split("\n")))


def module_names(text: str) -> set[str]:
    """The modules whose files are named, one a line, with `_` for `-`."""
    names = re.findall(r"([^/\n]+)\.ko(?:\.\w+)?$", text, re.M)
    return {name.replace("-", "_") for name in names}


class _Proofs:
    """Proofs of images, opened side by side, each at most once until the next boot."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.new = False
        # Only where /run is the running system's own and in memory.
        self.usable = guest.running and os.path.ismount("/run") and os.geteuid() == 0
        self.known: dict[str, Any] = {}
        if not guest.running:
            self.known = _OF_TREES.setdefault(guest, {})
        elif self.usable:
            try:
                known = json.loads(guest.text(MEMORY) or "{}")
            except ValueError:
                known = {}
            self.known = known if isinstance(known, dict) else {}

    def take(
        self, images: Sequence[str], initrds: Sequence[str]
    ) -> tuple[dict[str, KernelProof], dict[str, InitrdProof]]:
        """Proofs of kernels and of initrds, by path; those not known yet all at once."""
        known = self._known([*images, *initrds])
        kernel_jobs = {path: (prove_kernel, self.guest.host(path)) for path in images}
        initrd_jobs = {path: (prove_initrd, self.guest.host(path)) for path in initrds}
        jobs: dict[str, tuple[Prover[Any], str]] = {**kernel_jobs, **initrd_jobs}
        proofs = run([job for path, job in jobs.items() if path not in known])
        kernels = {
            path: KernelProof(**known[path]) if path in known else proofs[job]
            for path, job in kernel_jobs.items()
        }
        opened = {
            path: _unpack(known[path]) if path in known else proofs[job]
            for path, job in initrd_jobs.items()
        }
        self._keep({path: asdict(proof) for path, proof in kernels.items() if path not in known})
        self._keep({path: _pack(proof) for path, proof in opened.items() if path not in known})
        self._remember()
        return kernels, opened

    def _remember(self) -> None:
        """Write down what was proven, if there is anything new."""
        if not (self.usable and self.new):
            return
        try:
            os.makedirs(os.path.dirname(MEMORY), mode=0o700, exist_ok=True)
            temporary = f"{MEMORY}.{os.getpid()}"
            with open(temporary, "w", opener=private) as out:
                json.dump(self.known, out)
            os.rename(temporary, MEMORY)
        except OSError:
            pass  # only speed is lost

    def _known(self, paths: Sequence[str]) -> dict[str, Any]:
        kept = {path: self.known.get(self._key(path)) for path in paths}
        return {path: value for path, value in kept.items() if value is not None}

    def _keep(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        for path, value in values.items():
            if not value["problem"]:
                self.known[self._key(path)] = value
                self.new = True

    def _key(self, path: str) -> str:
        info: Optional[os.stat_result] = self.guest.stat(path)
        if info is None or not stat.S_ISREG(info.st_mode):
            return path
        times = f"{info.st_mtime_ns} {info.st_ctime_ns}"
        return f"{path} {info.st_dev}:{info.st_ino} {info.st_size} {times}"


def _pack(proof: InitrdProof) -> dict[str, Any]:
    """As JSON can hold it: latin-1 keeps every byte."""
    return {
        **{key: getattr(proof, key) for key in ("kind", "resume", "problem")},
        **{key: list(getattr(proof, key)) for key in ("compression", "versions", "preload")},
        "modules": sorted(proof.modules),
        "by_version": {one: sorted(names) for one, names in proof.by_version.items()},
        "files": {path: content.decode("latin-1") for path, content in proof.files.items()},
    }


def _unpack(value: Mapping[str, Any]) -> InitrdProof:
    return InitrdProof(
        kind=value["kind"],
        compression=tuple(value["compression"]),
        modules=frozenset(value["modules"]),
        versions=tuple(value["versions"]),
        by_version={one: frozenset(names) for one, names in value["by_version"].items()},
        preload=tuple(value["preload"]),
        resume=value["resume"],
        files={path: text.encode("latin-1") for path, text in value["files"].items()},
        problem=value["problem"],
    )
