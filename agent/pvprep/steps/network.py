"""The network: the old names stay, by MAC address.

A PV network interface is named enX0 (systemd 250 and later) or eth0 where the emulated card was
ens3, and every file that says ens3 would mean nothing. So the name is pinned to the MAC address
by a systemd.link(5) file, which holds under HVM too, and interfaces(5), netplan, systemd-networkd,
NetworkManager, ifcfg files, wicked and cloud-init keep what they have; the domU config must give
the same MAC, and does. Before systemd 209 names come from persistent-net rules or from HWADDR= in
ifcfg files: what goes by MAC there stays. What chooses an interface by its emulated hardware
(driver, PCI address) would find none, and is made to choose it by its MAC address. Persistent-net
rules which would give the new card a new name are cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ..context import Context
from ..draft import Draft
from ..editors import ifcfg, netmatch, udevnet
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
RULES = "/etc/udev/rules.d/"
NETWORKD = "/etc/systemd/network/"
NETPLAN = "/etc/netplan/"
KEYFILES = "/etc/NetworkManager/system-connections/"
WICKED = "/etc/wicked/ifconfig/"
IFCFG = ("/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-")
INTERFACES = "/etc/network/interfaces"
# Without the first udev knows no .link files (systemd 209 and later have it); a link to /dev/null
# under /etc switches them off.
LINK_RULES = "80-net-setup-link.rules"
LINK_SUPPORT = (f"/lib/udev/rules.d/{LINK_RULES}", f"/usr/lib/udev/rules.d/{LINK_RULES}")
PCI_ADDRESS = re.compile(r"\b(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b", re.IGNORECASE)


def plan(context: Context, draft: Draft) -> None:
    """Pin names, clean the rules, and turn matches on vanishing hardware into matches by MAC."""
    facts = context.facts
    nics = facts.nics or _given(context)
    links = _knows_links(draft)
    _clean(context, draft, nics, links)
    if links:
        _pin(draft, nics)
    else:
        _unbound(draft, nics)
    _match(draft, nics)
    _suse(draft, nics)
    _other_macs(context, draft)
    if not nics and context.options.macs:
        names = _configured(facts)
        if names and links:
            draft.say(
                "network.unpaired",
                Level.WARN,
                f"nobody can tell which of the MACs given is that of {', '.join(names)}",
                remedy=f"pin each name in a file like {LINK.format('MAC')}, see systemd.link(5)",
            )
    elif not nics:
        draft.say(
            "network.no-nic",
            Level.WARN,
            "no network interface is known, so none can be pinned by its MAC",
            remedy="give the MACs of the guest: --mac 00:16:3e:... once per interface",
        )


def _given(context: Context) -> tuple[Nic, ...]:
    """For a tree whose files name no MAC: the one card that they configure has the one given."""
    names, macs = _configured(context.facts), context.options.macs
    return (Nic(names[0], macs[0]),) if len(names) == len(macs) == 1 else ()


def _configured(facts: Facts) -> list[str]:
    """The names of the cards that the guest's files configure."""
    found: set[str] = set()
    for path, entry in facts.files.items():
        if path.startswith(IFCFG):
            found.add(ifcfg.interface(path, entry.text).name)
        elif path.startswith(KEYFILES):
            name, _, ethernet = netmatch.keyfile_interface(entry.text)
            found.add(name if ethernet else "")
        elif path.startswith(INTERFACES):
            found.update(re.findall(r"^[ \t]*iface[ \t]+(e[nt]\w+)[ \t]", entry.text, re.M))
        elif path.startswith(NETWORKD) and path.endswith(".network"):
            found.update(
                re.findall(r"^[ \t]*Name[ \t]*=[ \t]*(e[nt]\w+)[ \t]*$", entry.text, re.M)
            )
    return sorted(found - {""})


def _knows_links(draft: Draft) -> bool:
    masked = draft.file(RULES + LINK_RULES)
    there = any(draft.file(path) for path in LINK_SUPPORT)
    return there and (masked is None or masked.target != "/dev/null")


def _kernel_name(name: str) -> bool:
    """A name of the kernel's own kind must not be forced: another card may hold it meanwhile."""
    return re.fullmatch(r"eth\d+", name) is not None


