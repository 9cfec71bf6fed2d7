"""Boots: what a PV boot of a prepared guest was like, recorded by the guest itself."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any, Optional

from . import handover
from .facts import Virt
from .guest import Guest
from .journal import HOME
from .survey import system
from .synced import private

RECORD = f"{HOME}/boots"
KEPT = 50
# DHCP may take a while after the system is up.
NETWORK_WAIT = 90.0
LOGIN_WAIT = 60.0
PV = (Virt.XEN_PV, Virt.XEN_PVH)


def record(guest: Guest) -> Optional[dict[str, Any]]:
    """Record this boot once, if it is a PV one, and report it to dom0; gives what was recorded."""
    virt, hypervisor = system.virtualisation(guest)
    boot = guest.text("/proc/sys/kernel/random/boot_id").strip()
    known = recorded(guest)
    if virt not in PV or any(entry["boot"] == boot for entry in known):
        return None
    interfaces = _network(guest)
    active = guest.text("/sys/class/tty/console/active").split()
    console = next((tty for tty in active if tty in ("hvc0", "xvc0")), "")
    entry = {
        "boot": boot,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": os.uname().release,
        "as": virt.value[4:],
        "hypervisor": hypervisor,
        "root": _root(guest),
        "swap": re.findall(r"^(/\S+)", guest.text("/proc/swaps"), re.M),
        "network": interfaces,
        "console": console,
        "login": _login(guest, console),
    }
    entry["up"] = bool(entry["root"] and interfaces and entry["login"])
    handover.report_boot(guest, entry)
    lines = [json.dumps(one) for one in [*known, entry][-KEPT:]]
    guest.make_directory(HOME, 0o700)
    place = guest.host(RECORD)
    with open(f"{place}.new", "w", opener=private) as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{place}.new", place)
    return entry


def recorded(guest: Guest) -> list[dict[str, Any]]:
    """The boots recorded so far, oldest first."""
    found = []
    for line in guest.text(RECORD).split("\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if _whole(entry):
            found.append(entry)
    return found[-KEPT:]


def _whole(entry: Any) -> bool:
    """Whether this is a record as `record` makes it; of a tree, anybody may have written it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("network"), dict):
        return False
    texts = ("boot", "time", "kernel", "as", "hypervisor", "root", "console")
    return (
        all(isinstance(entry.get(key), str) for key in texts)
        and all(isinstance(entry.get(key), bool) for key in ("login", "up"))
        and all(
            isinstance(ips, list) and all(isinstance(ip, str) for ip in ips)
            for ips in entry["network"].values()
        )
    )


def _root(guest: Guest) -> str:
    for line in guest.text("/proc/self/mountinfo").split("\n"):
        left, _, right = line.partition(" - ")
        if right and left.split(" ")[4] == "/":
            return right.split(" ")[1]
    return ""


def _network(guest: Guest) -> dict[str, list[str]]:
    """Interfaces with hardware behind them that have an address, waiting for the first one."""
    end = time.monotonic() + NETWORK_WAIT
    while True:
        done = guest.run(["ip", "-j", "addr", "show", "up"])
        try:
            links = json.loads(done.output) if done.status == 0 else []
        except ValueError:
            links = []
        found = {
            link["ifname"]: [
                address["local"]
                for address in link.get("addr_info", ())
                if address.get("scope") == "global"
            ]
            for link in links
            if os.path.exists(f"/sys/class/net/{link.get('ifname')}/device")
        }
        found = {name: addresses for name, addresses in found.items() if addresses}
        if found or time.monotonic() > end:
            return found
        time.sleep(1)


def _login(guest: Guest, console: str) -> bool:
    """Whether a login is open on the PV console, or opens soon.

    systemd starts it last of all (Type=idle), a few seconds after the one who asks here.
    """
    end = time.monotonic() + LOGIN_WAIT if console else 0.0
    while not (found := _getty(guest, console)) and time.monotonic() < end:
        time.sleep(1)
    return found


def _getty(guest: Guest, console: str) -> bool:
    """A getty names its terminal, or has it as its input (systemd since 251: `agetty -`)."""
    if not console:
        return False
    for pid in guest.names("/proc"):
        if not pid.isdigit() or "getty" not in guest.text(f"/proc/{pid}/comm"):
            continue
        named = guest.text(f"/proc/{pid}/cmdline").split("\0")
        if console in named or guest.readlink(f"/proc/{pid}/fd/0") == f"/dev/{console}":
            return True
    return False
