"""A kernel that can boot PV, proven from its image.

What counts are the Xen notes in the ELF inside the image (ENTRY and XEN_VERSION for PV,
PHYS32_ENTRY for PVH): they are what the domain builder in dom0 asks for. The kernel's configuration
is the second witness. A kernel with CONFIG_XEN_PVHVM alone drives Xen's devices in an HVM domain
but cannot boot PV. Where no installed kernel can, one is installed by the package manager, or
put there from outside (--kernel-from), which goes before all others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Optional

from ..changes import InstallPackages
from ..context import Context, missing_frontends
from ..draft import Draft
from ..facts import Facts, Kernel
from ..findings import Level
from ..packages.dpkg import ARCHITECTURES, with_architecture
from ..packages.kernels import enabled_repositories, foreign_architectures, kernel_candidates
from . import kernel_outside
from .step import Step

NAME = "kernel"
# Which Xen release could first unpack a payload.
# Source: Xen tools/libs/guest/xg_dom_bzimageloader.c.
SINCE = {
    "none": "4.0", "gzip": "4.0", "bzip2": "4.0", "lzma": "4.0", "xz": "4.1", "lzo": "4.1",
    "lz4": "4.4", "zstd": "4.15",
}
# The hypervisor that runs 32-bit PV guests no more, but in the shim.
NO_PV32 = (4, 16)
# What a kernel package's scripts rewrite besides its own files, by family. A pattern stands for the
# files that are there.
TOUCHES = {
    "debian": (
        "/boot/grub/grub.cfg",
        "/boot/grub/menu.lst",
        "/boot/grub/menu.lst~",
        "/boot/grub/grubenv",
        "/vmlinuz",
        "/initrd.img",
        "/vmlinuz.old",
        "/initrd.img.old",
        "/boot/vmlinuz",
        "/boot/initrd.img",
        "/boot/vmlinuz.old",
        "/boot/initrd.img.old",
        "/var/lib/apt/extended_states",
    ),
    # new-kernel-pkg, grubby, kernel-install with its plugins
    "redhat": (
        "/boot/grub2/grub.cfg",
        "/boot/grub2/grubenv",
        "/boot/efi/EFI/*/grub.cfg",
        "/boot/efi/EFI/*/grubenv",
        "/boot/loader/entries/*.conf",
        "/boot/grub/grub.conf",
        "/boot/grub/menu.lst",
        "/boot/grub/grubenv",
        "/etc/sysconfig/kernel",
        "/etc/kernel/cmdline",
        "/etc/modprobe.conf",
    ),
    # perl-Bootloader, kernel-default's own %post
    "suse": (
        "/boot/grub2/grub.cfg",
        "/boot/grub2/grubenv",
        "/boot/grub/menu.lst",
        "/boot/loader/entries/*.conf",
        "/boot/vmlinuz",
        "/boot/initrd",
        "/boot/image",
        "/boot/vmlinuz-xen",
        "/boot/initrd-xen",
        "/etc/sysconfig/bootloader",
        "/etc/sysconfig/kernel",
    ),
}
REPOSITORIES = "/etc/yum.repos.d/"
# What to do where no package is known, by family.
_NO_KERNEL = {
    "redhat": "enable the repository of Oracle's kernel-uek or elrepo-kernel (what comes is proven "
    "before it counts), give a kernel with --kernel-package FILE, or let the guest stay HVM: its "
    "kernel drives Xen's devices there (PVHVM)",
}


def plan(context: Context, draft: Draft) -> None:
    """Choose the kernel, or have one installed."""
    options = context.options
    _host(context, draft)
    outside = kernel_outside.plan(NAME, context, draft)
    if options.kernel_packages and not outside:
        why = tuple(f"install {path}" for path in options.kernel_packages)
        touches = _touches(context)
        draft.install(
            InstallPackages(NAME, files=options.kernel_packages, touches=touches, why=why)
        )
        return
    if context.target:
        _praise(context, context.target, draft)
        _dom0(context, context.target, draft)
        return
    for kernel in context.facts.kernels:
        _blame(kernel, options.type, draft)
    if outside:
        return
    facts = context.facts
    names = kernel_candidates(facts.distro, facts.machine.userland, _repositories(facts))
    if names and options.initrd == "append":
        _only_from_outside(names, draft)
    elif names and not draft.errors:
        if facts.distro.family == "debian":
            _architectures(facts.machine.userland, names, draft)
        why = (f"install {' or '.join(names)}",)
        draft.install(InstallPackages(NAME, one_of=names, touches=_touches(context), why=why))
    elif not names:
        _none(facts, draft)


def _only_from_outside(names: Sequence[str], draft: Draft) -> None:
    draft.say(
        "kernel.not-installed",
        Level.ERROR,
        "no installed kernel can boot PV, and with --initrd append none of the guest's programs "
        f"runs: {' or '.join(names)} cannot be installed",
        remedy="--kernel-from DIR|RPM|DEB puts one in from outside; or --initrd rebuild, which has "
        "the guest's package manager install it (of an image, with --attach loop)",
    )


def _none(facts: Facts, draft: Draft) -> None:
    """No way to a kernel that boots PV, with the proof from the newest one's configuration."""
    without = [kernel for kernel in facts.kernels if kernel.config.get("XEN_PV") == "n"]
    proof = {}
    if without:
        path, lines = without[-1].config_path, without[-1].config_lines
        line = f":{lines['XEN_PV']}" if "XEN_PV" in lines else ""
        proof = {"evidence": "# CONFIG_XEN_PV is not set", "where": f"{path}{line}"}
    draft.say(
        "kernel.none",
        Level.ERROR,
        "no installed kernel can boot PV, and no enabled repository is known to have one that can",
        remedy=_NO_KERNEL.get(facts.distro.family, "give one with --kernel-package FILE"),
        **proof,
    )