def _clean(context: Context, draft: Draft, nics: Sequence[Nic], links: bool) -> None:
    """Let rules go by MAC alone, and clean those for cards that the PV guest does not have.

    Of the others, those go that a .link file can stand for.
    """
    macs = context.options.macs or [nic.mac for nic in nics]
    names = {nic.mac: nic.name for nic in nics}
    for path in _live(draft.facts, RULES):
        if "pvprep" in path:
            continue
        result = udevnet.by_mac(draft.text(path), nics)
        draft.edit(NAME, path, result)
        _report(draft, path, result.leftover)
        if not path.endswith(udevnet.FILES):
            continue
        text = draft.text(path)
        kept = [
            mac
            for mac, name in udevnet.names(text).items()
            if mac in macs and (not links or (_kernel_name(name) and names.get(mac) == name))
        ]
        edited = udevnet.remove(text, kept)
        if not edited.edits:
            continue  # nothing but comments, or masked by a link to /dev/null
        if udevnet.is_empty(edited.text):
            draft.remove(NAME, path, f"removed: {_rules(text)} by MAC for the emulated card")
        else:
            draft.edit(NAME, path, edited)


def _rules(text: str) -> str:
    count = len(udevnet.names(text))
    return f"{count} name{'s' if count != 1 else ''}"


def _pin(draft: Draft, nics: Sequence[Nic]) -> None:
    links = _links(draft)
    for nic in nics:
        if not nic.mac or not nic.name or _pinned(nic, links):
            continue
        # Without a policy the kernel's name stays, and vifs come in the config's order.
        kernel = _kernel_name(nic.name)
        name = f"# name: {nic.name}\nNamePolicy=" if kernel else f"Name={nic.name}"
        path = LINK.format(nic.mac.replace(":", ""))
        text = LINK_TEXT.format(mac=nic.mac, name=name)
        draft.create(NAME, path, text, f"keeps {nic.name} for {nic.mac}")


def _links(draft: Draft) -> dict[str, list[tuple[str, list[str]]]]:
    """By MAC address: the .link files that ask for it, each with the names that it gives."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for path in draft.facts.under("/etc/systemd/network/"):
        if path.endswith(".link"):
            text = draft.text(path)
            macs = re.findall(r"^[ \t]*MACAddress[ \t]*=(.*)$", text, re.M)
            names = re.findall(r"^[ \t]*Name[ \t]*=[ \t]*(\S+)", text, re.M)
            for mac in dict.fromkeys(" ".join(macs).lower().split()):
                found.setdefault(mac, []).append((path, names))
    return found


def _pinned(nic: Nic, links: Mapping[str, Sequence[tuple[str, Sequence[str]]]]) -> bool:
    """Whether a .link file of the guest's own pins this name by MAC already."""
    own = LINK.format(nic.mac.replace(":", ""))
    return nic.name in next((names for path, names in links.get(nic.mac, ()) if path != own), ())


def _unbound(draft: Draft, nics: Sequence[Nic]) -> None:
    """Where udev knows no .link files, say which names nothing gives to a vif."""
    bound: set[str] = set()
    for path in _live(draft.facts, RULES):
        bound.update(udevnet.names(draft.text(path)))
    bound.update(ifcfg.interface(path, draft.text(path)).mac for path in _live(draft.facts, *IFCFG))
    for nic in nics:
        if nic.name and not _kernel_name(nic.name) and nic.mac not in bound:
            draft.say(
                "network.name-unbound",
                Level.WARN,
                f"{nic.name} would be called eth0 or the like: nothing gives it its name by MAC",
                evidence="udev has no .link files here (80-net-setup-link.rules)",
                remedy=f"name it by its MAC {nic.mac}: HWADDR= in its ifcfg file, or a udev rule",
            )


def _match(draft: Draft, nics: Sequence[Nic]) -> None:
    """Sections that match a driver or a PCI path would match nothing under PV."""
    for path in _live(draft.facts, NETWORKD, NETPLAN, KEYFILES):
        if "pvprep" in path:
            continue
        text = draft.text(path)
        if path.startswith(NETWORKD):
            result = netmatch.networkd(text, nics)
        elif path.startswith(NETPLAN):
            result = netmatch.netplan(text, nics)
        else:
            result = netmatch.keyfile(text, nics)
        draft.edit(NAME, path, result)
        _report(draft, path, result.leftover)


