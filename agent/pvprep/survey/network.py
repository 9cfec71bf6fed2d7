"""Network interfaces with hardware behind them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ..editors import ifcfg, netmatch, udevnet
from ..facts import File, Nic
from ..guest import Guest

# Our own .link files: they say which name a MAC had when the guest was prepared.
LINK = re.compile(r"/etc/systemd/network/10-pvprep-[0-9a-f]{12}\.link")


def nics(guest: Guest) -> tuple[Nic, ...]:
    """The NICs of a running system, in the order in which the kernel found them."""
    if not guest.running:
        return ()
    found = []
    for name in guest.names("/sys/class/net"):
        base = f"/sys/class/net/{name}"
        device = guest.resolve(f"{base}/device")
        # Bridges, bonds, VLANs and tunnels have no device: they follow the NIC under them.
        if not guest.exists(f"{base}/device"):
            continue
        mac = _mac(guest, base)
        driver = os.path.basename(guest.resolve(f"{base}/device/driver"))
        path = f"pci-{os.path.basename(device)}" if "/pci" in device else ""
        index = guest.text(f"{base}/ifindex").strip()
        found.append((int(index) if index.isdigit() else 0, Nic(name, mac, driver, path)))
    return tuple(nic for _, nic in sorted(found, key=lambda item: item[0]))


def nics_named(files: Mapping[str, File]) -> tuple[Nic, ...]:
    """The NICs of a tree, as far as its files give names to MAC addresses.

    Our own .link files know best, then come persistent-net rules, ifcfg files (SUSE's
    ifcfg-eth-id-MAC says no name) and NetworkManager's keyfiles.
    """
    found: dict[str, str] = {}
    for read in (_by_link, _by_rules, _by_ifcfg, _by_keyfile):
        for path, entry in sorted(files.items()):
            for mac, name in read(path, entry.text).items():
                if not entry.is_dir and ifcfg.MAC.fullmatch(mac):
                    found[mac] = found.get(mac) or name
    return tuple(Nic(name, mac) for mac, name in sorted(found.items(), key=lambda item: item[1]))


def _by_link(path: str, text: str) -> dict[str, str]:
    mac = re.search(r"^MACAddress=(\S+)", text, re.M)
    name = re.search(r"^(?:Name=|# name: )(\S+)", text, re.M)
    return {mac[1].lower(): name[1]} if LINK.fullmatch(path) and mac and name else {}


def _by_rules(path: str, text: str) -> dict[str, str]:
    named = path.startswith("/etc/udev/rules.d/") and path.endswith(udevnet.FILES)
    return udevnet.names(text) if named else {}


def _by_ifcfg(path: str, text: str) -> dict[str, str]:
    if ifcfg.PREFIX not in path:
        return {}
    card = ifcfg.interface(path, text)
    return {card.mac: card.name}


def _by_keyfile(path: str, text: str) -> dict[str, str]:
    if not path.startswith("/etc/NetworkManager/"):
        return {}
    name, mac, ethernet = netmatch.keyfile_interface(text)
    return {mac: name} if ethernet else {}


def _mac(guest: Guest, base: str) -> str:
    """The permanent address: a bond gives its members another one."""
    bonded = guest.text(f"{base}/bonding_slave/perm_hwaddr").strip()
    mac = (bonded or guest.text(f"{base}/address").strip()).lower()
    return mac if re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac) else ""
