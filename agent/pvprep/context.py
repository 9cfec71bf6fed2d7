"""Context: what every step needs to know, worked out once from facts and options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from .devicenames import DeviceMap
from .facts import Facts, Kernel, Offer
from .options import Options

# The console's name by line of kernel: drivers/tty/hvc/hvc_xen.c, and XenLinux' xencons.
PV_CONSOLE = "hvc0"
XENLINUX_CONSOLE = "xvc0"


@dataclass(frozen=True)
class Context:
    """Facts, options and what follows from both; target is None while a kernel has to come."""

    facts: Facts
    options: Options
    target: Optional[Kernel]
    devices: DeviceMap

    @property
    def console(self) -> str:
        """The PV console under the target kernel."""
        return XENLINUX_CONSOLE if self.target and self.target.xenlinux else PV_CONSOLE

    @property
    def frontends(self) -> tuple[str, str]:
        """The block and the network frontend under the target kernel, as modules are named."""
        block, network = self.target.frontends if self.target else ("xen_blkfront", "xen_netfront")
        return block.replace("_", "-"), network.replace("_", "-")

    @property
    def userland_bits(self) -> int:
        """32 or 64: the user space, which may be smaller than the kernel; 0 if not known."""
        return {"amd64": 64, "i386": 32}.get(self.facts.machine.userland, 0)

    def translate(self, path: str) -> Optional[str]:
        """The new name of a device, None for what stays."""
        if self.options.device_names == "uuid":
            return self.devices.uuid_translate(path)
        return self.devices.translate(path)


def make(facts: Facts, options: Options, picked: str) -> Context:
    """picked: the kernel image that dom0 would take now, "" if none."""
    target = choose_kernel(facts, options, picked)
    scheme = options.device_names if options.device_names in ("xvd", "hd") else "xvd"
    if options.device_names == "auto" and target and target.xenlinux:
        scheme = "hd"
    return Context(facts, options, target, DeviceMap.make(facts.disks, scheme, facts.aliases))


def choose_kernel(facts: Facts, options: Options, picked: str) -> Optional[Kernel]:
    """The kernel to boot: the one from outside, if one is offered that can; else the one booted by
    default if it can, else the newest that can."""
    offer = choose_offer(facts, options)
    if offer and not offer.clash and fits(offer, facts, options):
        same = [kernel for kernel in facts.kernels if kernel.version == offer.kernel.version]
        return same[0] if same and offer.there else offer.kernel
    able = [kernel for kernel in facts.kernels if can_boot(kernel, options.type)]
    return next((kernel for kernel in able if kernel.image == picked), able[-1] if able else None)


def choose_offer(facts: Facts, options: Options) -> Optional[Offer]:
    """The newest kernel from outside that will do, or else the newest; None without any."""
    able = [offer for offer in facts.offers if fits(offer, facts, options)]
    return next(iter((*able[::-1], *facts.offers[::-1])), None)


def fits(offer: Offer, facts: Facts, options: Options) -> bool:
    """Whether an offered kernel can boot, and run the guest's programs."""
    narrow = offer.kernel.proof.bits == 32 and facts.machine.userland == "amd64"
    return can_boot(offer.kernel, options.type) and not narrow and _is_named(offer.kernel)


def _is_named(kernel: Kernel) -> bool:
    """Whether the image says the version that its files are named by; old ones do not tell."""
    return not kernel.proof.version or kernel.proof.version.split()[0] == kernel.version


def can_boot(kernel: Kernel, type_: str) -> bool:
    """Whether the image has the entry point, and the frontends are built in or there as modules."""
    proof = kernel.proof
    entry = proof.pvh if type_ == "pvh" else proof.pv and not proof.no_pae
    return entry and not list(missing_frontends(kernel))


def missing_frontends(kernel: Kernel) -> Iterator[str]:
    """Frontends that are neither built in nor modules of this kernel."""
    yield from (name for name in kernel.frontends if name not in kernel.builtin | kernel.modules)