def _suse(draft: Draft, nics: Sequence[Nic]) -> None:
    """SUSE's files that are named after a place on the bus, and wicked's that speak of one."""
    for path in _live(draft.facts, *IFCFG):
        bus = ifcfg.interface(path, draft.text(path)).bus
        mac = next((nic.mac for nic in nics if bus and nic.path == bus), "")
        to = path.replace(f"-bus-{bus}", f"-id-{mac}")
        if mac and not draft.file(to):
            draft.move(NAME, path, to, "a vif has no PCI address")
        elif bus and not bus.startswith("vif"):
            _report(draft, path, [(1, path.rsplit("/", 1)[1])])
    for path in _live(draft.facts, WICKED):
        lines = enumerate(draft.text(path).split("\n"), 1)
        _report(draft, path, [(at, line) for at, line in lines if PCI_ADDRESS.search(line)])


def _other_macs(context: Context, draft: Draft) -> None:
    """Lines that ask for a MAC which the PV guest will not have, as --mac gives it another."""
    given = context.options.macs
    gone = [nic.mac for nic in context.facts.nics if given and nic.mac not in given]
    for path in _live(draft.facts, NETWORKD, NETPLAN, KEYFILES, WICKED, INTERFACES, *IFCFG):
        for at, line in enumerate(draft.text(path).split("\n"), 1):
            mac = next((mac for mac in gone if mac in line.lower()), "")
            if mac and "pvprep" not in path and not line.lstrip().startswith("#"):
                draft.say(
                    "network.other-mac",
                    Level.WARN,
                    f"asks for {mac}, which the config will not give to the PV guest",
                    evidence=line.strip(),
                    where=f"{path}:{at}",
                    remedy=f"give --mac {mac}, so that the config keeps it, or change the line",
                )


def _report(draft: Draft, path: str, leftover: Sequence[tuple[int, str]]) -> None:
    for line, there in leftover:
        draft.say(
            "network.hardware-match",
            Level.WARN,
            f"matches hardware that a PV guest does not have: {there.strip()}",
            where=f"{path}:{line}",
            remedy="match by MAC address instead",
        )


def _live(facts: Facts, *prefixes: str) -> Iterator[str]:
    """Files below these paths, but no directories, nor links to nowhere."""
    for path, entry in sorted(facts.files.items()):
        if path.startswith(prefixes) and not entry.is_dir:
            yield path


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(
        f"{RULES}*.rules",
        *LINK_SUPPORT,
        f"{NETWORKD}*.network",
        f"{NETWORKD}*.link",
        f"{NETPLAN}*.yaml",
        f"{KEYFILES}*",
        *(f"{prefix}*" for prefix in IFCFG),
        f"{WICKED}*.xml",
        INTERFACES,
        f"{INTERFACES}.d/*",
    ),
    topics={
        "network.no-nic": (
            "In a tree that does not run nobody can ask the hardware. Without a MAC the PV guest "
            "gets a new one, and perhaps a new interface name, at every start."
        ),
        "network.hardware-match": (
            "A network configuration chooses its interface by driver, PCI path or a pattern. "
            "pvprep could not tell which interface is meant, so a person has to."
        ),
        "network.unpaired": (
            "A tree configures several interfaces and none by its MAC address. The domU gets the "
            "MACs that are given, but which of them had which name only a person can tell; under "
            "PV they would be called enX0, enX1 ... and stay without configuration."
        ),
        "network.name-unbound": (
            "A udev without .link files gives a name by MAC address only where a rule or an ifcfg "
            "file with HWADDR= says so. Under PV the interface would have the kernel's name, and "
            "its configuration would not be found."
        ),
        "network.other-mac": (
            "A configuration asks for its interface by MAC address, and --mac gives the domU "
            "another one: the interface would stay down. The config can keep the MAC that the "
            "guest has."
        ),
    },
)
