"""ifcfg files of the RPM family, which sh reads: which interface each is for.

EL and Fedora keep them in /etc/sysconfig/network-scripts, by DEVICE= and HWADDR= (initscripts'
sysconfig.txt); SUSE in /etc/sysconfig/network, by the file's name: ifcfg-eth0, or in SLES 9 and 10
ifcfg-eth-id-MAC and ifcfg-eth-bus-pci-ADDRESS (its ifcfg(5), getcfg(8)).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import shellvars

PREFIX = "/ifcfg-"
MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
# What initscripts and sysconfig pass over.
_NOT_LIVE = re.compile(r".*(?:~|\.(?:bak|old|orig|save|scpmbackup|(?:rpm|dpkg)\w+))")
_VIRTUAL = re.compile(r"lo|(?:br|virbr|bond|team|vlan|tun|tap|ppp|sit|dummy|ip6tnl)\d*|.*[:.].*")
_VIRTUAL_KEYS = ("BRIDGE", "BONDING_MASTER", "VLAN", "ETHERDEVICE", "TUNNEL", "TEAM_CONFIG")


@dataclass(frozen=True)
class Interface:
    """What a file says of its interface; "" where it does not. mac: in small letters."""

    name: str = ""
    mac: str = ""
    bus: str = ""  # its place on the bus: pci-0000:00:03.0


def interface(path: str, text: str) -> Interface:
    """The card that a file configures; an empty Interface for a bridge, a copy and the like."""
    stem = path.rsplit(PREFIX, 1)[-1]
    if _NOT_LIVE.fullmatch(stem):
        return Interface()
    _, bus, place = stem.partition("-bus-")
    if bus:
        return Interface(bus=place)
    _, id, place = stem.partition("-id-")
    if id:
        return Interface(mac=_mac(place))
    name = shellvars.get(text, "DEVICE") or stem
    # BRIDGE=yes is a bridge (SUSE), BRIDGE=br0 a card in one (EL).
    virtual = [shellvars.get(text, key) for key in _VIRTUAL_KEYS]
    type_ = shellvars.get(text, "TYPE") or "Ethernet"
    if _VIRTUAL.fullmatch(name) or "yes" in virtual or type_.lower() != "ethernet":
        return Interface()
    return Interface(name, _mac(shellvars.get(text, "HWADDR") or ""))


def _mac(text: str) -> str:
    mac = text.strip().lower()
    return mac if MAC.fullmatch(mac) else ""
