"""The network: the old names stay, by MAC address.

A PV network interface is named enX0 (systemd 250 and later) or eth0 where the emulated card was
ens3, and every file that says ens3 would mean nothing. So the name is pinned to the MAC address
by a systemd.link(5) file, which holds under HVM too, and interfaces(5), netplan, systemd-networkd,
NetworkManager and cloud-init keep what they have; the domU config must give the same MAC, and does.
Persistent-net rules of older systems, which would give the new card a new name, are cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..context import Context
from ..draft import Draft
from ..editors import netmatch, udevnet
from ..facts import Facts, Nic
from ..findings import Level
from .step import Step

NAME = "network"
LINK = "/etc/systemd/network/10-pvprep-{}.link"
LINK_TEXT = """\
# Made by pvprep: under Xen PV this interface would be called otherwise; its MAC keeps its name.
[Match]
MACAddress={mac}

[Link]
{name}
"""
RULES = tuple(f"/etc/udev/rules.d/*{name}" for name in udevnet.FILES)
MATCHES = (
    "/etc/systemd/network/*.network",
    "/etc/systemd/network/*.link",
    "/etc/netplan/*.yaml",
    "/etc/NetworkManager/system-connections/*",
)
# Without these udev knows no .link files (systemd 197 and later have them).
LINK_SUPPORT = ("/lib/udev/rules.d/80-net-setup-link.rules",)


def plan(context: Context, draft: Draft) -> None:
    """Pin names, clean the rules, and turn matches on vanishing hardware into matches by MAC."""
    facts = context.facts
    _clean(draft, facts)
    _pin(draft, facts.nics)
    _match(draft, facts.nics)
    if not facts.nics:
        draft.say(
            "network.no-nic",
            Level.WARN,
            "no network interface is known, so none can be pinned by its MAC",
            remedy="give the MACs of the guest: --mac 00:16:3e:... once per interface",
        )


def _clean(draft: Draft, facts: Facts) -> None:
    """Clean the persistent-net rules; what they named is pinned instead."""
    for path in _matching(facts, *udevnet.FILES):
        text = draft.text(path)
        edited = udevnet.remove(text)
        if not edited.edits:
            continue  # nothing but comments, or masked by a link to /dev/null
        if udevnet.is_empty(edited.text):
            draft.remove(NAME, path, f"removed: {_rules(text)} by MAC for the emulated card")
        else:
            draft.edit(NAME, path, edited)


def _rules(text: str) -> str:
    count = len(udevnet.names(text))
    return f"{count} name{'s' if count != 1 else ''}"


def _pin(draft: Draft, nics: tuple[Nic, ...]) -> None:
    if not any(draft.file(path) for path in LINK_SUPPORT):
        return
    for nic in nics:
        if not nic.mac or _pinned(draft, nic):
            continue
        # A name of the kernel's own kind must not be forced (another card may hold it while udev
        # renames); without a policy the kernel's name stays, and vifs come in the config's order.
        kernel_name = re.fullmatch(r"eth\d+", nic.name)
        name = f"# name: {nic.name}\nNamePolicy=" if kernel_name else f"Name={nic.name}"
        path = LINK.format(nic.mac.replace(":", ""))
        text = LINK_TEXT.format(mac=nic.mac, name=name)
        draft.create(NAME, path, text, f"keeps {nic.name} for {nic.mac}")


def _pinned(draft: Draft, nic: Nic) -> bool:
    """Whether a .link file of the guest's own pins this name by MAC already."""
    own = LINK.format(nic.mac.replace(":", ""))
    for path in draft.facts.under("/etc/systemd/network/"):
        if not path.endswith(".link") or path == own:
            continue
        text = draft.text(path)
        macs = re.findall(r"^[ \t]*MACAddress[ \t]*=(.*)$", text, re.M)
        if nic.mac in " ".join(macs).lower().split():
            return nic.name in re.findall(r"^[ \t]*Name[ \t]*=[ \t]*(\S+)", text, re.M)
    return False


def _match(draft: Draft, nics: tuple[Nic, ...]) -> None:
    """Sections that match a driver or a PCI path would match nothing under PV."""
    for path in _matching(draft.facts, ".network", ".link", ".yaml", "system-connections/"):
        if "pvprep" in path:
            continue
        text = draft.text(path)
        if path.startswith("/etc/systemd/"):
            result = netmatch.networkd(text, nics)
        elif path.startswith("/etc/netplan/"):
            result = netmatch.netplan(text, nics)
        else:
            result = netmatch.keyfile(text)
        draft.edit(NAME, path, result)
        for line, there in result.leftover:
            draft.say(
                "network.hardware-match",
                Level.WARN,
                f"matches hardware that a PV guest does not have: {there.strip()}",
                where=f"{path}:{line}",
                remedy="match by MAC address instead",
            )


def _matching(facts: Facts, *parts: str) -> Iterator[str]:
    for path, entry in sorted(facts.files.items()):
        mine = path.startswith(("/etc/udev/", "/etc/systemd/network/", "/etc/netplan/", "/etc/Net"))
        if mine and not entry.is_dir and any(part in path for part in parts):
            yield path


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(*RULES, *MATCHES, *LINK_SUPPORT),
    topics={
        "network.no-nic": (
            "In a tree that does not run nobody can ask the hardware. Without a MAC the PV guest "
            "gets a new one, and perhaps a new interface name, at every start."
        ),
        "network.hardware-match": (
            "A network configuration chooses its interface by driver, PCI path or a pattern. "
            "pvprep could not tell which interface is meant, so a person has to."
        ),
    },
)
