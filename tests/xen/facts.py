"""What a guest says of itself: a unit of the tests prints it on the console when the system is up.

A PV guest has no 9p and no serial port: its console is the way out. An HVM domain has the latter.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from tests.guests import job

BEGIN = "pvprep-tests facts begin"
END = "pvprep-tests facts end"
UNIT = "pvprep-tests-facts.service"

_UNIT = """\
[Unit]
Description=Tell the tests of pvprep what this boot came to
Documentation=file:/usr/local/sbin/pvprep-tests-facts
ConditionVirtualization=xen
# Not in a boot that has something else to do (inside.py).
ConditionPathExists=!/var/lib/pvprep-tests/errand

[Service]
# Started at once, so that the system can be up before it looks.
Type=exec
ExecStart=/usr/local/sbin/pvprep-tests-facts
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""

_SCRIPT = """\
#!/bin/sh
# Part of the tests of pvprep; no guest in earnest has it.
state=$(systemctl is-system-running --wait)
# DHCP may still be under way then.
tries=60
until ip -4 -o address show scope global | grep -q . || [ $tries = 0 ]; do
    tries=$((tries - 1))
    sleep 1
done
cards() {
    for device in /sys/class/net/*/device; do
        card=${device%/device}
        name=${card##*/}
        address=$(ip -4 -o address show dev "$name" scope global | awk '{ print $4 }')
        echo "nic=$name $(cat "$card/operstate") $(cat "$card/address") ${address:--}" \\
            "$(basename "$(readlink "$device/driver")")"
    done
}
facts() {
    echo "state=$state"
    echo "kernel=$(uname -r)"
    echo "arch=$(uname -m)"
    echo "hypervisor=$(cat /sys/hypervisor/type)"
    echo "guest_type=$(cat /sys/hypervisor/guest_type)"
    echo "cmdline=$(cat /proc/cmdline)"
    echo "root=$(findmnt -no SOURCE,FSTYPE /)"
    echo "swap=$(swapon --noheadings --show=NAME | tr '\\n' ' ')"
    echo "consoles=$(cat /sys/class/tty/console/active)"
    echo "failed=$(systemctl --failed --no-legend --plain | awk '{ print $1 }' | tr '\\n' ' ')"
    for unit in $(systemctl --failed --no-legend --plain | awk '{ print $1 }'); do
        journalctl -b -u "$unit" -o cat -n 20 | sed 's/^/log=/'
    done
    cards
    if command -v pvprep >/dev/null; then
        echo "status=$(pvprep status --json | tr -d '\\n')"
    fi
}
facts >/run/pvprep-tests-facts
# An HVM domain has the serial port that its config gives it.
out=/dev/hvc0
[ "$(cat /sys/hypervisor/guest_type)" != HVM ] || out=/dev/ttyS0
{
    echo
    echo "== BEGIN =="
    cat /run/pvprep-tests-facts
    echo "== END =="
} >$out
"""


@dataclass(frozen=True)
class Nic:
    """A network card. address: IPv4 with its prefix length, "" for none. driver: the kernel's."""

    name: str
    state: str
    mac: str
    address: str
    driver: str


@dataclass(frozen=True)
class Facts:
    """What the guest said. root: device and file system. status: `pvprep status --json`, if there.

    hypervisor, guest_type: as /sys/hypervisor has them (Linux' ABI/stable/sysfs-hypervisor-xen).
    state: what `systemctl is-system-running` said. failed: units; log: what those said at last.
    """

    state: str
    kernel: str
    arch: str
    hypervisor: str
    guest_type: str
    cmdline: str
    root: str
    swap: tuple[str, ...]
    consoles: tuple[str, ...]
    failed: tuple[str, ...]
    nics: tuple[Nic, ...]
    log: tuple[str, ...]
    status: Optional[dict[str, Any]]


def install(root: Path) -> None:
    """Put the tests' unit into a tree with systemd, before an image is made of it."""
    system = root / "etc/systemd/system"
    script = root / "usr/local/sbin/pvprep-tests-facts"
    script.write_text(_SCRIPT.replace("== BEGIN ==", BEGIN).replace("== END ==", END))
    script.chmod(0o755)
    (system / UNIT).write_text(_UNIT)
    job.link(system / "multi-user.target.wants" / UNIT, f"/etc/systemd/system/{UNIT}")
    job.mask_timers(root)
    job.make_patient(root)


def read(console: str) -> Optional[Facts]:
    """The facts on a guest's console; None where it has not told them all."""
    found = re.search(f"(?s){BEGIN}\r?\n(.*?){END}", console)
    if not found:
        return None
    pairs = [line.strip().partition("=")[::2] for line in found[1].splitlines()]
    said = dict(pairs)
    return Facts(
        state=said["state"],
        kernel=said["kernel"],
        arch=said["arch"],
        hypervisor=said["hypervisor"],
        guest_type=said["guest_type"],
        cmdline=said["cmdline"],
        root=said["root"],
        swap=tuple(said["swap"].split()),
        consoles=tuple(said["consoles"].split()),
        failed=tuple(said["failed"].split()),
        nics=tuple(_nic(value) for name, value in pairs if name == "nic"),
        log=tuple(value for name, value in pairs if name == "log"),
        status=json.loads(said["status"]) if said.get("status") else None,
    )


def _nic(text: str) -> Nic:
    name, state, mac, address, driver = text.split()
    return Nic(name, state, mac, "" if address == "-" else address, driver)