def _repositories(facts: Facts) -> list[str]:
    texts = [facts.text(path) for path in facts.under(REPOSITORIES)]
    return [id for text in texts for id in enabled_repositories(text)]


def _touches(context: Context) -> tuple[str, ...]:
    """What is there already and may be rewritten; triggers rebuild initrds of other kernels."""
    facts = context.facts
    touches: list[str] = []
    for pattern in TOUCHES.get(facts.distro.family, ()):
        found = [path for path in facts.files if fnmatchcase(path, pattern)]
        touches += found if "*" in pattern else [pattern]
    return (*touches, *(kernel.initrd for kernel in facts.kernels if kernel.initrd))


def _architectures(userland: str, candidates: Sequence[str], draft: Draft) -> None:
    """Let dpkg take a 64-bit kernel on a 32-bit system, where Debian has it as amd64 only."""
    for name in foreign_architectures(userland, candidates):
        text = with_architecture(draft.text(ARCHITECTURES), userland, name)
        draft.create(NAME, ARCHITECTURES, text, f"names {name}, as dpkg --add-architecture does")


def _praise(context: Context, kernel: Kernel, draft: Draft) -> None:
    proof = kernel.proof
    ways = " and ".join(way for way, able in (("PV", proof.pv), ("PVH", proof.pvh)) if able)
    since = SINCE.get(proof.compression, "?")
    payload = f"{proof.compression} payload: any Xen since {since}"
    draft.say(
        "kernel.capable",
        Level.OK,
        f"{kernel.version} boots {ways} (Xen notes in the image; {payload})",
        where=kernel.image,
    )
    if kernel.config.get("XEN_PV") == "n":
        draft.say(
            "kernel.witnesses-disagree",
            Level.WARN,
            f"{kernel.image} has Xen's PV notes, but {kernel.config_path} says XEN_PV is not set",
            evidence="# CONFIG_XEN_PV is not set",
            where=kernel.config_path,
            remedy="the image counts; check that the two belong together",
        )
    if _in_shim(context):
        draft.say(
            "kernel.pv32",
            Level.WARN,
            f"{kernel.version} is a 32-bit PV kernel: Xen since 4.16 runs it in the PV shim only",
            remedy="the emitted config asks for the shim (pvshim=1); a 64-bit kernel under the "
            "32-bit system is the better way"
            + (": linux-image-amd64" if draft.facts.distro.family == "debian" else ""),
        )


