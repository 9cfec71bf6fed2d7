"""An initrd for a kernel that has none and that no builder shall be run for: made from another's.

The initrd of another kernel of the guest has all that is the guest's own: its configuration, keys
and programs, which go with any kernel. What it lacks are this kernel's modules. They are chosen by
what the other kernel could do with that initrd: what it has as a module or built in, and this one
has as a module, is put there. A driver of hardware that this kernel lacks is no matter: there is
none under PV. One for what / lies on is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Optional

from ..changes import Additions
from ..context import Context
from ..facts import InitrdProof, Kernel
from . import appended

# Whatever is stacked below a file system that does not lie on a partition.
LAYERS = ("dm_mod", "dm_crypt", "md_mod", "raid0", "raid1", "raid10", "raid456", "linear")
# Which Linux could first unpack an initrd of this kind, as far as not all could.
SINCE = {
    "bzip2": (2, 6, 30), "lzma": (2, 6, 30), "xz": (2, 6, 38), "lzo": (2, 6, 33),
    "lz4": (3, 11), "zstd": (5, 9),
}  # fmt: skip


def donor(context: Context) -> Optional[Kernel]:
    """The kernel whose initrd can be taken, the newest of several; None without any."""
    return next((one for one in _others(context) if not _refusal(context, one)), None)


def refusals(context: Context) -> str:
    """Why no other kernel's initrd can be taken, in words; "" where there is none."""
    return "; ".join(f"{one.initrd}: {_refusal(context, one)}" for one in _others(context))


def lost(context: Context, other: Kernel) -> str:
    """What / lies on that the other kernel can use and this one cannot, in words; "" if all."""
    target = context.target
    assert target is not None
    here = target.modules | target.builtin
    able = _able(context, other)
    wanted = [*appended.drivers(context, "/", "/usr"), *((layer,) for layer in _layers(context))]
    return " and ".join(
        " or ".join(names)
        for names in wanted
        if not able.isdisjoint(names) and here.isdisjoint(names)
    )


def additions(context: Context, other: Kernel, adds: Additions) -> Additions:
    """The same additions to another kernel's initrd, with all modules that this kernel needs."""
    target = context.target
    assert target is not None
    wanted = _able(context, other).union(*appended.drivers(context, "/", "/usr"), _layers(context))
    rest = (wanted & target.modules) - target.builtin
    rest -= {name.replace("-", "_") for name in adds.modules}
    return replace(adds, modules=(*adds.modules, *sorted(rest)), base=other.initrd)


def _layers(context: Context) -> tuple[str, ...]:
    """What may lie below /, which a survey does not see in all its depth."""
    root = context.facts.mount("/")
    return LAYERS if root and root.kind not in ("part", "disk", "other") else ()


def _others(context: Context) -> Iterator[Kernel]:
    for one in reversed(context.facts.kernels):
        if one.initrd and one.initrd in context.facts.initrds:
            yield one


def _able(context: Context, other: Kernel) -> frozenset[str]:
    return context.facts.initrds[other.initrd].loadable(other.version) | other.builtin


def _refusal(context: Context, other: Kernel) -> str:
    proof = context.facts.initrds[other.initrd]
    if context.facts.initrd_tool == "mkinitrd":
        return "its init script loads modules by their files, and would load the other kernel's"
    return appended.refusal(context, proof) or _unreadable(context, proof)


def _unreadable(context: Context, proof: InitrdProof) -> str:
    """Why the kernel could not unpack it: its builder had another kernel in mind."""
    target = context.target
    assert target is not None
    number = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", target.version)
    version = tuple(int(part or 0) for part in number.groups()) if number else (0,)
    for name in proof.compression:
        said = target.config.get(f"RD_{name.upper()}")
        if said == "n" or (said is None and version < SINCE.get(name, (0,))):
            return f"kernel {target.version} does not unpack {name}"
    return ""
