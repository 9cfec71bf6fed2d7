"""What a prepared guest leaves in xenstore. The guest owns these nodes: all of it is hostile.

Below /local/domain/DOMID/data/pvprep: the config, in pieces (config/0, 1 ... and, last, ready), and
the report of a PV boot (boot). The format is that of the guest's agent, pvprep.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Optional

from .errors import Dom0Error
from .run import Host

FORMATS = ("xl", "xm", "libvirt", "xe", "json")
MOST_BYTES = 65536
PIECE = 1024
_TRIES = 3


@dataclass(frozen=True)
class Handed:
    """A config as the guest left it; nothing but its form is known to be right."""

    format: str
    data: bytes


@dataclass(frozen=True)
class BootReport:
    """What a guest says of its boot. up: root, network and login are there."""

    up: bool
    root: str
    network: tuple[str, ...]
    console: str
    login: bool
    kernel: str


def domid(host: Host, which: str) -> int:
    """The number of a domain given by number or name, as xl takes it."""
    if which.isascii() and which.isdigit():
        return int(which)
    done = host.run(["xl", "domid", which])
    if done.status == 127:
        raise Dom0Error("there is no xl here", "run this in dom0")
    if done.status or not done.output.strip().isdigit():
        raise Dom0Error(f"no domain {which!a} runs", "see `xl list`")
    return int(done.output)


def fetch(host: Host, domain: int) -> Handed:
    """The config that this domain left. Dom0Error where there is none, or none that is whole."""
    problem = ""
    for attempt in range(_TRIES):
        if attempt:
            host.wait(1)  # the guest may be writing it anew
        ready = _read(host, domain, "config/ready")
        if ready is None:
            raise Dom0Error(
                f"domain {domain} has left no config in xenstore",
                "run `pvprep config --to-xenstore` in the guest",
            )
        try:
            return _whole(host, domain, ready)
        except ValueError as error:
            problem = str(error)
    raise Dom0Error(
        f"what domain {domain} has left in xenstore is no config: {problem}",
        "have the guest write it once more; do not trust a guest that goes on like this",
    )


def _whole(host: Host, domain: int, ready: str) -> Handed:
    told = _object(ready)
    size, kind = told.get("bytes"), told.get("format")
    if told.get("version") != 1 or kind not in FORMATS:
        raise ValueError("it is of an unknown version or format")
    if type(size) is not int or not 0 < size <= MOST_BYTES:
        raise ValueError("its size is out of bounds")
    length = (size + 2) // 3 * 4
    count = -(-length // PIECE)
    if told.get("pieces") != count:
        raise ValueError("its pieces do not make up its size")
    text = _read(host, domain, *(f"config/{number}" for number in range(count)))
    pieces = text.split("\n") if text is not None else []
    if [len(piece) for piece in pieces] != [PIECE] * (count - 1) + [length - PIECE * (count - 1)]:
        raise ValueError("a piece is missing, or too long")
    try:
        data = base64.b64decode("".join(pieces), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is no base64") from None
    if len(data) != size or hashlib.sha256(data).hexdigest() != told.get("sha256"):
        raise ValueError("its digest is another")
    return Handed(str(kind), data)


def boot_report(host: Host, domain: int) -> Optional[BootReport]:
    """What the guest says of its boot; None as long as it says nothing that can be understood."""
    text = _read(host, domain, "boot")
    if text is None or len(text) > PIECE:
        return None
    try:
        told = _object(text)
    except ValueError:
        return None
    network = told.get("network")
    texts = [told.get(key) for key in ("root", "console", "kernel")]
    if told.get("version") != 1 or not isinstance(network, list):
        return None
    if not all(isinstance(one, str) for one in (*texts, *network)):
        return None
    root, console, kernel = (str(one) for one in texts)
    login = told.get("login") is True
    # Its own word and what it says of the parts have to agree.
    up = told.get("up") is True and login and bool(root and console and network)
    return BootReport(up, root, tuple(network), console, login, kernel)


def frontends(host: Host, domain: int) -> dict[str, bool]:
    """The guest's disks and interfaces by name ("vbd 51712"), and whether each is connected.

    Source: xen/include/public/io/xenbus.h, XenbusStateConnected.
    """
    base = f"/local/domain/{domain}/device"
    names = [
        (kind, number)
        for kind in ("vbd", "vif")
        for number in (_run(host, "xenstore-list", f"{base}/{kind}") or "").split()
    ]
    paths = [f"{base}/{kind}/{number}/state" for kind, number in names]
    states = (_run(host, "xenstore-read", *paths) or "").split("\n") if paths else []
    if len(states) != len(names):  # one went away in between
        states = [""] * len(names)
    return {f"{kind} {number}": state == "4" for (kind, number), state in zip(names, states)}


def _read(host: Host, domain: int, *names: str) -> Optional[str]:
    """The values of these nodes, a line each; None where one is missing."""
    paths = [f"/local/domain/{domain}/data/pvprep/{name}" for name in names]
    return _run(host, "xenstore-read", *paths)


def _run(host: Host, program: str, *paths: str) -> Optional[str]:
    done = host.run([program, *paths])
    if done.status == 127:
        raise Dom0Error(f"there is no {program} here", "install xenstore-utils, in dom0")
    return None if done.status else done.output.removesuffix("\n")


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text) if len(text) <= PIECE else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ValueError("it is not described as it should be")
    return told