def _in_shim(context: Context) -> bool:
    """Whether the emitted config runs the kernel in the shim because it has 32 bits."""
    options, target = context.options, context.target
    old_dom0 = options.form == "xm" or (options.xen and options.xen < NO_PV32)
    return target is not None and target.proof.bits == 32 and not old_dom0


def _host(context: Context, draft: Draft) -> None:
    """Say where the Xen that runs now has no PV; another one that --xen names may have it."""
    options, machine, target = context.options, context.facts.machine, context.target
    if options.type != "pv" or not machine.capabilities or _in_shim(context):
        return
    if options.xen and options.xen != _running(machine.hypervisor):
        return
    if any(re.fullmatch(r"xen-[\d.]+-x86_64", word) for word in machine.capabilities):
        return
    shim = "--type pvshim, which runs PV inside PVH"
    draft.say(
        "kernel.host-without-pv",
        Level.WARN,
        f"the host's {machine.hypervisor or 'Xen'} runs no PV guests, and this is to become one",
        evidence=f"/sys/hypervisor/properties/capabilities: {' '.join(machine.capabilities)}",
        remedy=f"--type pvh, or {shim}" if target and target.proof.pvh else shim,
    )


def _running(hypervisor: str) -> Optional[tuple[int, int]]:
    found = re.match(r"Xen (\d+)\.(\d+)", hypervisor)
    return (int(found[1]), int(found[2])) if found else None


def _dom0(context: Context, kernel: Kernel, draft: Draft) -> None:
    """Say where dom0's Xen cannot unpack it: the one that was named, else the one that runs now.

    GRUB in the domain unpacks by itself, and XenLinux kernels were loaded before all of these.
    """
    options = context.options
    since = SINCE.get(kernel.proof.compression)
    runs_on = context.facts.machine.hypervisor
    xen = options.xen or _running(runs_on)
    if not since or not xen or kernel.xenlinux:
        return
    if options.bootloader == "pvgrub" or options.type == "hvm":
        return
    if xen < tuple(map(int, since.split("."))):
        draft.say(
            "kernel.dom0-too-old",
            Level.ERROR if options.xen else Level.WARN,
            f"Xen {xen[0]}.{xen[1]} cannot load {kernel.version}: its payload is packed with "
            f"{kernel.proof.compression}, which takes Xen {since}",
            evidence=f"--xen {xen[0]}.{xen[1]}" if options.xen else f"it runs on {runs_on}",
            where=kernel.image,
            remedy="a newer Xen in dom0, another kernel (--kernel-package), or --bootloader pvgrub",
        )


