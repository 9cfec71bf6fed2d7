"""What a guest leaves in xenstore for dom0, where no network is between them.

All of it is below the domain's own data/pvprep, which the guest may write: whoever reads it in dom0
believes nothing unchecked.

The config (`--to-xenstore`; `pvprep-dom0 fetch` reads it):

    data/pvprep/config/0, 1, 2 ...  pieces of the file: its bytes in base64 (RFC 4648), in
                                    one line, cut every 1024 characters
    data/pvprep/config/ready        {"version": 1, "format": "xl", "bytes": 1834,
                                     "sha256": "...", "pieces": 3}

`ready` is JSON; format is what --format says, bytes and sha256 are the file's, pieces how many
there are. Whatever was there is removed first and `ready` is written last, so that half a config is
never taken for one. The pieces are that short because xenstored gives a guest 2048 bytes a node
(quota_max_entry_size), its permissions included; MAX_CONFIG keeps their number far from the 1000
nodes that it gives a guest (quota_nb_entry_per_domain). Base64, because tools print it as it is.

The boot report (`pvprep record-boot`, in the PV guest; `pvprep-dom0 trial` waits for it):

    data/pvprep/boot    {"version": 1, "boot": "...", "as": "pv", "kernel": "6.1.0-50-amd64",
                         "root": "/dev/xvda1", "network": ["ens3"], "console": "hvc0",
                         "login": true, "up": true}

JSON as well: boot is the kernel's boot_id, network the interfaces with hardware and an address, up
whether root, network and login are all there. A domain that was just created has no report yet.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from .errors import Exit, PvprepError
from .guest import Guest
from .xenbus import DEVICES, Xenbus, connect

CONFIG = "data/pvprep/config"
BOOT = "data/pvprep/boot"
MAX_CONFIG = 65536  # bytes
PIECE = 1024  # characters
MAX_NAMED = 8  # interfaces in a report, which has to fit into one node
REPORTED = ("boot", "as", "kernel", "root", "console", "login", "up")


def check(guest: Guest) -> None:
    """Refuse, before anything changes, where there is no xenstore to leave a config in."""
    _line(guest).close()


def leave_config(guest: Guest, config: bytes, form: str) -> None:
    """Put the config where dom0 finds it; raises PvprepError where xenstore does not take it."""
    if len(config) > MAX_CONFIG:
        raise PvprepError(
            f"the config has {len(config)} bytes; xenstore is given {MAX_CONFIG} at most",
            "take it to dom0 by --emit-config=FILE",
            Exit.NOT_READY,
        )
    text = base64.b64encode(config).decode("ascii")
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    ready = {
        "version": 1,
        "format": form,
        "bytes": len(config),
        "sha256": hashlib.sha256(config).hexdigest(),
        "pieces": len(pieces),
    }
    with _line(guest) as line:
        line.remove(CONFIG)
        for number, piece in enumerate(pieces):
            line.write(f"{CONFIG}/{number}", piece)
        line.write(f"{CONFIG}/ready", json.dumps(ready))


def report_boot(guest: Guest, entry: dict[str, Any]) -> None:
    """Tell dom0 of this boot, as far as xenstore is there and takes it; entry: of boots.record."""
    report = {key: entry[key] for key in REPORTED}
    report.update(version=1, network=sorted(entry["network"])[:MAX_NAMED])
    try:
        with _line(guest) as line:
            line.write(BOOT, json.dumps(report))
    except PvprepError:
        pass  # the guest's own record has it all


def _line(guest: Guest) -> Xenbus:
    line = connect(guest) if guest.running else None
    if line is None:
        raise PvprepError(
            "xenstore cannot be reached from here",
            f"a running guest of Xen has it at {DEVICES[0]}; else use --emit-config=FILE",
            Exit.NOT_READY,
        )
    return line
