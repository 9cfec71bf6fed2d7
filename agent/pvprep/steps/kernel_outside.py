"""A kernel from outside (--kernel-from): for a guest too old, or without a network, to get one.

Its image and modules are put where its package would put them, and the host's depmod indexes them.
The guest's package manager knows nothing of it and brings no newer one; no script of the kernel's
package runs. What lies there already is never replaced.
"""

from __future__ import annotations

from ..changes import PlaceKernel
from ..context import Context, choose_offer, fits, missing_frontends
from ..draft import Draft
from ..facts import Offer
from ..findings import Level

MIB = 1024 * 1024


def plan(name: str, context: Context, draft: Draft) -> bool:
    """Have the kernel put there, if there is one that will do; whether the operator asked for one.

    Any other is an error: a kernel that was not asked for is not taken in its place.
    """
    offer = choose_offer(context.facts, context.options)
    if offer is None:
        return False
    version = offer.kernel.version
    if not fits(offer, context.facts, context.options):
        draft.say(
            "kernel.from-unfit",
            Level.ERROR,
            f"{version} from {offer.source} will not do: {_unfit(context, offer)}",
            evidence=_evidence(offer),
            where=offer.source,
            remedy="name another kernel with --kernel-from",
        )
    elif offer.clash:
        draft.say(
            "kernel.from-clash",
            Level.ERROR,
            f"the guest has another kernel {version} than {offer.source}: {offer.clash} differs",
            where=offer.clash,
            remedy="where the guest's own one boots PV, do without --kernel-from; else move it "
            "away (image and modules), or name a kernel of another version",
        )
    elif not offer.there:
        draft.place(_change(name, context, offer))
    return True


def _change(name: str, context: Context, offer: Offer) -> PlaceKernel:
    version = offer.kernel.version
    loadable = [one for one in context.frontends if _underlined(one) not in offer.kernel.builtin]
    boot = ", ".join(offer.boot)
    why = [f"kernel {version} from {offer.source}"]
    if offer.boot:
        why.append(f"{boot} made ({_mib(offer.boot_size)})")
    if offer.modules:
        why.append(f"{offer.modules} made ({offer.files} files, {_mib(offer.modules_size)})")
    return PlaceKernel(
        name, version, offer.source, offer.modules, offer.boot, tuple(loadable), tuple(why)
    )


def _unfit(context: Context, offer: Offer) -> str:
    kernel, proof = offer.kernel, offer.kernel.proof
    missing = list(missing_frontends(kernel))
    pvh = context.options.type == "pvh"
    if proof.problem:
        return f"its image could not be examined: {proof.problem}"
    if pvh and not proof.pvh:
        return "it has no PVH entry point (no Xen note PHYS32_ENTRY)"
    if not pvh and not proof.pv:
        return "it has no PV entry point (no Xen note ENTRY)"
    if missing:
        return f"it has no {' and no '.join(missing)}"
    if proof.bits == 32 and context.facts.machine.userland == "amd64":
        return "it is a 32-bit kernel, and the guest's programs are 64-bit ones"
    return f"its image says that it is {proof.version.split()[0]}"


def _evidence(offer: Offer) -> str:
    """What its configuration says, as the second witness."""
    found = offer.kernel.config
    return "; ".join(f"CONFIG_{key}={found[key]}" for key in ("XEN", "XEN_PV") if key in found)


def _underlined(module: str) -> str:
    return module.replace("-", "_")


def _mib(size: int) -> str:
    return f"{-(-size // MIB)} MiB"