def _blame(kernel: Kernel, type_: str, draft: Draft) -> None:
    """Why this kernel will not do."""
    proof = kernel.proof
    evidence = []
    missing = list(missing_frontends(kernel))
    for key in ("XEN", "XEN_PV", "XEN_PVH", "XEN_PVHVM"):
        if kernel.config.get(key) == "n":
            evidence.append(f"# CONFIG_{key} is not set")
        elif key in kernel.config:
            evidence.append(f"CONFIG_{key}={kernel.config[key]}")
        elif kernel.config:  # an option that this architecture does not have is not written
            evidence.append(f"no CONFIG_{key}")
    if proof.problem:
        id, what = "kernel.unproven", f"could not be examined: {proof.problem}"
    elif type_ == "pvh" and not proof.pvh:
        id, what = "kernel.no-pvh", "has no PVH entry point (no Xen note PHYS32_ENTRY)"
    elif type_ != "pvh" and not proof.pv:
        id, what = "kernel.no-pv", "has no PV entry point (no Xen note ENTRY)"
        if kernel.config.get("XEN_PVHVM") == "y":
            id, what = "kernel.pvhvm-only", what + ": it knows Xen only as an HVM guest"
    elif type_ != "pvh" and proof.no_pae:
        id, what = "kernel.no-pae", "is a 32-bit kernel without PAE: only a 32-bit Xen 3 runs it"
    else:
        id, what = "kernel.no-frontend", f"has no {' and no '.join(missing)}"
    draft.say(id, Level.INFO, f"{kernel.version} {what}", evidence="; ".join(evidence),
              where=kernel.image)


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(
        ARCHITECTURES,
        f"{REPOSITORIES}*.repo",
        *(path for paths in TOUCHES.values() for path in paths if "*" in path),
    ),
    topics={
        "kernel.capable": (
            "The image has the ELF notes that Xen's domain builder needs. The compression of its "
            "payload decides which dom0 can unpack it: zstd needs Xen 4.15 or later, lz4 4.4."
        ),
        "kernel.dom0-too-old": (
            "The tools in dom0 unpack the kernel before they start the domain, and those of old "
            "releases do not know the younger compressions. It is an error where --xen names the "
            "release, and a warning where the guest only runs on it now."
        ),
        "kernel.not-installed": (
            "A kernel has to come, and by --initrd append (the default with --image) nothing that "
            "the guest brought is run, its package manager included."
        ),
        "kernel.host-without-pv": (
            "Xen can be built without PV (CONFIG_PV). It tells its guests what it runs: "
            "xen-3.0-x86_64 stands for PV, hvm-3.0-x86_64 for HVM and PVH. A kernel that boots PV "
            "runs there in the shim (--type pvshim), one with a PVH entry point as PVH (--type "
            "pvh). On another host the guest may be PV all the same: hence a warning only."
        ),
        "kernel.none": (
            "No kernel is there or known that can boot PV. --kernel-package gives one. RHEL 8, 9 "
            "and 10 and what is built from them leave CONFIG_XEN_PV out of their kernels; Oracle's "
            "kernel-uek has it, ELRepo's kernel-ml and kernel-lt may: pvprep installs one of them "
            "where such a repository is enabled, and puts everything back if its image does not "
            "boot PV. Without one, the guest stays HVM with PV drivers (PVHVM)."
        ),
        "kernel.not-in-boot": (
            "kernel-install(8) copies a kernel from /lib/modules to /boot when its package is "
            "installed. Here it was not, or to an EFI system partition; pygrub reads /boot only."
        ),
        "kernel.no-pv": "The image has no Xen note ENTRY: the domain builder would refuse it.",
        "kernel.no-pvh": "The image has no Xen note PHYS32_ENTRY: it cannot boot as PVH.",
        "kernel.pvhvm-only": (
            "CONFIG_XEN_PVHVM lets a kernel use Xen's devices in an HVM domain. To boot PV it "
            "needs CONFIG_XEN_PV too. 32-bit kernels lost that in Linux 5.9."
        ),
        "kernel.no-pae": (
            "The image says PAE=no, or nothing of PAE. A 64-bit Xen takes 32-bit guests with PAE "
            "only (SLES 10 has kernel-xenpae beside such a kernel-xen)."
        ),
        "kernel.no-frontend": (
            "The kernel could boot, but without xen-blkfront it finds no disk and without "
            "xen-netfront no network."
        ),
        "kernel.from-unfit": (
            "The kernel that --kernel-from names cannot boot the guest PV. Its image has to have "
            "Xen's notes, its modules (or itself) the frontends, and a 64-bit guest takes no "
            "32-bit kernel. A 32-bit guest takes a 64-bit one."
        ),
        "kernel.from-clash": (
            "The guest has a kernel of this version already, and it is not the same: pvprep "
            "replaces none. Where all of it is the same, nothing is done."
        ),
        "kernel.unproven": (
            "The image could not be opened or unpacked, so nothing is claimed about it. Its "
            "evidence says what is missing, often the program zstd or lz4."
        ),
        "kernel.witnesses-disagree": (
            "The configuration beside the image is another kernel's, or one of the two was "
            "replaced. The image is what boots."
        ),
        "kernel.pv32": (
            "Xen removed 32-bit PV guests from the hypervisor in 4.16; they run inside a PVH "
            "container, the shim. The emitted config asks for it."
        ),
    },
)
