"""What each release of Xen knows, and each form of a configuration can say.

Sources: xl's tools/xl/xl_parse.c (tools/libxl/xl_cmdimpl.c before 4.9) and xl.cfg(5) of 4.1 to
4.22; xm's tools/python/xen/xm/create.py of 3.2 to 4.4.
"""

from __future__ import annotations

import re
from typing import Optional

from pvprep.domu.model import DomU
from pvprep.errors import UsageError

Release = tuple[int, int]

FORMS = ("xl", "xm", "libvirt", "xe", "json")
# The first release that has it.
SINCE: dict[str, Release] = {
    "coredump-destroy": (4, 0),
    "coredump-restart": (4, 0),
    "xl": (4, 2),  # its `target=`; xl itself came with 4.1
    "cmdline": (4, 5),  # before: root=, extra=
    "no xm": (4, 5),
    "soft-reset": (4, 7),
    "type": (4, 10),  # before: builder="hvm", or PV
    "pvh": (4, 10),  # the PVH of today; 4.4 to 4.9 had another one
    "no 32-bit PV": (4, 16),
    "bootloader_restrict": (4, 18),
}


def release(text: str) -> Release:
    """From `4.17`, or `4.17.3`."""
    found = re.fullmatch(r"([34])\.([0-9]{1,3})(\.[0-9]{1,3})*", text)
    if not found:
        raise UsageError(f"{text!a} is not a release of Xen", "It is 3.2 or 4.17, for example.")
    return int(found.group(1)), int(found.group(2))


def knows(xen: Optional[Release], what: str) -> bool:
    """Whether a release has it; where none was named, today's do."""
    return xen is None or xen >= SINCE[what]


def check(domu: DomU, form: str, xen: Optional[Release]) -> None:
    """Refuse what that release, or that form, cannot have."""
    if form not in FORMS:
        raise UsageError(f"{form!a} is no form of a config", f"It can be: {', '.join(FORMS)}.")
    name = "{}.{}".format(*xen) if xen else ""
    if form == "xl" and not knows(xen, "xl"):
        raise UsageError(f"the xl of Xen {name} does not read this form", "Use `--format xm`.")
    if form == "xm" and xen and knows(xen, "no xm"):
        raise UsageError(f"Xen {name} has no xm any more: it went with 4.5", "Use `--format xl`.")
    if domu.type == "pvh" and (form == "xm" or not knows(xen, "pvh")):
        raise UsageError(
            f"{f'Xen {name}' if xen else 'xm'} has no PVH guests: they came with 4.10",
            "Use `--type pv`.",
        )
    if form == "xe" and (domu.type == "hvm" or (domu.type == "pvh" and not domu.pvshim)):
        raise UsageError(
            f"--format xe is not made for the type {domu.type}",
            "XenServer and XCP-ng run converted guests as pv or pvshim; the way back to HVM stands "
            "in that script.",
        )
    if form == "xm" and domu.uefi:
        raise UsageError("xm has no UEFI for HVM guests", "Use `--format xl`.")
    if form == "libvirt" and domu.pvshim:
        raise UsageError("libvirt has no word for pvshim", "Use `--format xl`, or a 64-bit kernel.")
    for when in ("on_poweroff", "on_reboot", "on_crash"):
        _check_action(when, getattr(domu, when), form, xen)


def _check_action(when: str, action: str, form: str, xen: Optional[Release]) -> None:
    unknown = action in SINCE and not knows(xen, action)
    if action == "soft-reset":
        unknown |= form in ("xm", "libvirt")
    if action.startswith("coredump"):
        unknown |= form == "libvirt" and when != "on_crash"
    if unknown:
        raise UsageError(f"{when} cannot be {action} there", "Use `restart` or `destroy`.")
